//! Serving metrics over HTTP, on a thread of its own: one request per connection, few connections,
//! and a few seconds for each.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::socket::Listener;
pub use super::socket::ServeError;
use super::{Metrics, MetricsAddress};
use crate::host::privileges::give_up_all;
use crate::host::unix_socket::SocketFile;

/// Maximum connections; further ones wait.
const CONNECTIONS_MAX: usize = 32;
/// Maximum time for a request, and for a connection.
const REQUEST_MAX: Duration = Duration::from_secs(5);
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, for instance for want of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

const OPENMETRICS: &str = "application/openmetrics-text";
const OPENMETRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const CLASSIC_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const PLAIN_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    port: Option<SocketAddr>,
    /// Removed after the thread ends.
    _file: Option<SocketFile>,
}

impl Server {
    /// Serves `metrics` on `address`.
    ///
    /// # Errors
    /// [`ServeError`] if the address cannot be used or no thread started.
    pub fn start(address: &MetricsAddress, metrics: Metrics) -> Result<Self, ServeError> {
        let (listener, file) = Listener::bind(address)?;
        let port = match &listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServeError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                // This thread handles bytes of any local client.
                give_up_all();
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        _ = serve(listener, metrics) => {}
                    }
                });
            })
            .map_err(ServeError::Thread)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            port,
            _file: file,
        })
    }

    /// Whether the thread is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|it| !it.is_finished())
    }

    /// Returns the address that it listens on, if it has a port.
    #[must_use]
    pub const fn port(&self) -> Option<SocketAddr> {
        self.port
    }
}

impl Drop for Server {
    /// Waits until the address is free, which takes no longer than one answer.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn next(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn serve(listener: Listener, metrics: Metrics) -> io::Result<()> {
    let listener = Accepting::new(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed, so there is always a next place.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok(stream) = listener.next().await else {
            sleep(PAUSE).await;
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let _ = timeout(CONNECTION_MAX, connection(stream, metrics)).await;
            drop(place);
        });
    }
    Ok(())
}

/// Serves one request. A client that hangs up or sends nonsense is ignored.
async fn connection(stream: Box<dyn Stream>, metrics: Metrics) {
    let service = service_fn(|request| {
        let answer = answer(&request, &metrics);
        async { Ok::<_, Infallible>(answer) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        let paths = "paths: /metrics, /healthz, /readyz".to_owned();
        return plain(StatusCode::NOT_FOUND, paths);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "methods: GET, HEAD".to_owned(),
        );
        answer.headers_mut().insert(ALLOW, ALLOWED);
        return answer;
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

fn plain(status: StatusCode, line: String) -> Response<Full<Bytes>> {
    of_kind(status, line + "\n", PLAIN_TYPE)
}

fn of_kind(status: StatusCode, text: String, kind: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Instant;

    use super::*;

    fn server(metrics: &Metrics) -> (Server, SocketAddr) {
        let address = MetricsAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let server = Server::start(&address, metrics.clone()).unwrap();
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
        let server = Server::start(&address, Metrics::default()).unwrap();
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
