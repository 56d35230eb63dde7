//! Fast path: fixed-offset header check, before the tag filter.
//!
//! Nearly all frames of a gateway are TCP without IP options or extension headers. Their fields are
//! read at fixed offsets, with one bounds check for all headers. Other frames take the header walk.

use crate::bytes::{be16, be32, be64, field, u8_at};
use crate::flow::{Address, FlowKey};
use crate::headers::{LinkType, Tap, tcp_flags};
use crate::packet::Packet;
use crate::record::{ALERT, HANDSHAKE};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;
const PROTOCOL_TCP: u8 = 6;
/// Flags of segments that begin or end a connection.
const EVENTFUL: u8 = tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST;

/// A TCP segment without SYN, FIN or RST, as its fixed-offset headers describe it.
pub struct Glance {
    /// Its flow, endpoints in either order.
    pub key: FlowKey,
    /// Its payload in the frame.
    payload: Payload,
}

/// A segment's payload in its frame, in bytes.
struct Payload {
    offset: usize,
    len: usize,
}

/// Maximum bytes of an alert record: TLS 1.2 with HMAC-SHA-384 and all the padding that CBC allows
/// (RFC 5246 §6.2.3.2).
const ALERT_MAX: usize = 5 + 16 + 2 + 48 + 256;

impl Glance {
    /// Returns the offset in the frame of the first byte behind its TCP header.
    #[inline(always)]
    pub const fn payload_offset(&self) -> usize {
        self.payload.offset
    }

    /// Returns the bytes of its payload that are in the frame.
    #[inline]
    pub fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let Payload { offset, len } = self.payload;
        let rest = frame.get(offset..).unwrap_or_default();
        rest.get(..len).unwrap_or(rest)
    }

    /// Whether the segment cannot begin or end a flow: its payload, if any, begins with neither a
    /// handshake nor an alert record. `false` also if that byte cannot be read.
    ///
    /// `is_settled` is asked where the byte lies apart from the headers, in no near cache: of a flow that
    /// is settled, a segment longer than any alert needs no look at it.
    #[inline(always)]
    pub fn is_uneventful<P: Packet>(
        &self,
        packet: &P,
        is_settled: impl FnOnce(&FlowKey) -> bool,
    ) -> bool {
        let Payload { offset, len } = self.payload;
        if len == 0 {
            return true;
        }
        let content_type = match packet.window::<1>(offset) {
            Some([content_type]) => Some(*content_type),
            None if !P::SPLITS_HEADERS => return false,
            None if len > ALERT_MAX && is_settled(&self.key) => return true,
            None => packet.far_byte(offset),
        };
        content_type.is_some_and(|content_type| !matches!(content_type, ALERT | HANDSHAKE))
    }
}

/// Reads a segment's headers at fixed offsets. `None` means that the frame takes the header walk.
#[inline(always)]
pub fn glance<P: Packet>(packet: &P, tap: &Tap) -> Option<Glance> {
    match tap.link {
        LinkType::Ethernet => {
            let ether_type = packet.window::<ETHERNET>(0)?;
            match field(ether_type, 12) {
                [0x08, 0x00] => ipv4::<_, { ETHERNET + IPV4 + TCP }>(packet, tap, ETHERNET),
                [0x86, 0xdd] => ipv6::<_, { ETHERNET + IPV6 + TCP }>(packet, tap, ETHERNET),
                _ => None,
            }
        }
        LinkType::Raw => match u8_at(packet.window::<1>(0)?, 0) >> 4 {
            4 => ipv4::<_, { IPV4 + TCP }>(packet, tap, 0),
            6 => ipv6::<_, { IPV6 + TCP }>(packet, tap, 0),
            _ => None,
        },
        _ => None,
    }
}

#[inline(always)]
fn ipv4<P: Packet, const HEADERS: usize>(packet: &P, tap: &Tap, at: usize) -> Option<Glance> {
    let headers = packet.window::<HEADERS>(0)?;
    let plain = u8_at(headers, at) == 0x45
        && be16(headers, at + 6) & 0x1fff == 0
        && u8_at(headers, at + 9) == PROTOCOL_TCP;
    if !plain {
        return None;
    }
    let total_len = usize::from(be16(headers, at + 2));
    let payload = payload(headers, at + IPV4, at + total_len)?;
    let addresses = [
        Address::from_ipv4(be32(headers, at + 12)),
        Address::from_ipv4(be32(headers, at + 16)),
    ];
    let key = key(packet, tap, headers, addresses, at + IPV4);
    Some(Glance { key, payload })
}

#[inline(always)]
fn ipv6<P: Packet, const HEADERS: usize>(packet: &P, tap: &Tap, at: usize) -> Option<Glance> {
    let headers = packet.window::<HEADERS>(0)?;
    if u8_at(headers, at) >> 4 != 6 || u8_at(headers, at + 6) != PROTOCOL_TCP {
        return None;
    }
    let payload_len = usize::from(be16(headers, at + 4));
    let payload = payload(headers, at + IPV6, at + IPV6 + payload_len)?;
    let address = |at: usize| Address::from_halves(be64(headers, at), be64(headers, at + 8));
    let addresses = [address(at + 8), address(at + 24)];
    let key = key(packet, tap, headers, addresses, at + IPV6);
    Some(Glance { key, payload })
}

/// Returns a segment's payload, with its TCP header at `at` in a datagram up to `end`; `None` if its flags
/// or lengths are for the header walk.
#[inline(always)]
fn payload<const HEADERS: usize>(
    headers: &[u8; HEADERS],
    at: usize,
    end: usize,
) -> Option<Payload> {
    if u8_at(headers, at + 13) & EVENTFUL != 0 {
        return None;
    }
    let header_len = usize::from(u8_at(headers, at + 12) >> 4) * 4;
    let offset = at + header_len;
    if header_len < TCP || offset > end {
        return None;
    }
    let len = end - offset;
    Some(Payload { offset, len })
}

#[inline(always)]
fn key<P: Packet, const HEADERS: usize>(
    packet: &P,
    tap: &Tap,
    headers: &[u8; HEADERS],
    addresses: [Address; 2],
    ports: usize,
) -> FlowKey {
    let vlan = match packet.offloaded_vlan() {
        Some(tag) if tap.vlan_in_key => tag & 0x0fff,
        _ => 0,
    };
    FlowKey {
        addresses,
        ports: [be16(headers, ports), be16(headers, ports + 2)],
        vlan: [vlan, 0],
        interface: tap.interface,
        tunnel: tap.tunnel,
    }
}
