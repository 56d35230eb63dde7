//! Serving metrics over HTTP.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Request, Response, StatusCode};

use super::{Metrics, MetricsAddress};
use crate::outlet::http::{CONNECTION_MAX, Listener, ServeError, Server, of_kind, plain, refusal};

const OPENMETRICS: &str = "application/openmetrics-text";
const OPENMETRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const CLASSIC_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Serves `metrics` on `address`.
///
/// # Errors
/// [`ServeError`] if the address cannot be used or no thread started.
pub fn start(address: &MetricsAddress, metrics: Metrics) -> Result<Server, ServeError> {
    const WHAT: &str = "metrics";
    let listener = match address {
        MetricsAddress::Tcp(address) => Listener::on_port(WHAT, *address)?,
        MetricsAddress::Unix(path) => Listener::on_socket(WHAT, path)?,
    };
    let answer = Arc::new(move |request: &Request<_>| answer(request, &metrics));
    Server::start(WHAT, listener, None, CONNECTION_MAX, answer)
}

fn answer<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        let paths = "paths: /metrics, /healthz, /readyz".to_owned();
        return plain(StatusCode::NOT_FOUND, paths);
    }
    if let Some(refusal) = refusal(request) {
        return refusal;
    }
    let state = match path {
        "/metrics" => return all(request, metrics),
        "/healthz" => metrics.unhealthy(),
        _ => metrics.unready(),
    };
    match state {
        None => plain(StatusCode::OK, "ok".to_owned()),
        Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn all<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let accepts = request.headers().get_all(ACCEPT).iter();
    let wants_openmetrics = accepts
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(OPENMETRICS));
    let (text, kind) = match wants_openmetrics {
        true => (metrics.openmetrics(), OPENMETRICS_TYPE),
        false => (metrics.classic(), CLASSIC_TYPE),
    };
    match text {
        Ok(text) => of_kind(StatusCode::OK, text, kind),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Instant;

    use super::*;
    use crate::outlet::http::{CONNECTION_MAX, CONNECTIONS_MAX, REQUEST_MAX};

    fn server(metrics: &Metrics) -> (Server, SocketAddr) {
        let address = MetricsAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let server = start(&address, metrics.clone()).unwrap();
        let port = server.port().unwrap();
        (server, port)
    }

    /// Sends a request's head and returns everything that comes.
    fn ask(port: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(port).unwrap();
        let request = format!("{head}\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn openmetrics_is_for_those_that_know_it() {
        let (_server, port) = server(&Metrics::default());
        let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        let answer = ask(port, &format!("GET /metrics HTTP/1.1\r\n{accept}"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains(
                "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"
            ),
            "{answer}"
        );
        assert!(answer.contains("# TYPE tlswhy_packets counter\n"));
        assert!(answer.ends_with("# EOF\n"));
        let answer = ask(port, "GET /metrics HTTP/1.1");
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
            "{answer}"
        );
        assert!(answer.contains("# TYPE tlswhy_packets_total counter\n"));
        assert!(!answer.contains("# EOF") && !answer.contains("# UNIT"));
    }

    #[test]
    fn only_what_is_there_is_answered_and_nothing_is_taken() {
        let (_server, port) = server(&Metrics::default());
        let head = ask(port, "HEAD /metrics HTTP/1.1");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"));
        assert!(ask(port, "GET / HTTP/1.1").starts_with("HTTP/1.1 404 "));
        let refused = ask(port, "POST /metrics HTTP/1.1\r\nContent-Length: 0");
        assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD"));
        assert!(ask(port, "nonsense").starts_with("HTTP/1.1 400 "));
    }

    #[test]
    fn it_is_ready_once_it_watches_and_while_it_does() {
        let metrics = Metrics::default();
        let (_server, port) = server(&metrics);
        assert!(ask(port, "GET /healthz HTTP/1.1").starts_with("HTTP/1.1 200 "));
        let answer = ask(port, "GET /readyz HTTP/1.1");
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nstarting\n"),
            "{answer}"
        );
        metrics.set_unready(None);
        assert!(ask(port, "GET /readyz HTTP/1.1").starts_with("HTTP/1.1 200 "));
        assert!(ask(port, "GET /metrics HTTP/1.1").contains("\ntlswhy_ready 1\n"));
    }

    #[test]
    fn a_client_that_hangs_is_cut_off_and_stops_no_other() {
        let (server, port) = server(&Metrics::default());
        let began = Instant::now();
        let mut hung: Vec<TcpStream> = (0..CONNECTIONS_MAX - 1)
            .map(|_| TcpStream::connect(port).unwrap())
            .collect();
        for stream in &mut hung {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
        }
        assert!(ask(port, "GET /healthz HTTP/1.1").starts_with("HTTP/1.1 200 "));
        assert!(began.elapsed() < REQUEST_MAX, "answered beside those");
        for stream in &mut hung {
            stream.set_read_timeout(Some(CONNECTION_MAX * 2)).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        }
        let again = TcpStream::connect(port).unwrap();
        let began = Instant::now();
        drop(server);
        assert!(
            began.elapsed() < REQUEST_MAX,
            "does not wait for clients at the end"
        );
        drop(again);
        assert!(TcpStream::connect(port).is_err());
    }

    #[test]
    fn a_unix_socket_serves_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        let address = MetricsAddress::Unix(path.clone());
        let server = start(&address, Metrics::default()).unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        drop(server);
        assert!(!path.exists());
    }
}
