//! Link layer: from a frame's first byte to its network header, behind tags.

use crate::bytes::{be16, be32, be48, u8_at};
use crate::counter::Counter;
use crate::packet::Packet;

pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;
/// VN-Tag (IEEE 802.1BR's older sibling, as Cisco UCS and Nexus write it): 4 bytes.
const ETHERTYPE_VN_TAG: u16 = 0x8926;
/// HSR tag (IEC 62439-3): 4 bytes.
const ETHERTYPE_HSR: u16 = 0x892f;
/// Cisco MetaData, which carries a Security Group Tag: 6 bytes.
const ETHERTYPE_CISCO_METADATA: u16 = 0x8909;
/// Values up to here are an IEEE 802.3 length instead of an EtherType.
const LENGTH_MAX: u16 = 1500;
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
/// VLAN tags walked; the first two are reported.
pub(super) const TAGS_MAX: usize = 4;

/// Link layer of a frame: the header it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet II.
    Ethernet,
    /// Linux cooked capture v1, 16 bytes.
    LinuxSll,
    /// Linux cooked capture v2, 20 bytes.
    LinuxSll2,
    /// No link-layer header: an IP header comes first.
    Raw,
    /// BSD loopback: four bytes of address family, in either byte order.
    Null,
}

/// Result of the link layer: offset and EtherType of the network header.
pub(crate) struct Network {
    pub(crate) offset: usize,
    pub(crate) ether_type: u16,
    pub(super) vlan: [u16; 2],
    pub(super) mac: u64,
}

#[inline(always)]
pub(crate) fn link_layer<P: Packet>(packet: &P, link: LinkType) -> Result<Network, Counter> {
    let truncated = Counter::TruncatedHeaders;
    let (offset, ether_type, mac) = match link {
        LinkType::Ethernet => {
            let ethernet = packet.window::<14>(0).ok_or(truncated)?;
            (14, be16(ethernet, 12), be48(ethernet, 6))
        }
        LinkType::LinuxSll => {
            let cooked = packet.window::<16>(0).ok_or(truncated)?;
            (16, be16(cooked, 14), be48(cooked, 6))
        }
        LinkType::LinuxSll2 => {
            let cooked = packet.window::<20>(0).ok_or(truncated)?;
            (20, be16(cooked, 0), be48(cooked, 12))
        }
        LinkType::Raw => (0, ip_version(packet, 0)?, 0),
        LinkType::Null => (4, ip_version(packet, 4)?, 0),
    };
    tags(
        packet,
        Network {
            offset,
            ether_type,
            vlan: [0; 2],
            mac,
        },
    )
}

/// Returns the EtherType for an IP header's version nibble.
#[inline(always)]
fn ip_version<P: Packet>(packet: &P, offset: usize) -> Result<u16, Counter> {
    match u8_at(
        packet
            .window::<1>(offset)
            .ok_or(Counter::TruncatedHeaders)?,
        0,
    ) >> 4
    {
        4 => Ok(ETHERTYPE_IPV4),
        6 => Ok(ETHERTYPE_IPV6),
        _ => Err(Counter::NotIp),
    }
}

/// Skips tags between link layer and network layer: VLAN (IEEE 802.1Q, 802.1ad, and the older 0x9100
/// and 0x9200), VN-Tag, HSR, Cisco MetaData, LLC/SNAP; then a PPPoE session header (RFC 2516).
#[inline(always)]
fn tags<P: Packet>(packet: &P, mut network: Network) -> Result<Network, Counter> {
    let mut seen = 0;
    if let Some(tag) = packet.offloaded_vlan() {
        network.vlan[0] = tag & 0x0fff;
        seen = 1;
    }
    for _ in 0..TAGS_MAX {
        match network.ether_type {
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                let tag = packet
                    .window::<4>(network.offset)
                    .ok_or(Counter::TruncatedHeaders)?;
                match seen {
                    0 => network.vlan[0] = be16(tag, 0) & 0x0fff,
                    1 => network.vlan[1] = be16(tag, 0) & 0x0fff,
                    _ => {}
                }
                seen += 1;
                network.ether_type = be16(tag, 2);
                network.offset += 4;
            }
            ETHERTYPE_VN_TAG | ETHERTYPE_HSR => {
                let tag = packet
                    .window::<6>(network.offset)
                    .ok_or(Counter::TruncatedHeaders)?;
                network.ether_type = be16(tag, 4);
                network.offset += 6;
            }
            ETHERTYPE_CISCO_METADATA => {
                let tag = packet
                    .window::<8>(network.offset)
                    .ok_or(Counter::TruncatedHeaders)?;
                network.ether_type = be16(tag, 6);
                network.offset += 8;
            }
            length if length <= LENGTH_MAX => {
                let llc = packet
                    .window::<8>(network.offset)
                    .ok_or(Counter::TruncatedHeaders)?;
                // SNAP (IEEE 802) under the organisation code of Ethernet: an EtherType follows.
                if be32(llc, 0) != 0xaaaa_0300 || be16(llc, 4) != 0 {
                    return Err(Counter::NotIp);
                }
                network.ether_type = be16(llc, 6);
                network.offset += 8;
            }
            _ => break,
        }
    }
    if matches!(network.ether_type, 0x8100 | 0x88a8 | 0x9100 | 0x9200) {
        return Err(Counter::TooManyHeaders);
    }
    if network.ether_type == ETHERTYPE_PPPOE_SESSION {
        let pppoe = packet
            .window::<8>(network.offset)
            .ok_or(Counter::TruncatedHeaders)?;
        let (protocol, protocol_len) = ppp_protocol(be16(pppoe, 6));
        network.ether_type = match protocol {
            PPP_IPV4 => ETHERTYPE_IPV4,
            PPP_IPV6 => ETHERTYPE_IPV6,
            _ => return Err(Counter::NotIp),
        };
        network.offset += 6 + protocol_len;
    }
    Ok(network)
}

/// Returns a PPP protocol number from its first two bytes, and the number of bytes it takes: one
/// where it was compressed (RFC 1661 §6.5), which its lowest bit shows.
#[inline(always)]
pub(crate) fn ppp_protocol(first: u16) -> (u16, usize) {
    if first & 0x0100 != 0 {
        (first >> 8, 1)
    } else {
        (first, 2)
    }
}
