//! Header walk: from a frame's first byte to its TCP payload.
//!
//! Ethernet II (also 802.1Q and 802.1ad tags, PPPoE sessions), Linux cooked v1 and v2, BSD
//! loopback, raw IP; IPv4 with options, IPv6 with extension headers; TCP with options.

use crate::bytes::{be16, be32, be48, be64, u8_at};
use crate::counter::Counter;
use crate::flow::{Address, FlowKey};
use crate::packet::Packet;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
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
const PROTOCOL_TCP: u8 = 6;
/// VLAN tags walked; the first two are reported.
const TAGS_MAX: usize = 4;
/// IPv6 extension headers walked.
const EXTENSIONS_MAX: usize = 6;
/// No header that is walked begins or ends beyond this.
const OFFSET_MASK: usize = 0x3fff;

const _: () = assert!(20 + TAGS_MAX * 8 + 8 + 40 + EXTENSIONS_MAX * 2048 + 60 <= OFFSET_MASK);

/// TCP flag bits (RFC 9293 §3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 0x10;
}

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

/// One TCP segment as its headers describe it. Numbers are in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its flow; from source to destination until [`Segment::order_endpoints`].
    pub key: FlowKey,
    /// Index of the sending endpoint in the key: 0 or 1.
    pub endpoint: u8,
    /// VLAN IDs, outermost first, 0 for none.
    pub vlan: [u16; 2],
    /// Source MAC address in the low 48 bits, 0 where the link has none.
    pub source_mac: u64,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number field, whether or not ACK is set.
    pub ack: u32,
    /// Flags, see [`tcp_flags`].
    pub flags: u8,
    /// Window, unscaled.
    pub window: u16,
    /// Bytes of TCP options.
    pub options_len: u8,
    /// Offset of the payload in the frame, in bytes.
    pub payload_offset: usize,
    /// Bytes of payload on the wire.
    pub payload_len: u32,
}

impl Segment {
    /// Whether any of `flags` is set.
    #[inline(always)]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Orders the key's endpoints, so that both directions have one key. Separate from the walk
    /// because most segments need no canonical key.
    #[inline(always)]
    pub fn order_endpoints(&mut self) {
        self.endpoint = self.key.canonicalize();
    }

    /// Returns the sequence number of the first payload byte: a SYN consumes one (TCP Fast Open).
    #[inline(always)]
    pub fn payload_seq(&self) -> u32 {
        self.seq.wrapping_add(self.has(tcp_flags::SYN) as u32)
    }
}

/// The tap that a frame was captured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Link layer of its frames.
    pub link: LinkType,
    /// Interface index.
    pub interface: u32,
    /// Whether the frame leaves through the interface.
    pub egress: bool,
    /// Whether VLAN IDs are part of the flow key; only if they are visible in both directions.
    pub vlan_in_key: bool,
    /// Tunnel that carries the frames, see [`crate::tunnel::TunnelTag`].
    pub tunnel: u32,
}

/// Result of the link layer: offset and EtherType of the network header.
pub(crate) struct Network {
    pub(crate) offset: usize,
    pub(crate) ether_type: u16,
    vlan: [u16; 2],
    mac: u64,
}

/// Result of the network layer: offset of the TCP header and end of the datagram.
struct Transport {
    offset: usize,
    /// Offset after the datagram's last byte; Ethernet may pad beyond it.
    end: usize,
    ttl: u8,
    ip_id: u16,
}

/// Returns the offset with its origin hidden from the eBPF verifier.
#[inline(always)]
fn hide_origin<P: Packet>(packet: &P, offset: usize) -> usize {
    packet.black_box(offset as u32) as usize & OFFSET_MASK
}

/// Walks the headers of one frame.
///
/// ```
/// use detector_common::counter::Counter;
/// use detector_common::headers::{LinkType, Tap, tcp_flags, walk};
///
/// let tap = Tap { link: LinkType::Raw, interface: 1, egress: false, vlan_in_key: false, tunnel: 0 };
/// // IPv4 from 10.0.0.1 to 10.0.0.2, then TCP from port 49152 to 443 with SYN.
/// let ip = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
/// let tcp = [0xc0, 0, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 1, 0, 0, 0, 0, 0];
/// let frame = [ip, tcp].concat();
///
/// let segment = walk(&frame.as_slice(), &tap).unwrap();
/// assert_eq!(segment.key.ports, [49152, 443]);
/// assert!(segment.has(tcp_flags::SYN));
/// assert_eq!((segment.payload_offset, segment.payload_len), (40, 0));
///
/// assert_eq!(walk(&&frame[..30], &tap), Err(Counter::TruncatedHeaders));
/// ```
///
/// # Errors
/// The [`Counter`] of the reason why the frame has no TCP segment to process.
#[inline(always)]
pub fn walk<P: Packet>(packet: &P, tap: &Tap) -> Result<Segment, Counter> {
    let mut network = link_layer(packet, tap.link)?;
    network.offset = hide_origin(packet, network.offset);
    network.vlan = network
        .vlan
        .map(|id| packet.black_box(u32::from(id)) as u16);
    let mut key = FlowKey {
        addresses: [Address::default(); 2],
        ports: [0; 2],
        vlan: if tap.vlan_in_key {
            network.vlan
        } else {
            [0; 2]
        },
        interface: tap.interface,
        tunnel: tap.tunnel,
    };
    let mut transport = match network.ether_type {
        ETHERTYPE_IPV4 => ipv4(packet, network.offset, &mut key)?,
        ETHERTYPE_IPV6 => ipv6(packet, network.offset, &mut key)?,
        _ => return Err(Counter::NotIp),
    };
    transport.offset = hide_origin(packet, transport.offset);
    tcp(packet, &network, &transport, key)
}

