//! Listeners for metrics: a loopback port, or a Unix socket.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::MetricsAddress;
use crate::host::unix_socket::{SocketFile, UnixSocketError, listen_on};

/// Failure to serve metrics.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program listens on the port.
    #[error(
        "cannot serve metrics on {0}: the port is in use; stop the program that `ss -ltnp` lists, or \
         choose another port"
    )]
    PortInUse(SocketAddr),
    /// The socket cannot be used.
    #[error("cannot serve metrics on unix:{}: {source}", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The reason.
        source: UnixSocketError,
    },
    /// The address cannot be used.
    #[error("cannot serve metrics on {address}: {source}")]
    Bind {
        /// The address.
        address: MetricsAddress,
        /// The system's error.
        source: io::Error,
    },
    /// No thread or event loop can be started.
    #[error("cannot serve metrics: {0}")]
    Thread(io::Error),
}

/// A listener that does not block.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(super) fn bind(address: &MetricsAddress) -> Result<(Self, Option<SocketFile>), ServeError> {
        let failed = |source| ServeError::Bind {
            address: address.clone(),
            source,
        };
        match address {
            MetricsAddress::Tcp(tcp) => {
                let listener = TcpListener::bind(tcp).map_err(|error| match error.kind() {
                    ErrorKind::AddrInUse => ServeError::PortInUse(*tcp),
                    _ => failed(error),
                })?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok((Self::Tcp(listener), None))
            }
            MetricsAddress::Unix(path) => {
                let (listener, file) = listen_on(path).map_err(|source| ServeError::Socket {
                    path: path.clone(),
                    source,
                })?;
                Ok((Self::Unix(listener), Some(file)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_bound_says_why() {
        let address = MetricsAddress::Unix("/nonexistent/metrics.sock".into());
        let error = Listener::bind(&address).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot serve metrics on unix:/nonexistent/metrics.sock: No such file or directory (os \
             error 2)"
        );
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = MetricsAddress::Tcp(other.local_addr().unwrap());
        let error = Listener::bind(&address).unwrap_err();
        assert!(error.to_string().contains("the port is in use"), "{error}");
    }
}
