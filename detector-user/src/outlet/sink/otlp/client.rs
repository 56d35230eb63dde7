//! Requests over one connection, which is kept.

use std::fs;
use std::io::{self, ErrorKind};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{
    CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::answer::Answer;
use super::endpoint::{OtlpEndpoint, OtlpSettings};

/// Longest time to connect, and for a handshake of TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for a request and its answer; the specification's own default is 10 s.
const REQUEST: Duration = Duration::from_secs(10);
/// Maximum size of an answer, bytes.
const ANSWER_MAX: usize = 64 << 10;

/// A client of one endpoint.
pub(super) struct Client {
    runtime: Runtime,
    endpoint: OtlpEndpoint,
    settings: OtlpSettings,
    connection: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    headers: HeaderMap,
}

impl Client {
    pub(super) fn new(endpoint: OtlpEndpoint, settings: OtlpSettings) -> io::Result<Self> {
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            endpoint,
            settings,
            connection: None,
        })
    }

    /// Ends the connection: the next request opens another.
    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// Posts a body, and waits for the answer.
    pub(super) fn post(&mut self, body: Vec<u8>) -> io::Result<Answer> {
        let kept = self.connection.take();
        let (endpoint, settings) = (&self.endpoint, &self.settings);
        let body = Bytes::from(body);
        let (connection, answer) = self.runtime.block_on(async {
            // A collector may have ended a connection that was idle.
            if let Some(mut kept) = kept
                && let Ok(answer) = kept.post(endpoint, body.clone()).await
            {
                return io::Result::Ok((kept, answer));
            }
            let mut connection = connect(endpoint, settings).await?;
            let answer = connection.post(endpoint, body).await?;
            Ok((connection, answer))
        })?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

impl Connection {
    async fn post(&mut self, endpoint: &OtlpEndpoint, body: Bytes) -> io::Result<Answer> {
        let answered = timeout(REQUEST, self.exchange(endpoint, body)).await;
        answered.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    async fn exchange(&mut self, endpoint: &OtlpEndpoint, body: Bytes) -> io::Result<Answer> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.path())
            .header(HOST, endpoint.authority())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("tlswhy/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        request.headers_mut().extend(self.headers.clone());
        self.sender.ready().await.map_err(io::Error::other)?;
        let sent = self.sender.send_request(request).await;
        let (head, body) = sent.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let retry_after = head.headers.get(RETRY_AFTER);
        Ok(Answer {
            status: head.status,
            retry_after: retry_after
                .and_then(|it| it.to_str().ok())
                .map(str::to_owned),
            body: body.ok().map(|body| body.to_bytes().to_vec()),
        })
    }
}

async fn connect(endpoint: &OtlpEndpoint, settings: &OtlpSettings) -> io::Result<Connection> {
    let headers = headers(settings)?;
    let opened = timeout(CONNECT, open(endpoint, settings)).await;
    let sender = opened.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
    Ok(Connection { sender, headers })
}

async fn open(
    endpoint: &OtlpEndpoint,
    settings: &OtlpSettings,
) -> io::Result<SendRequest<Full<Bytes>>> {
    let mut failure = io::Error::other("its name has no address");
    for address in lookup_host((endpoint.host.as_str(), endpoint.port)).await? {
        let socket = match TcpStream::connect(address).await {
            Ok(socket) => socket,
            Err(error) => {
                failure = error;
                continue;
            }
        };
        socket.set_nodelay(true)?;
        if !endpoint.is_tls {
            return speak(socket).await;
        }
        let config = settings.tls.config().map_err(io::Error::other)?;
        let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
        let socket = TlsConnector::from(config).connect(name, socket).await?;
        return speak(socket).await;
    }
    Err(failure)
}

async fn speak(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> io::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(socket))
        .await
        .map_err(io::Error::other)?;
    // It ends with the sender; requests have its errors.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Reads the headers of each request. Lines that are empty or begin with `#` are none.
fn headers(settings: &OtlpSettings) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let Some(path) = &settings.headers_file else {
        return Ok(headers);
    };
    let failed = |why: &dyn ToString| {
        let (shown, why) = (path.display(), why.to_string());
        io::Error::other(format!("cannot use {shown}: {why}"))
    };
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        // The line itself may be a secret.
        let wrong = || failed(&format!("line {number} is not NAME: VALUE"));
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}
