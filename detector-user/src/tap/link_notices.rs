//! Hearing of interfaces that come and go, without asking again and again.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

/// The kernel's notices about links. What they say is not read: that something changed is enough
/// to look at the list of interfaces anew.
pub struct LinkNotices(OwnedFd);

impl LinkNotices {
    /// Subscribes to notices about this network namespace's links.
    ///
    /// # Errors
    /// If the kernel refuses the socket.
    pub fn subscribe() -> io::Result<Self> {
        let descriptor = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        bind(
            descriptor.as_raw_fd(),
            &NetlinkAddr::new(0, libc::RTMGRP_LINK as u32),
        )?;
        Ok(Self(descriptor))
    }

    /// Takes all notices there are.
    pub fn drain(&self) {
        let mut notice = [0; 64];
        loop {
            match recv(self.0.as_raw_fd(), &mut notice, MsgFlags::MSG_TRUNC) {
                Ok(_) | Err(Errno::EINTR) => {}
                // Too many to be queued: the list, which is read next, has what they said.
                Err(Errno::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsRawFd for LinkNotices {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
