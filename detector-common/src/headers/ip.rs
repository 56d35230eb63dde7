//! Network layer: IPv4 with options, IPv6 with extension headers.

use crate::bytes::{be16, be32, be64, u8_at};
use crate::counter::Counter;
use crate::flow::{Address, FlowKey};
use crate::packet::Packet;

const PROTOCOL_TCP: u8 = 6;
/// IPv6 extension headers walked.
pub(super) const EXTENSIONS_MAX: usize = 6;

/// Result of the network layer: offset of the TCP header and end of the datagram.
pub(super) struct Transport {
    pub(super) offset: usize,
    /// Offset after the datagram's last byte; Ethernet may pad beyond it.
    pub(super) end: usize,
    pub(super) ttl: u8,
    pub(super) ip_id: u16,
}

/// Reads the IPv6 address at `at`.
#[inline(always)]
fn address<const N: usize>(header: &[u8; N], at: usize) -> Address {
    Address::from_halves(be64(header, at), be64(header, at + 8))
}

/// Parses an IPv4 header (RFC 791).
#[inline(always)]
pub(super) fn ipv4<P: Packet>(
    packet: &P,
    offset: usize,
    key: &mut FlowKey,
) -> Result<Transport, Counter> {
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
pub(super) fn ipv6<P: Packet>(
    packet: &P,
    offset: usize,
    key: &mut FlowKey,
) -> Result<Transport, Counter> {
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
