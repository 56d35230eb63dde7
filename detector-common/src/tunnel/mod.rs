//! Tunnels and mirror protocols: from an outer frame to the one it carries.
//!
//! Inner addresses make the flow. An identifier that is the same in both directions (VNI, VSID, GRE
//! key, mirror session) becomes part of its key; identifiers that each direction has of its own
//! (MPLS labels, GTP TEIDs, L2TP sessions) do not.

mod gre;
mod kind;
mod reader;
mod udp;

use crate::bytes::{be16, u8_at};
use crate::headers::{LinkType, link_layer};
use crate::packet::Packet;
use gre::in_gre;
use reader::{IPV4, IPV6, Reader, in_mpls, ip_ether_type};
use udp::in_udp;

pub use kind::{TunnelKind, TunnelTag};
pub use reader::{Inner, Place};

/// Tunnels within tunnels that are opened.
pub const LEVELS_MAX: usize = 2;

/// IPv6 extension headers stepped over in an outer header.
const EXTENSIONS_MAX: usize = 4;

const MPLS_UNICAST: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const NSH: u16 = 0x894f;
const PBB: u16 = 0x88e7;

/// Returns the innermost frame of `frame`, which is itself where nothing is tunnelled. Opens at
/// most [`LEVELS_MAX`] tunnels.
pub fn innermost(frame: &[u8], link: LinkType) -> Inner {
    let mut found = Inner {
        offset: 0,
        link,
        tunnel: TunnelTag::default(),
    };
    for _ in 0..LEVELS_MAX {
        let Some(bytes) = frame.get(found.offset..) else {
            break;
        };
        let Some(place) = inner(&bytes, found.link) else {
            break;
        };
        let inner = Place::read(place.word());
        found = Inner {
            offset: found.offset + inner.offset,
            link: inner.link,
            tunnel: if found.tunnel.0 == 0 {
                inner.tunnel
            } else {
                found.tunnel
            },
        };
    }
    found
}

/// Returns the place of the frame directly inside `packet`, if it is the outside of a tunnel.
#[inline(always)]
pub fn inner<P: Packet>(packet: &P, link: LinkType) -> Option<Place> {
    let network = link_layer(packet, link).ok()?;
    let mut reader = Reader {
        packet,
        at: network.offset,
    };
    let place = match network.ether_type {
        IPV4 => in_ipv4(reader),
        IPV6 => in_ipv6(reader),
        MPLS_UNICAST | MPLS_MULTICAST => in_mpls(reader),
        NSH => in_nsh(reader),
        PBB => {
            reader.skip(4);
            reader.inner(LinkType::Ethernet, TunnelKind::Pbb, None)
        }
        _ => None,
    };
    place.filter(|place| !place.is_last())
}

#[inline(always)]
fn in_ipv4<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    let header = reader.peek::<20>()?;
    let header_len = usize::from(u8_at(header, 0) & 0x0f) * 4;
    // A fragment, the first too, has only a part of the inner frame.
    if u8_at(header, 0) >> 4 != 4 || header_len < 20 || be16(header, 6) & 0x3fff != 0 {
        return None;
    }
    let protocol = u8_at(header, 9);
    reader.skip(header_len);
    in_protocol(reader, protocol)
}

#[inline(always)]
fn in_ipv6<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    let header = reader.peek::<40>()?;
    if u8_at(header, 0) >> 4 != 6 {
        return None;
    }
    let mut next = u8_at(header, 6);
    reader.skip(40);
    for _ in 0..EXTENSIONS_MAX {
        // Hop-by-hop, routing and destination options (RFC 8200 §4); fragments are not joined.
        if !matches!(next, 0 | 43 | 60) {
            break;
        }
        let extension = reader.peek::<2>()?;
        let len = (usize::from(u8_at(extension, 1)) + 1) * 8;
        next = u8_at(extension, 0);
        reader.skip(len);
    }
    in_protocol(reader, next)
}

#[inline(always)]
fn in_protocol<P: Packet>(mut reader: Reader<'_, P>, protocol: u8) -> Option<Place> {
    match protocol {
        4 | 41 => {
            ip_ether_type(&reader)?;
            reader.inner(LinkType::Raw, TunnelKind::IpIp, None)
        }
        17 => in_udp(reader),
        47 => in_gre(reader),
        97 => {
            let version = be16(reader.peek::<2>()?, 0);
            reader.skip(2);
            let inner = reader.inner(LinkType::Ethernet, TunnelKind::EtherIp, None)?;
            (version == 0x3000).then_some(inner)
        }
        137 => in_mpls(reader),
        _ => None,
    }
}

#[inline(always)]
fn in_nsh<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    let header = reader.peek::<8>()?;
    let len = usize::from(be16(header, 0) & 0x003f) * 4;
    let link = match u8_at(header, 3) {
        1 | 2 => LinkType::Raw,
        3 => LinkType::Ethernet,
        _ => return None,
    };
    reader.skip(len.max(8));
    reader.inner(link, TunnelKind::Nsh, None)
}
