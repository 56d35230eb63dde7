//! The clsact queueing discipline, below Linux 6.6. Its filters outlive the process that
//! attached them: an agent that is killed leaves them, and the next one removes them.

use std::collections::HashMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::socket::SockProtocol;

use crate::host::interfaces;
use crate::host::netlink::{Ask, attribute, request, text, u32_at};
use crate::source::tap::error::TapError;
use crate::source::tap::object::is_ours;

/// From linux/pkt_sched.h.
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// Its two chains.
pub(crate) const INGRESS: u32 = 0xffff_fff2;
pub(crate) const EGRESS: u32 = 0xffff_fff3;
/// `struct tcmsg`, which stands before the attributes (linux/rtnetlink.h).
const TC_HEADER: usize = 20;
/// From linux/rtnetlink.h and linux/pkt_cls.h.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
/// The handle of filters whose queueing discipline their agent added: it is removed with them.
pub(super) const ADDED: u32 = 0x746c;

/// A queueing discipline that an agent added.
#[derive(Debug)]
pub(super) struct Clsact {
    interface: u32,
}

impl Clsact {
    pub(super) fn added(interface: u32) -> Self {
        Self { interface }
    }

    /// Whether it has filters, which are of other programs by now.
    fn is_used(&self) -> bool {
        let filters = |parent| filters(self.interface, parent).unwrap_or_default();
        [INGRESS, EGRESS]
            .into_iter()
            .any(|it| !filters(it).is_empty())
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        if self.is_used() {
            return;
        }
        let which = tcmsg(self.interface, CLSACT_HANDLE, TC_H_CLSACT, 0);
        // An interface that is gone took its queueing discipline along.
        let _ = request(
            SockProtocol::NetlinkRoute,
            libc::RTM_DELQDISC,
            Ask::One,
            &which,
        );
    }
}

/// Marks of programs whose filters are in use: abstract sockets, whose names are unique in a network
/// namespace, and which are closed however this process ends.
#[derive(Debug, Default)]
pub(super) struct InUse(HashMap<u32, Option<UnixDatagram>>);

impl InUse {
    pub(super) fn mark(&mut self, program: u32) {
        // If another process has the name, the filter does not count as abandoned either.
        self.0.entry(program).or_insert_with(|| name(program).ok());
    }
}

fn name(program: u32) -> io::Result<UnixDatagram> {
    let address = SocketAddr::from_abstract_name(format!("tlswhy/clsact/{program}"))?;
    UnixDatagram::bind_addr(&address)
}

/// A filter in one of the chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    interface: u32,
    parent: u32,
    handle: u32,
    /// Priority and protocol.
    info: u32,
    /// Such as `bpf`, `u32` or `flower`.
    pub(crate) kind: String,
    /// Of an eBPF filter: its name, and its program's number.
    pub(crate) program_name: Option<String>,
    program: Option<u32>,
}

impl Filter {
    /// Whether an agent attached it that no longer runs.
    fn is_abandoned(&self) -> bool {
        self.program_name.as_deref().is_some_and(is_ours)
            && self.program.is_some_and(|program| name(program).is_ok())
    }

    fn remove(&self) -> io::Result<()> {
        let which = tcmsg(self.interface, self.handle, self.parent, self.info);
        let kind = libc::RTM_DELTFILTER;
        request(SockProtocol::NetlinkRoute, kind, Ask::One, &which).map(drop)
    }
}

/// Returns the filters of one chain, in the order in which packets meet them.
///
/// # Errors
/// The kernel's error.
pub(crate) fn filters(interface: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let answer = request(
        SockProtocol::NetlinkRoute,
        libc::RTM_GETTFILTER,
        Ask::All,
        &tcmsg(interface, 0, parent, 0),
    )?;
    let messages = answer.iter();
    Ok(messages.filter_map(|it| parsed(&it.payload)).collect())
}

/// Parses a filter. Each is preceded by a message for its chain's priority alone, which has no
/// handle.
fn parsed(message: &[u8]) -> Option<Filter> {
    let attributes = message.get(TC_HEADER..)?;
    let options = attribute(attributes, TCA_OPTIONS).unwrap_or_default();
    let filter = Filter {
        interface: u32_at(message, 4)?,
        handle: u32_at(message, 8)?,
        parent: u32_at(message, 12)?,
        info: u32_at(message, 16)?,
        kind: attribute(attributes, TCA_KIND)
            .map(text)
            .unwrap_or_default(),
        program_name: attribute(options, TCA_BPF_NAME).map(text),
        program: attribute(options, TCA_BPF_ID).and_then(|id| u32_at(id, 0)),
    };
    (filter.handle != 0).then_some(filter)
}

/// Removes the filters that killed agents left on all interfaces of this network namespace, and
/// queueing disciplines that they had added; returns the number of filters.
///
/// # Errors
/// [`TapError::Privileges`].
pub fn remove_abandoned() -> Result<usize, TapError> {
    let mut removed = 0;
    for interface in interfaces::list().unwrap_or_default() {
        let all = [INGRESS, EGRESS].map(|it| filters(interface.index, it).unwrap_or_default());
        for filter in all.iter().flatten().filter(|it| it.is_abandoned()) {
            match filter.remove() {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(TapError::Privileges);
                }
                // It is gone by now.
                Err(_) => continue,
            }
            if filter.handle == ADDED {
                drop(Clsact::added(interface.index));
            }
        }
    }
    Ok(removed)
}

/// Returns `struct tcmsg` of linux/rtnetlink.h.
fn tcmsg(interface: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut message = vec![0; 4];
    for number in [interface, handle, parent, info] {
        message.extend_from_slice(&number.to_ne_bytes());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::put;

    fn message(handle: u32, program: &str) -> Vec<u8> {
        let mut message = tcmsg(3, handle, INGRESS, 7);
        let mut options = Vec::new();
        put(&mut options, TCA_BPF_NAME, program.as_bytes());
        put(&mut options, TCA_BPF_ID, &u32::MAX.to_ne_bytes());
        put(&mut message, TCA_KIND, b"bpf\0");
        put(&mut message, TCA_OPTIONS, &options);
        message
    }

    #[test]
    fn filters_are_read() {
        let whole = message(1, "cil_from_netdev");
        let filter = parsed(&whole).unwrap();
        assert_eq!(filter.program_name.as_deref(), Some("cil_from_netdev"));
        assert_eq!(filter.kind, "bpf");
        assert_eq!((filter.interface, filter.handle, filter.info), (3, 1, 7));
        assert_eq!(parsed(&message(0, "x")), None);
        for length in 0..whole.len() {
            let _ = parsed(&whole[..length]);
        }
    }

    #[test]
    fn ours_are_abandoned_when_nobody_says_that_they_are_in_use() {
        let ours = parsed(&message(1, "tlswhy_ingress")).unwrap();
        assert!(ours.is_abandoned());
        let mut in_use = InUse::default();
        in_use.mark(u32::MAX);
        in_use.mark(u32::MAX);
        assert!(!ours.is_abandoned());
        drop(in_use);
        assert!(ours.is_abandoned());
        let others = parsed(&message(1, "cil_from_netdev")).unwrap();
        assert!(!others.is_abandoned());
    }

    #[test]
    fn an_interface_without_any_has_none() {
        assert_eq!(filters(u32::MAX, INGRESS).unwrap_or_default(), []);
    }
}
