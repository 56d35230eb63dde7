//! Header walk: from a frame's first byte to its TCP payload.
//!
//! Ethernet II (also 802.1Q and 802.1ad tags, PPPoE sessions), Linux cooked v1 and v2, BSD
//! loopback, raw IP; IPv4 with options, IPv6 with extension headers; TCP with options.

mod ip;
mod link;

use crate::bytes::{be16, be32, u8_at};
use crate::counter::Counter;
use crate::flow::{Address, FlowKey};
use crate::packet::Packet;
use ip::{EXTENSIONS_MAX, Transport, ipv4, ipv6};
use link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Network, TAGS_MAX};

pub use link::LinkType;
pub(crate) use link::{link_layer, ppp_protocol};

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
