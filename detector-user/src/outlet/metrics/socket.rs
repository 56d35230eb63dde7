//! Listeners for metrics: a loopback port, or a Unix socket that exists as long as its server.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};

use super::MetricsAddress;

/// Mode of a Unix socket: its owner and group may connect.
const MODE: u32 = 0o660;

/// Failure to serve metrics.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program listens on the port.
    #[error(
        "cannot serve metrics on {0}: the port is in use; stop the program that `ss -ltnp` lists, or \
         choose another port"
    )]
    PortInUse(SocketAddr),
    /// Another program listens on the socket.
    #[error("cannot serve metrics on unix:{}: another program listens there; choose another path", .0.display())]
    SocketInUse(PathBuf),
    /// The path is a file that may be needed.
    #[error("cannot serve metrics on unix:{}: the file is not a socket; choose another path", .0.display())]
    NoSocket(PathBuf),
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

/// A Unix socket's file, removed on drop.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A socket of another program in its place stays.
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let about = fs::symlink_metadata(path)?;
    Ok((about.dev(), about.ino()))
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
                make_room(path, failed)?;
                let listener = bind_unix(path).map_err(failed)?;
                let file = SocketFile {
                    path: path.clone(),
                    identity: identity(path).map_err(failed)?,
                };
                Ok((Self::Unix(listener), Some(file)))
            }
        }
    }
}

/// Removes the socket of a server that was killed.
fn make_room(path: &Path, failed: impl Fn(io::Error) -> ServeError) -> Result<(), ServeError> {
    let about = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        about => about.map_err(&failed)?,
    };
    if !about.file_type().is_socket() {
        return Err(ServeError::NoSocket(path.to_owned()));
    }
    match call(path) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed),
        Err(Errno::ENOENT) => Ok(()),
        // A program that is too busy to answer listens all the same.
        Ok(()) | Err(Errno::EAGAIN) => Err(ServeError::SocketInUse(path.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

fn stream() -> nix::Result<std::os::fd::OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

/// Connects without waiting: an error if no program listens.
fn call(path: &Path) -> nix::Result<()> {
    connect(stream()?.as_raw_fd(), &UnixAddr::new(path)?)
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let socket = stream()?;
    // The file gets this mode less the umask: at no time may others connect.
    fchmod(&socket, Mode::from_bits_truncate(MODE))?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    listen(&socket, Backlog::new(64)?)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path) -> Result<(Listener, Option<SocketFile>), ServeError> {
        Listener::bind(&MetricsAddress::Unix(path.to_owned()))
    }

    #[test]
    fn a_socket_that_was_left_is_replaced_and_goes_with_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        drop(UnixListener::bind(&path).unwrap());
        let bound = unix(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, MODE);
        call(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_lives_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        let _other = UnixListener::bind(&path).unwrap();
        let error = unix(&path).unwrap_err();
        assert!(matches!(error, ServeError::SocketInUse(_)), "{error}");
        call(&path).unwrap();
    }

    #[test]
    fn one_that_came_in_its_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        let bound = unix(&path).unwrap();
        fs::rename(&path, folder.path().join("away")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
    }

    #[test]
    fn a_file_is_no_socket_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        fs::write(&path, "precious").unwrap();
        let error = unix(&path).unwrap_err();
        assert!(matches!(error, ServeError::NoSocket(_)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn what_cannot_be_bound_says_why() {
        let error = unix(Path::new("/nonexistent/metrics.sock")).unwrap_err();
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
