//! A recording's frames, sorted by connection.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::capture::segment::segment;
use crate::capture::{ETHERNET, Frame, reader};

/// A tap's frames by connection.
pub(super) struct Connections {
    begun: Vec<(u64, Vec<Frame>)>,
}

impl Connections {
    /// Sorts frames by connection; a client's SYN begins one.
    pub(super) fn of(frames: Vec<Frame>) -> Self {
        let mut begun: Vec<(u64, Vec<Frame>)> = Vec::new();
        let mut latest: HashMap<[SocketAddr; 2], usize> = HashMap::new();
        for frame in frames {
            let Some(segment) = segment(&reader::Frame {
                time_ns: frame.time_ns,
                link_type: ETHERNET,
                bytes: &frame.bytes,
            }) else {
                continue;
            };
            let mut tuple = [segment.source, segment.destination];
            tuple.sort_unstable();
            let is_syn = segment.syn && segment.acknowledgement.is_none();
            let known = latest.get(&tuple).copied();
            let at = match known {
                Some(at) if !is_syn => at,
                // A retransmitted SYN begins nothing new.
                Some(at) if begun.get(at).is_some_and(|(_, frames)| frames.len() < 3) => at,
                _ if is_syn => {
                    begun.push((frame.time_ns, Vec::new()));
                    latest.insert(tuple, begun.len() - 1);
                    begun.len() - 1
                }
                _ => continue,
            };
            if let Some((_, frames)) = begun.get_mut(at) {
                frames.push(frame);
            }
        }
        Self { begun }
    }

    /// Returns the frames of connections that began in a span of UNIX time.
    pub(super) fn begun_within(&self, from_ns: u64, to_ns: u64, tap: u32) -> Vec<(u32, Frame)> {
        self.begun
            .iter()
            .filter(|(began, _)| (from_ns..to_ns).contains(began))
            .flat_map(|(_, frames)| frames.iter().cloned())
            .map(|frame| (tap, frame))
            .collect()
    }
}
