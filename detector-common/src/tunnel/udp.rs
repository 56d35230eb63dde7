//! Tunnels in UDP.

use crate::bytes::{be16, be32, u8_at};
use crate::headers::LinkType;
use crate::packet::Packet;
use crate::tunnel::kind::TunnelKind;
use crate::tunnel::reader::{Place, Reader, in_mpls, in_ppp, ip_ether_type};

/// GTP-U extension headers (3GPP TS 29.281 §5.2) stepped over.
const GTP_EXTENSIONS_MAX: usize = 4;
/// TZSP tagged fields stepped over.
const TZSP_TAGS_MAX: usize = 16;

#[inline(always)]
pub(super) fn in_udp<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    let header = reader.peek::<8>()?;
    let (source, destination) = (be16(header, 0), be16(header, 2));
    reader.skip(8);
    match destination {
        // 8472 is where Linux sent VXLAN before the port was assigned.
        4789 | 8472 => in_vxlan(reader),
        4790 => in_vxlan_gpe(reader),
        6081 => in_geneve(reader),
        6080 => in_gue(reader),
        2152 => in_gtp(reader),
        6635 => in_mpls(reader),
        37008 => in_tzsp(reader),
        7932 if source == 7932 => {
            reader.skip(12);
            reader.inner(LinkType::Ethernet, TunnelKind::HpErm, None)
        }
        1701 => in_l2tp(reader),
        _ if source == 1701 => in_l2tp(reader),
        _ => None,
    }
}

#[inline(always)]
fn in_vxlan<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    let header = reader.peek::<8>()?;
    let has_vni = u8_at(header, 0) & 0x08 != 0;
    let vni = be32(header, 4) >> 8;
    reader.skip(8);
    let inner = reader.inner(LinkType::Ethernet, TunnelKind::Vxlan, Some(vni))?;
    has_vni.then_some(inner)
}

#[inline(always)]
fn in_vxlan_gpe<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    let header = reader.peek::<8>()?;
    let link = match u8_at(header, 3) {
        1 | 2 => LinkType::Raw,
        3 => LinkType::Ethernet,
        _ => return None,
    };
    let vni = be32(header, 4) >> 8;
    reader.skip(8);
    reader.inner(link, TunnelKind::Vxlan, Some(vni))
}

#[inline(always)]
fn in_geneve<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    let header = reader.peek::<8>()?;
    let version = u8_at(header, 0) >> 6;
    let options_len = usize::from(u8_at(header, 0) & 0x3f) * 4;
    let (protocol, vni) = (be16(header, 2), be32(header, 4) >> 8);
    reader.skip(8 + options_len);
    let inner = reader.typed(protocol, TunnelKind::Geneve, Some(vni))?;
    (version == 0).then_some(inner)
}

/// Parses GUE (draft-ietf-intarea-gue): variant 0 has a header, variant 1 is IP at once.
#[inline(always)]
fn in_gue<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    let header = reader.peek::<4>()?;
    let (first, protocol) = (u8_at(header, 0), u8_at(header, 1));
    if first >> 6 == 1 {
        ip_ether_type(&reader)?;
        return reader.inner(LinkType::Raw, TunnelKind::Gue, None);
    }
    if first & 0xe0 != 0 {
        return None;
    }
    reader.skip(4 + usize::from(first & 0x1f) * 4);
    match protocol {
        4 | 41 => reader.inner(LinkType::Raw, TunnelKind::Gue, None),
        _ => None,
    }
}

#[inline(always)]
fn in_gtp<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    const USER_DATA: u8 = 255;
    let header = reader.peek::<8>()?;
    let flags = u8_at(header, 0);
    // Version 1, GTP rather than GTP'.
    if flags & 0xf0 != 0x30 || u8_at(header, 1) != USER_DATA {
        return None;
    }
    reader.skip(8);
    if flags & 0x07 != 0 {
        let optional = reader.peek::<4>()?;
        let mut next = if flags & 0x04 != 0 {
            u8_at(optional, 3)
        } else {
            0
        };
        reader.skip(4);
        for _ in 0..GTP_EXTENSIONS_MAX {
            if next == 0 {
                break;
            }
            let len = usize::from(u8_at(reader.peek::<1>()?, 0)) * 4;
            if len == 0 {
                return None;
            }
            reader.skip(len - 1);
            next = u8_at(reader.peek::<1>()?, 0);
            reader.skip(1);
        }
    }
    ip_ether_type(&reader)?;
    reader.inner(LinkType::Raw, TunnelKind::Gtp, None)
}

#[inline(always)]
fn in_tzsp<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    let header = reader.peek::<4>()?;
    let is_frame = u8_at(header, 0) == 1 && matches!(u8_at(header, 1), 0 | 1);
    if !is_frame || be16(header, 2) != 1 {
        return None;
    }
    reader.skip(4);
    for _ in 0..TZSP_TAGS_MAX {
        match u8_at(reader.peek::<1>()?, 0) {
            END => {
                reader.skip(1);
                return reader.inner(LinkType::Ethernet, TunnelKind::Tzsp, None);
            }
            PADDING => reader.skip(1),
            _ => {
                let len = usize::from(u8_at(reader.peek::<2>()?, 1));
                reader.skip(2 + len);
            }
        }
    }
    None
}

#[inline(always)]
fn in_l2tp<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    let flags = be16(reader.peek::<2>()?, 0);
    if flags & CONTROL != 0 || flags & 0x000f != 2 {
        return None;
    }
    reader.skip(2 + 4);
    for (flag, len) in [(LENGTH, 2), (SEQUENCE, 4)] {
        if flags & flag != 0 {
            reader.skip(len);
        }
    }
    if flags & OFFSET != 0 {
        let padding = usize::from(be16(reader.peek::<2>()?, 0));
        reader.skip(2 + padding);
    }
    in_ppp(reader, TunnelKind::L2tp)
}
