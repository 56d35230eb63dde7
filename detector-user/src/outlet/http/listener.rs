//! Listeners: a port, or a Unix socket.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::host::unix_socket::{SocketFile, UnixSocketError, listen_on};

/// Failure to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program listens on the port.
    #[error(
        "cannot serve {what} on {address}: the port is in use; stop the program that `ss -ltnp` lists, or \
         choose another port"
    )]
    PortInUse {
        /// The content.
        what: &'static str,
        /// The port.
        address: SocketAddr,
    },
    /// The socket cannot be used.
    #[error("cannot serve {what} on unix:{}: {source}", .path.display())]
    Socket {
        /// The content.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// The reason.
        source: UnixSocketError,
    },
    /// The address cannot be used.
    #[error("cannot serve {what} on {address}: {source}")]
    Bind {
        /// The content.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// No thread or event loop can be started.
    #[error("cannot serve {what}: {source}")]
    Thread {
        /// The content.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// A listener that does not block.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    /// Removed after the server ends.
    pub(super) file: Option<SocketFile>,
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens on a port, to serve `what`.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn on_port(what: &'static str, address: SocketAddr) -> Result<Self, ServeError> {
        let failed = |source: io::Error| match source.kind() {
            ErrorKind::AddrInUse => ServeError::PortInUse { what, address },
            _ => ServeError::Bind {
                what,
                address,
                source,
            },
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            socket: Socket::Tcp(listener),
            file: None,
        })
    }

    /// Listens on a Unix socket, to serve `what`.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn on_socket(what: &'static str, path: &Path) -> Result<Self, ServeError> {
        let (listener, file) = listen_on(path).map_err(|source| ServeError::Socket {
            what,
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            socket: Socket::Unix(listener),
            file: Some(file),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_bound_says_why() {
        let error = Listener::on_socket("metrics", Path::new("/nonexistent/metrics.sock"));
        assert_eq!(
            error.unwrap_err().to_string(),
            "cannot serve metrics on unix:/nonexistent/metrics.sock: No such file or directory (os \
             error 2)"
        );
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Listener::on_port("metrics", other.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains("the port is in use"), "{error}");
    }
}
