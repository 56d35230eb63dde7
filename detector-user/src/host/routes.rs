//! Default routes, as rtnetlink(7) lists them.

use std::collections::HashSet;
use std::io;

use nix::sys::socket::SockProtocol;

use crate::host::netlink::{Ask, attributes, request, u16_at, u32_at};

/// Returns the indices of interfaces with a default route, of either IP version, in the main table.
///
/// # Errors
/// If the kernel does not answer.
pub(crate) fn default_routes() -> io::Result<HashSet<u32>> {
    /// `struct rtmsg`.
    const HEADER: usize = 12;
    let answer = request(
        SockProtocol::NetlinkRoute,
        libc::RTM_GETROUTE,
        Ask::All,
        &[0; HEADER],
    )?;
    let mut found = HashSet::new();
    for message in &answer {
        let route = message.payload.as_slice();
        let (Some(&prefix), Some(&table), Some(&kind)) = (route.get(1), route.get(4), route.get(7))
        else {
            continue;
        };
        let is_default = prefix == 0 && table == libc::RT_TABLE_MAIN && kind == libc::RTN_UNICAST;
        if is_default {
            found.extend(next_hops(route.get(HEADER..).unwrap_or_default()));
        }
    }
    Ok(found)
}

/// Returns the interfaces of a route.
fn next_hops(route: &[u8]) -> Vec<u32> {
    let mut hops = Vec::new();
    for (kind, value) in attributes(route) {
        match kind {
            libc::RTA_OIF => hops.extend(u32_at(value, 0)),
            libc::RTA_MULTIPATH => {
                // Each `struct rtnexthop`: its length including the attributes, flags, hops,
                // interface.
                let mut rest = value;
                while let (Some(length), Some(interface)) = (u16_at(rest, 0), u32_at(rest, 4)) {
                    hops.push(interface);
                    let next = usize::from(length).next_multiple_of(4).max(8);
                    rest = rest.get(next..).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    hops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::put;

    #[test]
    fn routes_lead_to_interfaces() {
        let mut route = Vec::new();
        put(&mut route, libc::RTA_OIF, &7u32.to_ne_bytes());
        let mut hops = Vec::new();
        for interface in [3u32, 4] {
            hops.extend_from_slice(&8u16.to_ne_bytes());
            hops.extend_from_slice(&[0, 0]);
            hops.extend_from_slice(&interface.to_ne_bytes());
        }
        put(&mut route, libc::RTA_MULTIPATH, &hops);
        assert_eq!(next_hops(&route), [7, 3, 4]);
        for length in 0..route.len() {
            let _ = next_hops(&route[..length]);
        }
        assert!(default_routes().is_ok());
    }
}
