//! Notices of interfaces and default routes that come and go, without polling.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use socket2::{SockFilter, SockRef};

/// A filter that passes notices about routes to everywhere: those whose `rtm_dst_len`, the second byte
/// behind the netlink header, is zero. A gateway may hear of thousands of others each second.
const DEFAULT_ROUTES: [SockFilter; 4] = [
    SockFilter::new(LOAD_BYTE, 0, 0, 17),
    SockFilter::new(JUMP_IF_EQUAL, 0, 1, 0),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
    SockFilter::new(RETURN, 0, 0, 0),
];
/// Of linux/filter.h: BPF_LD | BPF_B | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K.
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// The kernel's notices about links, or about default routes. Their content is not read: a change is
/// reason enough to list the interfaces again.
pub struct LinkNotices(OwnedFd);

impl LinkNotices {
    /// Subscribes to notices about this network namespace's links.
    ///
    /// # Errors
    /// If the kernel refuses the socket.
    pub fn subscribe() -> io::Result<Self> {
        let notices = Self::open()?;
        notices.join(libc::RTMGRP_LINK)?;
        Ok(notices)
    }

    /// Subscribes to notices about default routes of either IP version.
    ///
    /// # Errors
    /// If the kernel refuses the socket.
    pub fn subscribe_default_routes() -> io::Result<Self> {
        let notices = Self::open()?;
        // First, so that no other comes in between.
        SockRef::from(&notices.0).attach_filter(&DEFAULT_ROUTES)?;
        notices.join(libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE)?;
        Ok(notices)
    }

    fn open() -> io::Result<Self> {
        let descriptor = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self(descriptor))
    }

    fn join(&self, groups: i32) -> io::Result<()> {
        let address = NetlinkAddr::new(0, groups.cast_unsigned());
        Ok(bind(self.0.as_raw_fd(), &address)?)
    }

    /// Reads and drops all pending notices.
    pub fn drain(&self) {
        let mut notice = [0; 64];
        loop {
            match recv(self.0.as_raw_fd(), &mut notice, MsgFlags::MSG_TRUNC) {
                Ok(_) | Err(Errno::EINTR) => {}
                // Too many to be queued: the list, which is read next, has all of it.
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