/// Returns the offset and the EtherType of a frame's network header, behind the tags that are walked.
///
/// # Errors
/// As [`walk`], of a frame without one.
pub fn network_header<P: Packet>(packet: &P, link: LinkType) -> Result<(usize, u16), Counter> {
    let network = link_layer(packet, link)?;
    Ok((network.offset, network.ether_type))
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

/// A PPP protocol number from its first two bytes, and how many of them it takes: one where it was
/// compressed (RFC 1661 §6.5), which shows by its lowest bit.
#[inline(always)]
pub(crate) fn ppp_protocol(first: u16) -> (u16, usize) {
    if first & 0x0100 != 0 {
        (first >> 8, 1)
    } else {
        (first, 2)
    }
}

/// Reads the IPv6 address at `at`.
#[inline(always)]
fn address<const N: usize>(header: &[u8; N], at: usize) -> Address {
    Address::from_halves(be64(header, at), be64(header, at + 8))
}

/// Parses an IPv4 header (RFC 791).
#[inline(always)]
fn ipv4<P: Packet>(packet: &P, offset: usize, key: &mut FlowKey) -> Result<Transport, Counter> {
    let header = packet
        .window::<20>(offset)
        .ok_or(Counter::TruncatedHeaders)?;
    let header_len = usize::from(u8_at(header, 0) & 0x0f) * 4;
    if u8_at(header, 0) >> 4 != 4 || header_len < 20 {
        return Err(Counter::MalformedHeaders);
    }
    if u8_at(header, 9) != PROTOCOL_TCP {
        return Err(Counter::NotTcp);
    }
    if be16(header, 6) & 0x1fff != 0 {
        return Err(Counter::LaterFragment);
    }
    key.addresses = [
        Address::from_ipv4(be32(header, 12)),
        Address::from_ipv4(be32(header, 16)),
    ];
    let total_len = usize::from(be16(header, 2));
    Ok(Transport {
        offset: offset + header_len,
        // BIG TCP and some offloads leave the length zero; the frame's length applies then.
        end: if total_len == 0 {
            packet.frame_len()
        } else {
            offset + total_len
        },
        ttl: u8_at(header, 8),
        ip_id: be16(header, 4),
    })
}

/// Parses an IPv6 header (RFC 8200) and the extension headers before TCP.
#[inline(always)]
fn ipv6<P: Packet>(packet: &P, offset: usize, key: &mut FlowKey) -> Result<Transport, Counter> {
    let header = packet
        .window::<40>(offset)
        .ok_or(Counter::TruncatedHeaders)?;
    if u8_at(header, 0) >> 4 != 6 {
        return Err(Counter::MalformedHeaders);
    }
    key.addresses = [address(header, 8), address(header, 24)];
    let payload_len = usize::from(be16(header, 4));
    let mut transport = Transport {
        offset: offset + 40,
        // A jumbogram (RFC 2675), as BIG TCP makes them, has length zero.
        end: if payload_len == 0 {
            packet.frame_len()
        } else {
            offset + 40 + payload_len
        },
        ttl: u8_at(header, 7),
        ip_id: 0,
    };
    let mut next = u8_at(header, 6);
    for _ in 0..EXTENSIONS_MAX {
        if next == PROTOCOL_TCP {
            return Ok(transport);
        }
        (next, transport.offset) = extension(packet, next, transport.offset)?;
    }
    if next == PROTOCOL_TCP {
        Ok(transport)
    } else {
        Err(Counter::TooManyHeaders)
    }
}

/// Skips one extension header of type `kind`; returns the next header's type and offset.
#[inline(always)]
fn extension<P: Packet>(packet: &P, kind: u8, offset: usize) -> Result<(u8, usize), Counter> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;
    if !matches!(kind, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
        return Err(Counter::NotTcp);
    }
    let header = packet
        .window::<8>(offset)
        .ok_or(Counter::TruncatedHeaders)?;
    if kind == FRAGMENT {
        if be16(header, 2) & 0xfff8 != 0 {
            return Err(Counter::LaterFragment);
        }
        return Ok((u8_at(header, 0), offset + 8));
    }
    Ok((
        u8_at(header, 0),
        offset + (usize::from(u8_at(header, 1)) + 1) * 8,
    ))
}

/// Parses a TCP header (RFC 9293 §3.1).
#[inline(always)]
fn tcp<P: Packet>(
    packet: &P,
    network: &Network,
    ip: &Transport,
    mut key: FlowKey,
) -> Result<Segment, Counter> {
    let header = packet
        .window::<20>(ip.offset)
        .ok_or(Counter::TruncatedHeaders)?;
    let header_len = usize::from(u8_at(header, 12) >> 4) * 4;
    let payload_offset = ip.offset + header_len;
    if header_len < 20 || ip.end < payload_offset {
        return Err(Counter::MalformedHeaders);
    }
    key.ports = [be16(header, 0), be16(header, 2)];
    Ok(Segment {
        key,
        endpoint: 0,
        vlan: network.vlan,
        source_mac: network.mac,
        ttl: ip.ttl,
        ip_id: ip.ip_id,
        seq: be32(header, 4),
        ack: be32(header, 8),
        flags: u8_at(header, 13),
        window: be16(header, 14),
        options_len: (header_len - 20) as u8,
        payload_offset: hide_origin(packet, payload_offset),
        payload_len: (ip.end - payload_offset) as u32,
    })
}
