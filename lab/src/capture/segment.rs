//! Walks a frame's headers down to TCP.

use std::net::{IpAddr, SocketAddr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::reader::Frame;

/// EtherTypes of tags: 802.1Q, 802.1ad and its forerunner.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const PPPOE_SESSION: u16 = 0x8864;

/// The fields of a TCP segment that streams are numbered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its sender.
    pub source: SocketAddr,
    /// Its receiver.
    pub destination: SocketAddr,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number, where the ACK flag is set.
    pub acknowledgement: Option<u32>,
    /// SYN flag.
    pub syn: bool,
    /// RST flag.
    pub rst: bool,
}

/// Returns the TCP segment in a frame, if there is one.
#[must_use]
pub fn segment(frame: &Frame<'_>) -> Option<Segment> {
    segment_with_payload(frame).map(|(segment, _)| segment)
}

/// Returns the TCP segment in a frame, if there is one, and its payload as far as it was captured.
#[must_use]
pub fn segment_with_payload<'a>(frame: &Frame<'a>) -> Option<(Segment, &'a [u8])> {
    let packet = LaxSlicedPacket::from_ip(ip_packet(frame)?).ok()?;
    let (source, destination): (IpAddr, IpAddr) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        LaxNetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        LaxNetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
        return None;
    };
    let segment = Segment {
        source: SocketAddr::new(source, tcp.source_port()),
        destination: SocketAddr::new(destination, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        acknowledgement: tcp.ack().then(|| tcp.acknowledgment_number()),
        syn: tcp.syn(),
        rst: tcp.rst(),
    };
    Some((segment, tcp.payload()))
}

/// Returns the IP packet in a frame, by its link type (<https://www.tcpdump.org/linktypes.html>).
fn ip_packet<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    let bytes = frame.bytes;
    match frame.link_type {
        0 | 108 => bytes.get(4..),
        1 => by_ethertype(u16_at(bytes, 12)?, bytes.get(14..)?),
        9 => ppp(bytes),
        12 | 14 | 101 | 228 | 229 => Some(bytes),
        51 => ppp(bytes.get(6..)?),
        113 => by_ethertype(u16_at(bytes, 14)?, bytes.get(16..)?),
        276 => by_ethertype(u16_at(bytes, 0)?, bytes.get(20..)?),
        _ => None,
    }
}

fn by_ethertype(mut ethertype: u16, mut rest: &[u8]) -> Option<&[u8]> {
    while TAGS.contains(&ethertype) {
        ethertype = u16_at(rest, 2)?;
        rest = rest.get(4..)?;
    }
    match ethertype {
        0x0800 | 0x86dd => Some(rest),
        PPPOE_SESSION => ppp(rest.get(6..)?),
        _ => None,
    }
}

/// Parses PPP (RFC 1661): HDLC's address and control, if there, then the protocol.
fn ppp(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_prefix(&[0xff, 0x03]).unwrap_or(bytes);
    match u16_at(bytes, 0)? {
        0x0021 | 0x0057 => bytes.get(2..),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let two = bytes.get(offset..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*two))
}
