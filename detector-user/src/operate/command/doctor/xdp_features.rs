//! Drivers' support for native XDP, from the netlink family "netdev" (Linux 6.3 and later).

use std::io;

use nix::sys::socket::SockProtocol;

use crate::host::netlink::{Ask, GENERIC_HEADER, attribute, generic_family, put, request};

/// From linux/netdev.h.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// The driver runs programs with all actions except redirection.
const NETDEV_XDP_ACT_BASIC: u64 = 1;

/// Returns whether the driver of this interface runs XDP programs itself.
///
/// # Errors
/// The kernel's error: it may be too old, or the interface gone.
pub(super) fn has_native_xdp(interface: u32) -> io::Result<bool> {
    let family = generic_family("netdev")?;
    let mut payload = vec![NETDEV_CMD_DEV_GET, 1, 0, 0];
    put(&mut payload, NETDEV_A_DEV_IFINDEX, &interface.to_ne_bytes());
    let answer = request(SockProtocol::NetlinkGeneric, family, Ask::One, &payload)?;
    let message = answer.first().ok_or(io::ErrorKind::InvalidData)?;
    let attributes = message.payload.get(GENERIC_HEADER..).unwrap_or_default();
    Ok(parsed(attributes).ok_or(io::ErrorKind::InvalidData)?)
}

fn parsed(attributes: &[u8]) -> Option<bool> {
    let features = attribute(attributes, NETDEV_A_DEV_XDP_FEATURES)?;
    let features = u64::from_ne_bytes(*features.first_chunk()?);
    Some(features & NETDEV_XDP_ACT_BASIC != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_that_loopback_has_none() {
        assert!(!has_native_xdp(1).unwrap());
        assert!(has_native_xdp(u32::MAX).is_err());
    }

    #[test]
    fn the_basic_feature_decides() {
        let with = |features: u64| {
            let mut attributes = Vec::new();
            put(
                &mut attributes,
                NETDEV_A_DEV_XDP_FEATURES,
                &features.to_ne_bytes(),
            );
            parsed(&attributes)
        };
        assert_eq!((with(0x7f), with(0x7e)), (Some(true), Some(false)));
        assert_eq!(parsed(&[]), None);
    }
}
