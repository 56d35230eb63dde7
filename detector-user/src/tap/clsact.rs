//! The clsact queueing discipline, below Linux 6.6: removed again by whoever added it.

use nix::sys::socket::SockProtocol;

use crate::netlink::{Ask, request};

/// From linux/pkt_sched.h.
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const TC_H_MIN_INGRESS: u32 = 0xffff_fff2;
const TC_H_MIN_EGRESS: u32 = 0xffff_fff3;

/// A queueing discipline that this process added.
#[derive(Debug)]
pub(super) struct Clsact {
    interface: u32,
}

impl Clsact {
    pub(super) fn added(interface: u32) -> Self {
        Self { interface }
    }

    /// Whether somebody has put filters of their own into it meanwhile.
    fn is_used(&self) -> bool {
        [TC_H_MIN_INGRESS, TC_H_MIN_EGRESS]
            .into_iter()
            .any(|parent| {
                let question = tcmsg(self.interface, 0, parent);
                request(
                    SockProtocol::NetlinkRoute,
                    libc::RTM_GETTFILTER,
                    Ask::All,
                    &question,
                )
                .is_ok_and(|filters| !filters.is_empty())
            })
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        if self.is_used() {
            return;
        }
        let which = tcmsg(self.interface, CLSACT_HANDLE, TC_H_CLSACT);
        // An interface that is gone took its queueing discipline along.
        let _ = request(
            SockProtocol::NetlinkRoute,
            libc::RTM_DELQDISC,
            Ask::One,
            &which,
        );
    }
}

/// `struct tcmsg` of linux/rtnetlink.h, 20 bytes.
fn tcmsg(interface: u32, handle: u32, parent: u32) -> Vec<u8> {
    let mut message = vec![0; 4];
    for number in [interface, handle, parent, 0] {
        message.extend_from_slice(&number.to_ne_bytes());
    }
    message
}
