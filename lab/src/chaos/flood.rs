//! Floods: the packets of each, by their number.

use std::net::Ipv4Addr;

use etherparse::{PacketBuilder, TcpHeader};

use super::site::{ATTACKER, SINK};
use crate::rewrite::random::Random;

/// A kind of flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// SYNs from random addresses.
    Syns,
    /// ClientHellos from random addresses.
    Hellos,
    /// Resets with random sequence numbers from random addresses.
    Resets,
    /// Alerts of connections that nobody opened.
    Alerts,
    /// ClientHellos in segments of one byte.
    TinySegments,
    /// Segments that overlap those before, with other bytes.
    Overlaps,
    /// Handshakes of one sender that go on and on.
    EndlessHandshakes,
    /// One sender that asks for 65,535 names and refuses each certificate.
    Names,
    /// One client that opens connections with its system's TCP.
    Connections,
}

impl Flood {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Syns,
        Self::Hellos,
        Self::Resets,
        Self::Alerts,
        Self::TinySegments,
        Self::Overlaps,
        Self::EndlessHandshakes,
        Self::Names,
        Self::Connections,
    ];

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syns => "SYNs, random addresses",
            Self::Hellos => "ClientHellos, random addresses",
            Self::Resets => "resets, random numbers",
            Self::Alerts => "alerts without a handshake",
            Self::TinySegments => "segments of one byte",
            Self::Overlaps => "overlaps that contradict",
            Self::EndlessHandshakes => "endless handshakes of one sender",
            Self::Names => "65,535 names of one sender",
            Self::Connections => "connections of one client",
        }
    }
}

/// Makes a flood's packets.
pub(super) struct Packets {
    flood: Flood,
    random: Random,
    number: u64,
    hello: Vec<u8>,
}

/// Bytes of a record in an endless handshake.
const RECORD: usize = 1400;
/// Segments of a handshake until the next begins: the engine reads 16 KiB of a side.
const SEGMENTS: u64 = 12;

impl Packets {
    pub(super) fn new(flood: Flood) -> Self {
        Self {
            flood,
            random: Random::named(flood.name()),
            number: 0,
            hello: client_hello("flood.test"),
        }
    }

    /// Returns the next packet, with its IPv4 header.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let number = self.number;
        self.number += 1;
        let anyone = self.random.u32().to_be_bytes();
        // Neither multicast nor loopback, which the gateway would not forward.
        let anyone = [11 + anyone[0] % 100, anyone[1], anyone[2], anyone[3]];
        let port = self.random.u16() | 1024;
        let seq = self.random.u32();
        match self.flood {
            Flood::Syns => packet(anyone, port, seq, &[], |tcp| {
                tcp.syn = true;
                tcp.ack = false;
            }),
            Flood::Hellos => packet(anyone, port, seq, &self.hello, |_| {}),
            Flood::Resets => packet(anyone, port, seq, &[], |tcp| tcp.rst = true),
            Flood::Alerts => packet(anyone, port, seq, &[21, 3, 3, 0, 2, 2, 48], |_| {}),
            Flood::TinySegments => {
                let len = self.hello.len() as u64;
                let (flow, at) = (number / len, number % len);
                let byte = &self.hello[at as usize..=at as usize];
                packet(ATTACKER, port_of(flow), 1000 + at as u32, byte, |_| {})
            }
            Flood::Overlaps => {
                let (flow, step) = (number / 4, number % 4);
                let mut bytes = self.hello.clone();
                let back = [0, 0, 40, 200][step as usize];
                if step > 0 {
                    bytes = self.random.bytes(bytes.len());
                    bytes[..5].copy_from_slice(&[22, 3, 3, 1, 0]);
                }
                let seq = 1000 + (self.hello.len() as u32) * u32::from(step > 1) - back;
                packet(ATTACKER, port_of(flow), seq, &bytes, |_| {})
            }
            Flood::EndlessHandshakes => {
                let (flow, step) = (number / SEGMENTS, number % SEGMENTS);
                let record = record(22, &[11; RECORD]);
                let (seq, bytes) = match step {
                    0 => (1000, &self.hello),
                    _ => {
                        let before = self.hello.len() + (step as usize - 1) * record.len();
                        (1000 + before as u32, &record)
                    }
                };
                packet(ATTACKER, port_of(flow), seq, bytes, |_| {})
            }
            Flood::Names => {
                let (flow, step) = (number / 2, number % 2);
                let hello = client_hello(&format!("n{}.names.test", flow % 65_535));
                let alert = [21, 3, 3, 0, 2, 2, 48];
                let end = 1000 + hello.len() as u32;
                match step {
                    0 => packet(ATTACKER, port_of(flow), 1000, &hello, |_| {}),
                    _ => packet(ATTACKER, port_of(flow), end, &alert, |tcp| tcp.fin = true),
                }
            }
            // These are its system's; see `sender`.
            Flood::Connections => Vec::new(),
        }
    }
}

fn port_of(flow: u64) -> u16 {
    1024 + (flow % 64_000) as u16
}

fn packet(
    source: [u8; 4],
    port: u16,
    seq: u32,
    payload: &[u8],
    change: impl FnOnce(&mut TcpHeader),
) -> Vec<u8> {
    let mut tcp = TcpHeader::new(port, 443, seq, 502);
    tcp.ack = true;
    tcp.acknowledgment_number = 77;
    change(&mut tcp);
    let step = PacketBuilder::ipv4(source, SINK, 64).tcp_header(tcp);
    let mut packet = Vec::with_capacity(step.size(payload.len()));
    // Writing to memory does not fail.
    let _ = step.write(&mut packet, payload);
    packet
}

/// Returns the address that floods go to.
pub(super) fn sink() -> Ipv4Addr {
    Ipv4Addr::from(SINK)
}

fn record(content_type: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = (body.len() as u16).to_be_bytes();
    [&[content_type, 3, 3, high, low][..], body].concat()
}

/// Returns a ClientHello of some 500 bytes.
pub(super) fn client_hello(name: &str) -> Vec<u8> {
    let len = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
    let name = name.as_bytes();
    let entry = [&[0][..], &len(name), name].concat();
    let list = [&len(&entry)[..], &entry].concat();
    let mut extensions = [&[0, 0][..], &len(&list), &list].concat();
    extensions.extend([0, 43, 0, 5, 4, 3, 4, 3, 3]);
    let padding = vec![0; 400_usize.saturating_sub(extensions.len())];
    extensions.extend([&[0, 21][..], &len(&padding), &padding].concat());
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 4, 0x13, 0x01, 0xc0, 0x2f, 1, 0],
        &len(&extensions),
        &extensions,
    ]
    .concat();
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    record(22, &[&[1, a, b, c][..], &body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flood_has_packets_that_pass_a_router() {
        for flood in Flood::ALL {
            let mut packets = Packets::new(flood);
            for number in 0..1_000 {
                let packet = packets.next();
                if flood == Flood::Connections {
                    assert!(packet.is_empty());
                    continue;
                }
                let parsed = etherparse::PacketHeaders::from_ip_slice(&packet).unwrap();
                assert!(parsed.transport.is_some(), "{} {number}", flood.name());
                assert!(packet.len() <= 1500);
            }
        }
    }
}
