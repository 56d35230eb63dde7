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

/// Returns the flow key, endpoints in either order, of a segment that cannot begin or end a flow:
/// TCP without SYN, FIN or RST whose payload, if any, begins with neither a handshake nor an alert record.
/// `None` means that the frame takes the header walk.
#[inline(always)]
pub fn flow_key<P: Packet>(packet: &P, tap: &Tap) -> Option<FlowKey> {
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
fn ipv4<P: Packet, const HEADERS: usize>(packet: &P, tap: &Tap, at: usize) -> Option<FlowKey> {
    let headers = packet.window::<HEADERS>(0)?;
    let plain = u8_at(headers, at) == 0x45
        && be16(headers, at + 6) & 0x1fff == 0
        && u8_at(headers, at + 9) == PROTOCOL_TCP;
    if !plain {
        return None;
    }
    let total_len = usize::from(be16(headers, at + 2));
    check_uneventful(packet, headers, at + IPV4, at + total_len)?;
    let addresses = [
        Address::from_ipv4(be32(headers, at + 12)),
        Address::from_ipv4(be32(headers, at + 16)),
    ];
    Some(key(packet, tap, headers, addresses, at + IPV4))
}

#[inline(always)]
fn ipv6<P: Packet, const HEADERS: usize>(packet: &P, tap: &Tap, at: usize) -> Option<FlowKey> {
    let headers = packet.window::<HEADERS>(0)?;
    if u8_at(headers, at) >> 4 != 6 || u8_at(headers, at + 6) != PROTOCOL_TCP {
        return None;
    }
    let payload_len = usize::from(be16(headers, at + 4));
    check_uneventful(packet, headers, at + IPV6, at + IPV6 + payload_len)?;
    let address = |at: usize| Address::from_halves(be64(headers, at), be64(headers, at + 8));
    let addresses = [address(at + 8), address(at + 24)];
    Some(key(packet, tap, headers, addresses, at + IPV6))
}

/// Returns `Some` if the segment, with its TCP header at `at` in a datagram up to `end`, cannot begin
/// or end a flow.
#[inline(always)]
fn check_uneventful<P: Packet, const HEADERS: usize>(
    packet: &P,
    headers: &[u8; HEADERS],
    at: usize,
    end: usize,
) -> Option<()> {
    if u8_at(headers, at + 13) & EVENTFUL != 0 {
        return None;
    }
    let header_len = usize::from(u8_at(headers, at + 12) >> 4) * 4;
    let payload = at + header_len;
    if header_len < TCP || payload > end {
        return None;
    }
    if payload < end {
        let content_type = u8_at(packet.window::<1>(payload)?, 0);
        if matches!(content_type, ALERT | HANDSHAKE) {
            return None;
        }
    }
    Some(())
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
