//! A capture split into its TCP connections, and put together again.

use std::net::IpAddr;

use super::segment::{Segment, flag};
use crate::capture::Frame;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that opened it.
    Client,
    /// The end that it was opened to.
    Server,
}

impl Side {
    /// Returns the other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// Returns it as labels write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// One TCP connection, in the order its segments were captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Address and port of the side that opened it.
    pub client: (IpAddr, u16),
    /// Address and port of the other.
    pub server: (IpAddr, u16),
    /// Its segments.
    pub segments: Vec<Segment>,
}

impl Flow {
    /// Returns the side that sent a segment of this connection.
    #[must_use]
    pub fn side(&self, segment: &Segment) -> Side {
        if (segment.source, segment.source_port) == self.client {
            Side::Client
        } else {
            Side::Server
        }
    }

    /// Indices of a side's segments with payload.
    #[must_use]
    pub fn data_of(&self, side: Side) -> Vec<usize> {
        let of_side = |(index, segment): (usize, &Segment)| {
            (self.side(segment) == side && !segment.payload.is_empty()).then_some(index)
        };
        self.segments
            .iter()
            .enumerate()
            .filter_map(of_side)
            .collect()
    }

    /// Returns the sequence number after all a side has sent up to and with segment `upto`.
    #[must_use]
    pub fn next_seq(&self, side: Side, upto: usize) -> Option<u32> {
        let sent = self.segments.iter().take(upto + 1);
        sent.filter(|segment| self.side(segment) == side && !segment.has(flag::RST))
            .map(Segment::end)
            .reduce(|highest, end| {
                if end.wrapping_sub(highest) as i32 > 0 {
                    end
                } else {
                    highest
                }
            })
    }

    /// Returns a side's last segment up to and with `upto`.
    #[must_use]
    pub fn last_of(&self, side: Side, upto: usize) -> Option<&Segment> {
        let sent = self.segments.iter().take(upto + 1);
        sent.rev().find(|segment| self.side(segment) == side)
    }

    /// Whether it was seen from its beginning and carries TLS.
    #[must_use]
    pub fn is_whole_tls(&self) -> bool {
        let opened = |side| {
            self.segments
                .iter()
                .any(|segment| self.side(segment) == side && segment.has(flag::SYN))
        };
        let first = self.data_of(Side::Client).first().copied();
        let hello = first.and_then(|index| self.segments.get(index));
        opened(Side::Client)
            && opened(Side::Server)
            && hello.is_some_and(|hello| hello.payload.starts_with(&[22, 3]))
    }

    /// Makes times ascend where a rewrite put segments closer than they were.
    pub fn order_times(&mut self) {
        let mut latest = 0;
        for segment in &mut self.segments {
            segment.time_ns = segment.time_ns.max(latest);
            latest = segment.time_ns + 1000;
        }
    }
}

/// A capture taken apart.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    /// Its TCP connections, in the order of their first segments.
    pub flows: Vec<Flow>,
    /// Frames that aren't TCP or can't be parsed.
    pub others: Vec<Frame>,
}

impl Flows {
    /// Takes Ethernet frames apart.
    #[must_use]
    pub fn of(frames: &[Frame]) -> Self {
        let mut all = Self::default();
        for frame in frames {
            match Segment::parse(frame) {
                Some(segment) => all.add(segment),
                None => all.others.push(frame.clone()),
            }
        }
        all
    }

    fn add(&mut self, segment: Segment) {
        let source = (segment.source, segment.source_port);
        let destination = (segment.destination, segment.destination_port);
        let opens = segment.has(flag::SYN) && !segment.has(flag::ACK);
        let known = self.flows.iter_mut().rev().find(|flow| {
            [(source, destination), (destination, source)].contains(&(flow.client, flow.server))
        });
        match known {
            Some(flow) if !opens || !is_over(flow) => flow.segments.push(segment),
            _ => {
                // Without its SYN, the well-known port tells the server.
                let from_server = segment.has(flag::SYN) && segment.has(flag::ACK)
                    || !opens && source.1 < destination.1;
                let (client, server) = if from_server {
                    (destination, source)
                } else {
                    (source, destination)
                };
                self.flows.push(Flow {
                    client,
                    server,
                    segments: vec![segment],
                });
            }
        }
    }

    /// Returns all frames by time, with new checksums.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        let segments = self.flows.iter().flat_map(|flow| &flow.segments);
        let mut frames: Vec<Frame> = segments.map(Segment::frame).collect();
        frames.extend(self.others.iter().cloned());
        frames.sort_by_key(|frame| frame.time_ns);
        frames
    }

    /// Rewrites each connection; what isn't TCP stays.
    #[must_use]
    pub fn map(&self, mut rewrite: impl FnMut(&Flow) -> Flow) -> Self {
        let rewritten = self.flows.iter().map(|flow| {
            let mut flow = rewrite(flow);
            flow.order_times();
            flow
        });
        Self {
            flows: rewritten.collect(),
            others: self.others.clone(),
        }
    }

    /// Keeps one connection alone.
    #[must_use]
    pub fn only(flow: Flow) -> Self {
        let mut flow = flow;
        flow.order_times();
        Self {
            flows: vec![flow],
            others: Vec::new(),
        }
    }
}

fn is_over(flow: &Flow) -> bool {
    flow.segments
        .iter()
        .any(|segment| segment.has(flag::FIN | flag::RST))
}
