//! Segments after one end was reset, as real stacks send them.
//!
//! The end that was reset goes silent; the other one knows nothing yet, so its segments in flight
//! still comes, and is answered by honest resets of the closed socket (RFC 9293 §3.10.7.1).

use super::flow::{Flow, Side};
use super::segment::{Segment, flag};

/// An initial window (RFC 6928): more isn't sent without an answer.
const IN_FLIGHT_MAX: usize = 14_600;
/// The time that a host takes to answer.
const ANSWER_NS: u64 = 150_000;
/// The first retransmission timeout of a short path.
const RTO_NS: u64 = 220_000_000;

/// The fate of segments that the other end still sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The closed socket answers each segment with a reset.
    Answered,
    /// Something on the way keeps those answers off: the other end retransmits in vain.
    Unanswered,
    /// The injector lets nothing more through.
    Nothing,
}

impl After {
    /// Returns its name for file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unanswered => "unanswered",
            Self::Nothing => "cut-off",
        }
    }
}

/// Returns the segments after `place` when `torn` was reset there, and whether its peer went on with data.
#[must_use]
pub fn of_reset(flow: &Flow, place: usize, torn: Side, after: After) -> (Vec<Segment>, bool) {
    if after == After::Nothing {
        return (Vec::new(), false);
    }
    let flying = in_flight(flow, place, torn);
    let spoke = flying.iter().any(|segment| !segment.payload.is_empty());
    let like = flow.last_of(torn, place);
    let mut out = Vec::new();
    for segment in &flying {
        out.push(segment.clone());
        if after == After::Answered {
            out.extend(like.map(|like| honest_answer(segment, like)));
        }
    }
    let unanswered = flying.iter().find(|segment| !segment.payload.is_empty());
    let again = match (after, unanswered) {
        (After::Unanswered, Some(first)) => retransmissions(first, last_time(&flying), 4),
        // Data that it had sent before, which are not acknowledged any more.
        (_, None) => unacknowledged(flow, place, torn)
            .map(|first| {
                let times = if after == After::Answered { 1 } else { 4 };
                retransmissions(first, first.time_ns, times)
            })
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let spoke = spoke || !again.is_empty();
    for segment in again {
        let answer = like.map(|like| honest_answer(&segment, like));
        out.push(segment);
        out.extend(answer.filter(|_| after == After::Answered));
    }
    (out, spoke)
}

/// Returns the segments that the peer of `torn` sends without hearing from it again.
fn in_flight(flow: &Flow, place: usize, torn: Side) -> Vec<Segment> {
    let mut bytes = 0;
    let mut flying = Vec::new();
    for segment in flow.segments.iter().skip(place + 1) {
        if flow.side(segment) == torn {
            // All behind it may be an answer to it.
            if !segment.is_empty() || segment.has(flag::RST) {
                break;
            }
            continue;
        }
        bytes += segment.payload.len();
        if bytes > IN_FLIGHT_MAX || segment.has(flag::RST) {
            break;
        }
        flying.push(segment.clone());
    }
    flying
}

/// Returns the peer's oldest data that `torn` hadn't acknowledged at `place`.
fn unacknowledged(flow: &Flow, place: usize, torn: Side) -> Option<&Segment> {
    let known = flow.segments.get(..=place)?;
    let acked = known
        .iter()
        .rfind(|segment| flow.side(segment) == torn && segment.has(flag::ACK))?
        .ack;
    known.iter().find(|segment| {
        flow.side(segment) != torn
            && !segment.payload.is_empty()
            && segment.end().wrapping_sub(acked) as i32 > 0
    })
}

fn last_time(segments: &[Segment]) -> u64 {
    segments.last().map_or(0, |segment| segment.time_ns)
}

fn retransmissions(first: &Segment, since_ns: u64, times: u32) -> Vec<Segment> {
    let again = (0..times).map(|time| {
        let mut again = first.clone();
        // The timeout doubles (RFC 6298 §5.5).
        again.time_ns = since_ns + RTO_NS * ((2 << time) - 1);
        if again.ip_id != 0 {
            again.ip_id = again.ip_id.wrapping_add(40 + time as u16).max(1);
        }
        again.payload.truncate(super::segmentation::WIRE_PAYLOAD);
        again
    });
    again.collect()
}

/// Returns a closed socket's answer (RFC 9293 §3.10.7.1): its sequence number is the one that the
/// segment acknowledged, without ACK; to a segment without ACK it is zero, with it. Linux sends IP
/// ID 0 and no window.
#[must_use]
pub fn honest_answer(to: &Segment, like: &Segment) -> Segment {
    let (seq, ack, flags) = if to.has(flag::ACK) {
        (to.ack, 0, flag::RST)
    } else {
        (0, to.end(), flag::RST | flag::ACK)
    };
    Segment {
        time_ns: to.time_ns + ANSWER_NS,
        seq,
        ack,
        flags,
        window: 0,
        ip_id: 0,
        dont_fragment: true,
        options: Vec::new(),
        payload: Vec::new(),
        ..like.clone()
    }
}
