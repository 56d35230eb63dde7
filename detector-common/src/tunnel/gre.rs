//! Tunnels in GRE.

use crate::bytes::{be16, be32, u8_at};
use crate::headers::LinkType;
use crate::packet::Packet;
use crate::tunnel::kind::TunnelKind;
use crate::tunnel::reader::{ETHERNET_BRIDGED, Place, Reader, in_mpls, in_ppp};

const MPLS_UNICAST: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const ERSPAN_I_II: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;
const PPP: u16 = 0x880b;

#[inline(always)]
pub(super) fn in_gre<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGMENT: u16 = 0x0080;
    let header = reader.peek::<4>()?;
    let (flags, protocol) = (be16(header, 0), be16(header, 2));
    if flags & ROUTING != 0 {
        return None;
    }
    reader.skip(4);
    if flags & CHECKSUM != 0 {
        reader.skip(4);
    }
    // Not an `Option`: the eBPF compiler would compute with the number that isn't there.
    let mut key = u32::MAX;
    if flags & KEY != 0 {
        key = be32(reader.peek::<4>()?, 0);
        reader.skip(4);
    }
    if flags & SEQUENCE != 0 {
        reader.skip(4);
    }
    match (flags & 0x0007, protocol) {
        (1, PPP) => {
            if flags & ACKNOWLEDGMENT != 0 {
                reader.skip(4);
            }
            in_ppp(reader, TunnelKind::Gre)
        }
        (0, ERSPAN_I_II) if flags & SEQUENCE == 0 => {
            reader.inner(LinkType::Ethernet, TunnelKind::Erspan, None)
        }
        (0, ERSPAN_I_II | ERSPAN_III) => in_erspan(reader),
        (0, ETHERNET_BRIDGED) if flags & KEY != 0 => {
            reader.inner(LinkType::Ethernet, TunnelKind::Nvgre, Some(key >> 8))
        }
        (0, MPLS_UNICAST | MPLS_MULTICAST) => in_mpls(reader),
        (0, _) => reader.typed(protocol, TunnelKind::Gre, Some(key)),
        _ => None,
    }
}

/// Parses ERSPAN (draft-foschiano-erspan), types II and III, by the version in its header.
#[inline(always)]
fn in_erspan<P: Packet>(mut reader: Reader<'_, P>) -> Option<Place> {
    let header = reader.peek::<8>()?;
    let session = u32::from(be16(header, 2) & 0x03ff);
    let len = match u8_at(header, 0) >> 4 {
        1 => 8,
        2 => {
            let last = u8_at(reader.peek::<12>()?, 11);
            // The O flag announces a platform-specific subheader.
            if last & 1 != 0 { 20 } else { 12 }
        }
        _ => return None,
    };
    reader.skip(len);
    reader.inner(LinkType::Ethernet, TunnelKind::Erspan, Some(session))
}
