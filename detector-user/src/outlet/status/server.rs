//! Serving the status on a Unix socket, on a thread of its own: few connections, and a second or two
//! for each.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::Report;
use crate::host::privileges::give_up_all;
use crate::host::unix_socket::{SocketFile, UnixSocketError, listen_on};

/// Maximum connections; further ones wait.
const CONNECTIONS_MAX: usize = 16;
/// Maximum time for a connection: a client that does not read is cut off.
const CONNECTION_MAX: Duration = Duration::from_secs(2);
/// Pause after a connection could not be accepted, for instance for want of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Failure to serve the status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The socket cannot be used.
    #[error("cannot serve the status on {}: {source}", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The reason.
        source: UnixSocketError,
    },
    /// No thread or event loop can be started.
    #[error("cannot serve the status: {0}")]
    Thread(#[from] io::Error),
}

/// The latest report.
#[derive(Clone, Debug, Default)]
pub struct Latest(Arc<Mutex<Arc<Report>>>);

impl Latest {
    /// Replaces the report.
    pub fn put(&self, report: Report) {
        // A panic elsewhere left a whole report.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(report);
    }

    /// Returns the report.
    #[must_use]
    pub fn get(&self) -> Arc<Report> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Removed after the thread ends.
    _file: SocketFile,
}

impl Server {
    /// Serves the latest report on `path`.
    ///
    /// # Errors
    /// [`StatusError`] if the socket cannot be used or no thread started.
    pub fn start(path: &Path, latest: Latest) -> Result<Self, StatusError> {
        let (listener, file) = listen_on(path).map_err(|source| StatusError::Socket {
            path: path.to_owned(),
            source,
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("status".to_owned())
            .spawn(move || {
                give_up_all();
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        _ = serve(listener, latest) => {}
                    }
                });
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            _file: file,
        })
    }

    /// Whether the thread is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|it| !it.is_finished())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: StdListener, latest: Latest) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed, so there is always a next place.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let report = latest.get();
        tokio::spawn(async move {
            let _ = timeout(CONNECTION_MAX, send(stream, &report)).await;
            drop(place);
        });
    }
    Ok(())
}

async fn send(mut stream: UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as StdStream;

    use super::*;

    fn ask(path: &Path) -> Report {
        let mut stream = StdStream::connect(path).unwrap();
        stream.set_read_timeout(Some(CONNECTION_MAX * 5)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    #[test]
    fn everybody_gets_the_latest_report() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        let latest = Latest::default();
        let server = Server::start(&path, latest.clone()).unwrap();
        for flows in [1, 2] {
            let report = Report {
                flows,
                ..Report::default()
            };
            latest.put(report.clone());
            assert_eq!(ask(&path), report);
        }
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn clients_that_hang_or_talk_stop_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        let latest = Latest::default();
        // More than a socket holds, so that a client that does not read stops the server's writing.
        latest.put(Report {
            version: "x".repeat(super::super::REPORT_MAX),
            ..Report::default()
        });
        let _server = Server::start(&path, latest.clone()).unwrap();
        let mut hung: Vec<StdStream> = (0..3 * CONNECTIONS_MAX)
            .map(|_| StdStream::connect(&path).unwrap())
            .collect();
        for stream in &mut hung {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n");
        }
        latest.put(Report::default());
        assert_eq!(ask(&path), Report::default());
    }
}
