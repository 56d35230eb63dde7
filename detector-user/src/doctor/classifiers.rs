//! What sits at an interface's classifier hooks already: TCX programs, and filters of clsact.

use std::io;

use aya::programs::SchedClassifier;
use aya::programs::tc::TcAttachType;
use nix::sys::socket::SockProtocol;

use crate::netlink::{Ask, attribute, request, text, u32_at};

/// What the names of tlswhy's own programs begin with. The kernel keeps 15 bytes of a name.
const OURS: &str = "tlswhy_";
/// `struct tcmsg`, which stands before the attributes (linux/rtnetlink.h).
const TC_HEADER: usize = 20;
/// The clsact queueing discipline's two chains (linux/pkt_sched.h).
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
/// From linux/rtnetlink.h and linux/pkt_cls.h.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Tlswhy,
    Other,
}

/// A program or filter at a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classifier {
    /// `TCX ingress` and so on.
    pub(super) hook: &'static str,
    pub(super) name: String,
    pub(super) owner: Owner,
}

impl Classifier {
    fn new(hook: &'static str, name: String) -> Self {
        let owner = owner(&name);
        Self { hook, name, owner }
    }
}

/// Whose program this is, by its name.
pub(super) fn owner(name: &str) -> Owner {
    if name.starts_with(OURS) {
        Owner::Tlswhy
    } else {
        Owner::Other
    }
}

/// All of them on one interface, in the order in which packets meet them. What the kernel does not
/// tell is left out: before Linux 6.6 it has no TCX.
pub(super) fn all(interface: &str, index: u32) -> Vec<Classifier> {
    let mut found = Vec::new();
    let sides = [
        (
            "TCX ingress",
            TcAttachType::Ingress,
            "clsact ingress",
            CLSACT_INGRESS,
        ),
        (
            "TCX egress",
            TcAttachType::Egress,
            "clsact egress",
            CLSACT_EGRESS,
        ),
    ];
    for (tcx, side, clsact, parent) in sides {
        let programs = SchedClassifier::query_tcx(interface, side).map(|(_, programs)| programs);
        for program in programs.unwrap_or_default() {
            let name = program.name_as_str().unwrap_or_default();
            found.push(Classifier::new(
                tcx,
                format!("{name} (id {})", program.id()),
            ));
        }
        let filters = filters(index, parent).unwrap_or_default();
        found.extend(
            filters
                .into_iter()
                .map(|name| Classifier::new(clsact, name)),
        );
    }
    found
}

/// The filters of one chain: an eBPF program's by its name, others by their kind.
fn filters(interface: u32, parent: u32) -> io::Result<Vec<String>> {
    let mut payload = vec![0; TC_HEADER];
    for (at, value) in [(4, interface), (12, parent)] {
        if let Some(room) = payload.get_mut(at..at + 4) {
            room.copy_from_slice(&value.to_ne_bytes());
        }
    }
    let answer = request(
        SockProtocol::NetlinkRoute,
        libc::RTM_GETTFILTER,
        Ask::All,
        &payload,
    )?;
    let messages = answer.iter();
    let mut names: Vec<String> = messages.filter_map(|it| parsed(&it.payload)).collect();
    // A u32 filter is told of with each of its tables.
    names.dedup();
    Ok(names)
}

/// A filter's name. Each filter is preceded by a message for its chain's priority alone, which has no
/// handle.
fn parsed(message: &[u8]) -> Option<String> {
    let handle = u32_at(message, 8)?;
    let attributes = message.get(TC_HEADER..)?;
    let kind = text(attribute(attributes, TCA_KIND)?);
    let options = attribute(attributes, TCA_OPTIONS).unwrap_or_default();
    match attribute(options, TCA_BPF_NAME) {
        Some(name) => Some(text(name)),
        None => (handle != 0).then(|| format!("a filter of kind {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::put;

    fn message(handle: u32, kind: &str, program: Option<&str>) -> Vec<u8> {
        let mut message = vec![0; TC_HEADER];
        message[8..12].copy_from_slice(&handle.to_ne_bytes());
        put(&mut message, TCA_KIND, kind.as_bytes());
        if let Some(program) = program {
            let mut options = Vec::new();
            put(&mut options, TCA_BPF_NAME, program.as_bytes());
            put(&mut message, TCA_OPTIONS, &options);
        }
        message
    }

    #[test]
    fn filters_are_named() {
        let program = message(1, "bpf", Some("cil_from_netdev"));
        assert_eq!(parsed(&program).unwrap(), "cil_from_netdev");
        let flower = message(1, "flower", None);
        assert_eq!(parsed(&flower).unwrap(), "a filter of kind flower");
        assert_eq!(parsed(&message(0, "bpf", None)), None);
        for length in 0..program.len() {
            let _ = parsed(&program[..length]);
        }
    }

    #[test]
    fn an_interface_without_any_has_none() {
        assert_eq!(
            filters(u32::MAX, CLSACT_INGRESS).unwrap_or_default().len(),
            0
        );
    }

    #[test]
    fn ours_are_told_from_others() {
        assert_eq!(owner("tlswhy_ingress_ (id 5)"), Owner::Tlswhy);
        assert_eq!(owner("cil_from_netdev"), Owner::Other);
    }
}
