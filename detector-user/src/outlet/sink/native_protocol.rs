//! The journal's native protocol: fields in one datagram, or in a sealed memfd when they are too
//! many for one. See <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.
//!
//! The existing clients do not accept another socket path, and their errors do not distinguish a
//! journald that is absent from one that is stuck.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

/// The fields of one entry, in the protocol's encoding.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Adds a field. `name` is a constant: A to Z, 0 to 9 and `_`, at most 64.
    pub(crate) fn field(&mut self, name: &'static str, value: &str) {
        debug_assert!(is_valid_name(name), "{name}");
        self.bytes.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // With a length, so that a value cannot end early and forge the next field.
            self.bytes.push(b'\n');
            self.bytes
                .extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.bytes.push(b'=');
        }
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }

    /// Sends the entry to the journald listening on `path`.
    pub(crate) fn send(&self, socket: &UnixDatagram, path: &Path) -> io::Result<()> {
        match retried(|| socket.send_to(&self.bytes, path)) {
            // The maximum size depends on the system's limits, so the system decides.
            Err(error) if is_too_large(&error) => self.send_as_memfd(socket, path),
            other => other.map(drop),
        }
    }

    fn send_as_memfd(&self, socket: &UnixDatagram, path: &Path) -> io::Result<()> {
        let flags = MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC;
        let mut file = File::from(memfd_create("tlswhy-journal", flags)?);
        file.write_all(&self.bytes)?;
        // journald maps the file only if it can no longer change.
        let seals = SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let fds = [file.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let to = UnixAddr::new(path)?;
        let flags = MsgFlags::MSG_NOSIGNAL;
        retried(|| Ok(sendmsg(socket.as_raw_fd(), &[], &rights, flags, Some(&to))?)).map(drop)
    }
}

fn is_valid_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn is_too_large(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

/// Repeats a call after a signal: a socket with a timeout is not restarted.
fn retried<T>(mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match send() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_value() {
        let mut entry = Entry::default();
        entry.field("TLSWHY_SNI", "a=b");
        assert_eq!(entry.bytes, b"TLSWHY_SNI=a=b\n");
    }

    #[test]
    fn a_value_with_a_newline_cannot_forge_a_field() {
        let mut entry = Entry::default();
        entry.field("TLSWHY_SNI", "x\nPRIORITY=0");
        entry.field("TLSWHY_TAP", "lan0");
        let expected = b"TLSWHY_SNI\n\x0c\0\0\0\0\0\0\0x\nPRIORITY=0\nTLSWHY_TAP=lan0\n";
        assert_eq!(entry.bytes, expected);
    }

    #[rstest::rstest]
    #[case("MESSAGE", true)]
    #[case("TLSWHY_JA4", true)]
    #[case("_PID", false)]
    #[case("4TH", false)]
    #[case("lower", false)]
    #[case("", false)]
    fn names_follow_the_protocol(#[case] name: &str, #[case] valid: bool) {
        assert_eq!(is_valid_name(name), valid);
    }
}
