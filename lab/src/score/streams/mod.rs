//! Numbers TCP connections as Wireshark's `tcp.stream` does.
//!
//! A connection is a pair of endpoints. The pair gets a new number when a SYN comes whose sequence
//! number isn't the one that this side began with (Wireshark 4.0, `packet-tcp.c`; later versions
//! also where the number is the same but a FIN or RST came before). VLAN tags and interfaces don't
//! tell connections apart there.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use crate::capture::reader;
use crate::capture::segment::{Segment, segment};

/// One connection of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The first segment's sender and receiver.
    pub ends: (SocketAddr, SocketAddr),
    /// UNIX time of the first segment in nanoseconds.
    pub first_ns: u64,
    /// UNIX time of the last segment.
    pub last_ns: u64,
    /// Whether somebody, or something in somebody's name, reset it.
    pub was_reset: bool,
}

/// All connections of a capture, by number, and the reason if it was not read to the end.
#[derive(Debug, Default)]
pub struct Streams {
    /// By Wireshark's `tcp.stream`.
    pub all: Vec<Stream>,
    /// The latest connection between two endpoints.
    current: HashMap<(SocketAddr, SocketAddr), Numbering>,
}

/// The numbers that decide whether a SYN begins another connection.
#[derive(Debug)]
struct Numbering {
    stream: usize,
    /// Initial sequence number of the lesser endpoint, then of the greater.
    base: [Option<u32>; 2],
}

impl Streams {
    /// Reads a capture, up to the damage if it is damaged.
    ///
    /// # Errors
    /// Beside what could be read: why not all could.
    pub fn read(path: &Path) -> (Self, anyhow::Result<()>) {
        let mut streams = Self::default();
        let result = reader::for_each(path, |frame| {
            if let Some(segment) = segment(&frame) {
                streams.see(&segment, frame.time_ns);
            }
        });
        (streams, result)
    }

    /// Takes the next segment in and returns its stream's number.
    pub fn see(&mut self, segment: &Segment, time_ns: u64) -> usize {
        let forward = segment.source <= segment.destination;
        let (key, side) = if forward {
            ((segment.source, segment.destination), 0)
        } else {
            ((segment.destination, segment.source), 1)
        };
        let begins = segment.syn && segment.acknowledgement.is_none();
        let known = self.current.get(&key).filter(|numbering| {
            let base = numbering.base.get(side).copied().flatten();
            let again = base.is_some_and(|base| base != segment.sequence);
            !(begins && again)
        });
        let stream = known.map_or(self.all.len(), |numbering| numbering.stream);
        if stream == self.all.len() {
            self.all.push(Stream {
                ends: (segment.source, segment.destination),
                first_ns: time_ns,
                last_ns: time_ns,
                was_reset: false,
            });
            let fresh = Numbering {
                stream,
                base: [None; 2],
            };
            self.current.insert(key, fresh);
        }
        if let Some(numbering) = self.current.get_mut(&key) {
            numbering.follow(segment, side);
        }
        if let Some(one) = self.all.get_mut(stream) {
            one.first_ns = one.first_ns.min(time_ns);
            one.last_ns = one.last_ns.max(time_ns);
            one.was_reset |= segment.rst;
        }
        stream
    }

    /// Finds the connection between two endpoints at a time: the latest that had begun.
    #[must_use]
    pub fn at(&self, one: SocketAddr, other: SocketAddr, time_ns: u64) -> Option<usize> {
        let between = self
            .all
            .iter()
            .enumerate()
            .filter(|(_, stream)| stream.ends == (one, other) || stream.ends == (other, one));
        let mut begun = None;
        let mut first = None;
        for (number, stream) in between {
            first = first.or(Some(number));
            if stream.first_ns <= time_ns {
                begun = Some(number);
            }
        }
        begun.or(first)
    }
}

impl Numbering {
    fn follow(&mut self, segment: &Segment, side: usize) {
        // Without a SYN, the byte before the first that was seen counts as the initial one.
        let own = if segment.syn {
            segment.sequence
        } else {
            segment.sequence.wrapping_sub(1)
        };
        if let Some(base) = self.base.get_mut(side) {
            base.get_or_insert(own);
        }
        if let Some(acknowledged) = segment.acknowledgement
            && let Some(base) = self.base.get_mut(1 - side)
        {
            base.get_or_insert(acknowledged.wrapping_sub(1));
        }
    }
}

#[cfg(test)]
mod tests;
