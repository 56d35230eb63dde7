//! Which offloads an interface has on, asked by ethtool's netlink (Linux 5.6 and later).

use std::collections::HashSet;
use std::io;

use nix::sys::socket::SockProtocol;

use crate::netlink::{Ask, attribute, attributes, put, request, text, u16_at};

/// `struct genlmsghdr`.
const GENERIC_HEADER: usize = 4;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// From linux/ethtool_netlink.h.
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_NAME: u16 = 2;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

/// The kernel's names of the offloads that are on, such as `rx-lro`.
///
/// # Errors
/// What the kernel says: it may be too old, or the interface gone.
pub(crate) fn active(interface: &str) -> io::Result<HashSet<String>> {
    let family = ethtool_family()?;
    let mut header = Vec::new();
    put(&mut header, ETHTOOL_A_HEADER_DEV_NAME, &with_nul(interface));
    let mut payload = vec![ETHTOOL_MSG_FEATURES_GET, 1, 0, 0];
    put(
        &mut payload,
        ETHTOOL_A_FEATURES_HEADER | libc::NLA_F_NESTED as u16,
        &header,
    );
    let answer = request(SockProtocol::NetlinkGeneric, family, Ask::One, &payload)?;
    let message = answer.first().ok_or(io::ErrorKind::InvalidData)?;
    Ok(parsed(&message.payload).ok_or(io::ErrorKind::InvalidData)?)
}

fn ethtool_family() -> io::Result<u16> {
    let mut payload = vec![libc::CTRL_CMD_GETFAMILY as u8, 1, 0, 0];
    put(&mut payload, CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
    let controller = libc::GENL_ID_CTRL as u16;
    let answer = request(SockProtocol::NetlinkGeneric, controller, Ask::One, &payload)?;
    let message = answer.first().ok_or(io::ErrorKind::InvalidData)?;
    let attributes = message.payload.get(GENERIC_HEADER..).unwrap_or_default();
    let family = attribute(attributes, CTRL_ATTR_FAMILY_ID).and_then(|id| u16_at(id, 0));
    Ok(family.ok_or(io::ErrorKind::InvalidData)?)
}

fn with_nul(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// The list of active features is a bitset without a mask: who is listed is on.
fn parsed(message: &[u8]) -> Option<HashSet<String>> {
    let active = attribute(message.get(GENERIC_HEADER..)?, ETHTOOL_A_FEATURES_ACTIVE)?;
    let bits = attribute(active, ETHTOOL_A_BITSET_BITS)?;
    let bits = attributes(bits).filter(|&(kind, _)| kind == ETHTOOL_A_BITSET_BITS_BIT);
    Some(
        bits.filter_map(|(_, bit)| attribute(bit, ETHTOOL_A_BITSET_BIT_NAME))
            .map(text)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_loopback_has_on() {
        let on = active("lo").unwrap();
        // Loopback cannot be without it, and has no hardware that could take tags off.
        assert!(on.contains("loopback"), "{on:?}");
        assert!(!on.contains("rx-vlan-hw-parse"), "{on:?}");
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert_eq!(
            active("nonexistent0").unwrap_err().raw_os_error(),
            Some(libc::ENODEV)
        );
    }
}
