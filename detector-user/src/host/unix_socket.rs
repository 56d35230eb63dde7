//! Unix sockets that a service listens on: a file that exists as long as its server.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};

/// Mode of a socket: its owner and group may connect.
const MODE: u32 = 0o660;

/// Failure to listen on a Unix socket.
#[derive(Debug, thiserror::Error)]
pub enum UnixSocketError {
    /// Another program listens there.
    #[error("another program listens there; choose another path")]
    InUse,
    /// The path is a file that may be needed.
    #[error("the file is not a socket; choose another path")]
    NoSocket,
    /// The system's error.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A Unix socket's file, removed on drop.
#[derive(Debug)]
pub(crate) struct SocketFile {
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

/// Listens on `path`, which only owner and group may connect to. The listener does not block. A socket
/// that a killed server left is replaced.
///
/// # Errors
/// If a program listens there, the path is a file of another kind, or the system refuses.
pub(crate) fn listen_on(path: &Path) -> Result<(UnixListener, SocketFile), UnixSocketError> {
    make_room(path)?;
    let listener = bind_unix(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path)?,
    };
    Ok((listener, file))
}

/// Removes the socket of a server that was killed.
fn make_room(path: &Path) -> Result<(), UnixSocketError> {
    let about = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        about => about?,
    };
    if !about.file_type().is_socket() {
        return Err(UnixSocketError::NoSocket);
    }
    match call(path) {
        Err(Errno::ECONNREFUSED) => Ok(fs::remove_file(path)?),
        Err(Errno::ENOENT) => Ok(()),
        // A program that is too busy to answer listens all the same.
        Ok(()) | Err(Errno::EAGAIN) => Err(UnixSocketError::InUse),
        Err(error) => Err(io::Error::from(error).into()),
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

    #[test]
    fn a_socket_that_was_left_is_replaced_and_goes_with_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        drop(UnixListener::bind(&path).unwrap());
        let bound = listen_on(&path).unwrap();
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
        let error = listen_on(&path).unwrap_err();
        assert!(matches!(error, UnixSocketError::InUse), "{error}");
        call(&path).unwrap();
    }

    #[test]
    fn one_that_came_in_its_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        let bound = listen_on(&path).unwrap();
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
        let error = listen_on(&path).unwrap_err();
        assert!(matches!(error, UnixSocketError::NoSocket), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
