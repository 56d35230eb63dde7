//! HTTP on a thread of its own: one request per connection, few connections, and a limited time for each.
//!
//! A client that hangs, sends nonsense or leaves costs a place for as long, and nothing else.

pub mod access;
mod listener;
pub mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::host::privileges::give_up_all;
use crate::host::unix_socket::SocketFile;
use listener::Socket;
pub use listener::{Listener, ServeError};

/// Maximum connections; further ones wait.
pub(crate) const CONNECTIONS_MAX: usize = 32;
/// Maximum time for a request, and for a connection.
pub(crate) const REQUEST_MAX: Duration = Duration::from_secs(5);
pub(crate) const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, for instance for want of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// The type of a text for people.
pub(crate) const PLAIN_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// Returns the answer to a request, without waiting for anything. The body may come later.
pub type Answer<B = Full<Bytes>> = Arc<dyn Fn(&Request<Incoming>) -> Response<B> + Send + Sync>;

/// The body of an answer.
pub trait AnswerBody: Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static {}
impl<B: Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static> AnswerBody for B {}
type BodyError = Box<dyn std::error::Error + Send + Sync>;

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
    /// Serves answers, `what`, on a thread of that name; with TLS if `tls` is given. A connection lasts for
    /// `connection_max` at most.
    ///
    /// # Errors
    /// [`ServeError`] if no thread can be started.
    pub fn start<B: AnswerBody>(
        what: &'static str,
        listener: Listener,
        tls: Option<TlsAcceptor>,
        connection_max: Duration,
        answer: Answer<B>,
    ) -> Result<Self, ServeError> {
        let Listener { socket, file } = listener;
        let port = match &socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        };
        let failed = |source| ServeError::Thread { what, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(what.to_owned())
            .spawn(move || {
                // This thread handles bytes of any client.
                give_up_all();
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        _ = serve(socket, tls, connection_max, answer) => {}
                    }
                });
            })
            .map_err(failed)?;
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
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Socket::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn next(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn serve<B: AnswerBody>(
    socket: Socket,
    tls: Option<TlsAcceptor>,
    connection_max: Duration,
    answer: Answer<B>,
) -> io::Result<()> {
    let listener = Accepting::new(socket)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed, so there is always a next place.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok(stream) = listener.next().await else {
            sleep(PAUSE).await;
            continue;
        };
        let (tls, answer) = (tls.clone(), Arc::clone(&answer));
        tokio::spawn(async move {
            let _ = timeout(connection_max, connection(stream, tls, answer)).await;
            drop(place);
        });
    }
    Ok(())
}

/// Serves one request. A client that hangs up or sends nonsense is ignored.
async fn connection<B: AnswerBody>(
    stream: Box<dyn Stream>,
    tls: Option<TlsAcceptor>,
    answer: Answer<B>,
) {
    match tls {
        None => request(stream, answer).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(REQUEST_MAX, tls.accept(stream)).await {
                request(stream, answer).await;
            }
        }
    }
}

async fn request<B: AnswerBody>(stream: impl Stream, answer: Answer<B>) {
    let service = service_fn(|request| {
        let answer = answer(&request);
        async { Ok::<_, Infallible>(answer) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Returns the refusal of a request that is neither GET nor HEAD.
pub(crate) fn refusal<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut answer = plain(
        StatusCode::METHOD_NOT_ALLOWED,
        "methods: GET, HEAD".to_owned(),
    );
    answer.headers_mut().insert(ALLOW, ALLOWED);
    Some(answer)
}

pub(crate) fn plain(status: StatusCode, line: String) -> Response<Full<Bytes>> {
    of_kind(status, line + "\n", PLAIN_TYPE)
}

pub(crate) fn of_kind(
    status: StatusCode,
    text: String,
    kind: HeaderValue,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
