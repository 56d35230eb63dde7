//! An interface's hardware, as ethtool's netlink describes it (Linux 5.6 and later).

use std::collections::HashSet;
use std::io;

use nix::sys::socket::SockProtocol;

use crate::host::netlink::{
    Ask, GENERIC_HEADER, attribute, attributes, generic_family, put, request, text, u32_at,
};

/// From linux/ethtool_netlink.h.
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_MSG_RINGS_GET: u8 = 15;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_RINGS_RX_MAX: u16 = 2;
const ETHTOOL_A_RINGS_RX: u16 = 6;
/// Every request's first attribute, and the name in it.
const ETHTOOL_A_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_NAME: u16 = 2;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

/// Number of descriptors in a device's receive rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceiveRing {
    /// Configured.
    pub(crate) slots: u32,
    /// Maximum of the device.
    pub(crate) most: u32,
}

/// Returns the kernel's names of the offloads that are on, such as `rx-lro`.
///
/// # Errors
/// The kernel's error: it may be too old, or the interface may not exist.
pub(crate) fn offloads(interface: &str) -> io::Result<HashSet<String>> {
    let message = ask(ETHTOOL_MSG_FEATURES_GET, interface)?;
    Ok(parsed_offloads(&message).ok_or(io::ErrorKind::InvalidData)?)
}

/// Returns the size of an interface's receive rings.
///
/// # Errors
/// The kernel's error; `EOPNOTSUPP` where there are none, as on virtual interfaces.
pub(crate) fn receive_ring(interface: &str) -> io::Result<ReceiveRing> {
    let message = ask(ETHTOOL_MSG_RINGS_GET, interface)?;
    Ok(parsed_ring(&message).ok_or(io::ErrorKind::InvalidData)?)
}

/// Returns the attributes of the answer to a request about one interface.
fn ask(what: u8, interface: &str) -> io::Result<Vec<u8>> {
    let family = generic_family("ethtool")?;
    let mut header = Vec::new();
    let name = [interface.as_bytes(), &[0]].concat();
    put(&mut header, ETHTOOL_A_HEADER_DEV_NAME, &name);
    let mut payload = vec![what, 1, 0, 0];
    put(
        &mut payload,
        ETHTOOL_A_HEADER | libc::NLA_F_NESTED as u16,
        &header,
    );
    let answer = request(SockProtocol::NetlinkGeneric, family, Ask::One, &payload)?;
    let message = answer.first().ok_or(io::ErrorKind::InvalidData)?;
    let attributes = message.payload.get(GENERIC_HEADER..);
    Ok(attributes.ok_or(io::ErrorKind::InvalidData)?.to_vec())
}

/// Parses the active features, a bitset without a mask: those listed are on.
fn parsed_offloads(answer: &[u8]) -> Option<HashSet<String>> {
    let active = attribute(answer, ETHTOOL_A_FEATURES_ACTIVE)?;
    let bits = attribute(active, ETHTOOL_A_BITSET_BITS)?;
    let bits = attributes(bits).filter(|&(kind, _)| kind == ETHTOOL_A_BITSET_BITS_BIT);
    Some(
        bits.filter_map(|(_, bit)| attribute(bit, ETHTOOL_A_BITSET_BIT_NAME))
            .map(text)
            .collect(),
    )
}

fn parsed_ring(answer: &[u8]) -> Option<ReceiveRing> {
    let number = |kind| u32_at(attribute(answer, kind)?, 0);
    Some(ReceiveRing {
        slots: number(ETHTOOL_A_RINGS_RX)?,
        most: number(ETHTOOL_A_RINGS_RX_MAX)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_loopback_has_on() {
        let on = offloads("lo").unwrap();
        // Loopback cannot be without it, and has no hardware that could take tags off.
        assert!(on.contains("loopback"), "{on:?}");
        assert!(!on.contains("rx-vlan-hw-parse"), "{on:?}");
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        for error in [
            offloads("nonexistent0").map(drop).unwrap_err(),
            receive_ring("nonexistent0").map(drop).unwrap_err(),
        ] {
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        }
    }

    #[test]
    fn what_has_no_rings_says_so() {
        let error = receive_ring("lo").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
    }

    #[test]
    fn an_answer_about_rings_is_read() {
        let mut answer = Vec::new();
        put(&mut answer, ETHTOOL_A_RINGS_RX_MAX, &4096u32.to_ne_bytes());
        assert_eq!(parsed_ring(&answer), None);
        put(&mut answer, ETHTOOL_A_RINGS_RX, &256u32.to_ne_bytes());
        let expected = ReceiveRing {
            slots: 256,
            most: 4096,
        };
        assert_eq!(parsed_ring(&answer), Some(expected));
    }
}
