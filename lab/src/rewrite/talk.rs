//! Made-up TCP conversations.

use std::net::{IpAddr, Ipv4Addr};

use super::flow::{Flow, Side};
use super::injector::other_mac;
use super::random::Random;
use super::segment::{Segment, flag};
use super::segmentation::WIRE_PAYLOAD;

/// The time of made-up conversations: 2026-01-01T00:00:00Z.
pub const START_NS: u64 = 1_767_225_600_000_000_000;

/// A conversation being written.
#[derive(Clone, Debug)]
pub struct Talk {
    flow: Flow,
    time_ns: u64,
    next: [u32; 2],
    ttls: [u8; 2],
    ids: [u16; 2],
    macs: [[u8; 6]; 2],
}

impl Talk {
    /// Begins a talk between made-up hosts; nothing is said yet.
    #[must_use]
    pub fn new(port: u16, random: &mut Random) -> Self {
        let mut byte = || random.between(1, 254) as u8;
        let client = Ipv4Addr::new(10, byte(), byte(), byte());
        let server = Ipv4Addr::new(93, byte(), byte(), byte());
        Self {
            flow: Flow {
                client: (IpAddr::V4(client), random.between(20_000, 60_000) as u16),
                server: (IpAddr::V4(server), port),
                segments: Vec::new(),
            },
            time_ns: START_NS + random.between(0, 1_000_000_000),
            next: [random.u32(), random.u32()],
            ttls: [64, random.between(45, 58) as u8],
            ids: [random.u16(), random.u16()],
            macs: [other_mac(random), other_mac(random)],
        }
    }

    /// Sends one segment.
    pub fn send(&mut self, side: Side, flags: u8, payload: &[u8]) {
        let (own, other) = match side {
            Side::Client => (0, 1),
            Side::Server => (1, 0),
        };
        let ends = [self.flow.client, self.flow.server];
        self.time_ns += if side == Side::Server {
            18_000_000
        } else {
            400_000
        };
        self.ids[own] = self.ids[own].wrapping_add(1).max(1);
        let segment = Segment {
            time_ns: self.time_ns,
            macs: [self.macs[other], self.macs[own]],
            source: ends[own].0,
            destination: ends[other].0,
            ttl: self.ttls[own],
            ip_id: self.ids[own],
            dont_fragment: true,
            traffic_class: 0,
            source_port: ends[own].1,
            destination_port: ends[other].1,
            seq: self.next[own],
            ack: if flags & flag::ACK == 0 {
                0
            } else {
                self.next[other]
            },
            flags,
            window: if flags & flag::RST == 0 { 502 } else { 0 },
            options: if flags & flag::SYN == 0 {
                Vec::new()
            } else {
                vec![2, 4, 5, 180]
            },
            payload: payload.to_vec(),
        };
        self.next[own] = segment.end();
        self.flow.segments.push(segment);
    }

    /// Adds the three-way handshake.
    #[must_use]
    pub fn opened(mut self) -> Self {
        self.send(Side::Client, flag::SYN, &[]);
        self.send(Side::Server, flag::SYN | flag::ACK, &[]);
        self.send(Side::Client, flag::ACK, &[]);
        self
    }

    /// Adds payload, in full segments, and its acknowledgment.
    #[must_use]
    pub fn says(mut self, side: Side, payload: &[u8]) -> Self {
        for piece in payload.chunks(WIRE_PAYLOAD) {
            self.send(side, flag::ACK | flag::PSH, piece);
        }
        self.send(side.other(), flag::ACK, &[]);
        self
    }

    /// Adds a reset.
    #[must_use]
    pub fn reset(mut self, side: Side, flags: u8) -> Self {
        self.send(side, flag::RST | flags, &[]);
        self
    }

    /// Closes both sides, this one first.
    #[must_use]
    pub fn closed(mut self, side: Side) -> Self {
        self.send(side, flag::FIN | flag::ACK, &[]);
        self.send(side.other(), flag::FIN | flag::ACK, &[]);
        self.send(side, flag::ACK, &[]);
        self
    }

    /// Returns the conversation.
    #[must_use]
    pub fn flow(self) -> Flow {
        let mut flow = self.flow;
        flow.order_times();
        flow
    }
}
