//! The same bytes in other segments: as slow links, segmentation offload and receive offload cut them.

use super::flow::{Flow, Side};
use super::random::Random;
use super::segment::{PAYLOAD_MAX, Segment, flag};

/// The payload of a full Ethernet segment with timestamps.
pub const WIRE_PAYLOAD: usize = 1448;

/// Cuts every payload into pieces whose lengths `size` gives. FIN and PSH stay on the last piece.
#[must_use]
pub fn cut(flow: &Flow, mut size: impl FnMut() -> usize) -> Flow {
    let mut out = flow.clone();
    out.segments.clear();
    let mut added = [0_u16; 2];
    for segment in &flow.segments {
        let side = usize::from(flow.side(segment) == Side::Server);
        let pieces = pieces(segment, &mut size);
        let more = pieces.len().saturating_sub(1) as u16;
        for (index, mut piece) in pieces.into_iter().enumerate() {
            // Closed sockets and some stacks always send zero.
            if piece.ip_id != 0 {
                let id = added.get(side).copied().unwrap_or(0);
                piece.ip_id = piece
                    .ip_id
                    .wrapping_add(id)
                    .wrapping_add(index as u16)
                    .max(1);
            }
            out.segments.push(piece);
        }
        if let Some(added) = added.get_mut(side) {
            *added = added.wrapping_add(more);
        }
    }
    out
}

fn pieces(segment: &Segment, size: &mut impl FnMut() -> usize) -> Vec<Segment> {
    let mut pieces = Vec::new();
    let mut rest = &segment.payload[..];
    let mut seq = segment.seq;
    loop {
        let (payload, after) = rest.split_at(size().clamp(1, rest.len().max(1)).min(rest.len()));
        let last = after.is_empty();
        let mut piece = segment.clone();
        piece.time_ns += pieces.len() as u64 * 1000;
        piece.payload = payload.to_vec();
        piece.seq = seq;
        if !last {
            piece.flags &= !(flag::FIN | flag::PSH);
        }
        // Only the first has SYN, which takes the number before the payload (TCP Fast Open).
        if !pieces.is_empty() {
            piece.flags &= !flag::SYN;
        }
        seq = seq.wrapping_add(payload.len() as u32 + u32::from(piece.has(flag::SYN)));
        pieces.push(piece);
        if last {
            return pieces;
        }
        rest = after;
    }
}

/// Cuts it as a wire without offloads carries it.
#[must_use]
pub fn as_on_the_wire(flow: &Flow) -> Flow {
    let mut flow = cut(flow, || WIRE_PAYLOAD);
    flow.order_times();
    flow
}

/// Pieces of one to seven bytes.
#[must_use]
pub fn tiny(flow: &Flow, random: &mut Random) -> Flow {
    cut(flow, || random.between(1, 7) as usize)
}

/// Merges adjacent segments in order, as receive offload does, up to 64 KB.
#[must_use]
pub fn coalesced(flow: &Flow) -> Flow {
    let mut out = flow.clone();
    out.segments.clear();
    for segment in &flow.segments {
        match out.segments.last_mut() {
            Some(last) if joins(last, segment) => {
                last.payload.extend(&segment.payload);
                last.flags |= segment.flags & (flag::PSH | flag::FIN);
                last.ack = segment.ack;
                last.window = segment.window;
            }
            _ => out.segments.push(segment.clone()),
        }
    }
    out
}

fn joins(last: &Segment, next: &Segment) -> bool {
    let same_sender = (last.source, last.source_port) == (next.source, next.source_port);
    same_sender
        && last.is_data()
        && !next.payload.is_empty()
        && !next.has(flag::SYN | flag::RST)
        && last.end() == next.seq
        && last.payload.len() + next.payload.len() <= PAYLOAD_MAX
}
