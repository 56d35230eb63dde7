//! Reordering, duplicates and loss, as networks and recorders make them.

use super::flow::{Flow, Side};
use super::random::Random;
use super::segment::{Segment, flag};

/// Linux's smallest retransmission timeout.
const RTO_NS: u64 = 200_000_000;
/// Connections with this much of a side's data are large transfers.
const LARGE: usize = 40_000;

/// Ranges of adjacent data segments of one side: only within them may order change, so that nothing
/// passes its answer, and nothing passes FIN or RST.
fn runs(flow: &Flow) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, segment) in flow.segments.iter().enumerate() {
        let side = flow.side(segment);
        let joins = |run: &std::ops::Range<usize>| {
            run.end == index
                && flow
                    .segments
                    .get(run.start)
                    .is_some_and(|first| flow.side(first) == side)
        };
        match runs.last_mut() {
            _ if !segment.is_data() => {}
            Some(run) if joins(run) => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs.retain(|run| run.len() > 1);
    runs
}

/// Permutes segments within windows of `window`; times stay where they were.
#[must_use]
pub fn reordered(flow: &Flow, window: usize, random: &mut Random) -> Flow {
    let mut out = flow.clone();
    for run in runs(flow) {
        for start in run.clone().step_by(window.max(2)) {
            let end = (start + window.max(2)).min(run.end);
            let times: Vec<u64> = times(&out.segments, start..end);
            if let Some(part) = out.segments.get_mut(start..end) {
                shuffle(part, random);
                set_times(part, &times);
            }
        }
    }
    out
}

fn times(segments: &[Segment], range: std::ops::Range<usize>) -> Vec<u64> {
    let part = segments.get(range).unwrap_or_default();
    part.iter().map(|segment| segment.time_ns).collect()
}

fn set_times(segments: &mut [Segment], times: &[u64]) {
    for (segment, time) in segments.iter_mut().zip(times) {
        segment.time_ns = *time;
    }
}

fn shuffle(segments: &mut [Segment], random: &mut Random) {
    for last in (1..segments.len()).rev() {
        segments.swap(last, random.below(last + 1));
    }
    // A permutation that changes nothing would test nothing.
    if segments.is_sorted_by_key(|segment| segment.seq) {
        segments.reverse();
    }
}

/// Loses segments before the recorder: seen behind those that followed, a timeout later.
#[must_use]
pub fn lost_before(flow: &Flow, random: &mut Random) -> Flow {
    let mut out = flow.clone();
    for run in runs(flow) {
        // The last has nothing behind it in this run.
        let lost = run.start + random.below(run.len() - 1);
        let Some(part) = out.segments.get_mut(lost..run.end) else {
            continue;
        };
        part.rotate_left(1);
        delay(&mut out.segments, run.end - 1, RTO_NS);
    }
    out
}

/// Loses segments behind the recorder: seen twice, and all that follows is later.
#[must_use]
pub fn lost_behind(flow: &Flow, random: &mut Random) -> Flow {
    let mut out = flow.clone();
    out.segments.clear();
    let mut late = 0;
    let mut unanswered: Option<Segment> = None;
    for segment in &flow.segments {
        if let Some(lost) = unanswered.take_if(|lost| flow.side(lost) != flow.side(segment)) {
            late += RTO_NS;
            let mut again = lost;
            again.time_ns += late;
            again.ip_id = next_id(again.ip_id, 1);
            out.segments.push(again);
        }
        let mut segment = segment.clone();
        if segment.is_data() && unanswered.is_none() && random.one_in(3) {
            unanswered = Some(segment.clone());
        }
        segment.time_ns += late;
        out.segments.push(segment);
    }
    out
}

/// Moves everything from `index` on by `by_ns`.
pub fn delay(segments: &mut [Segment], index: usize, by_ns: u64) {
    for segment in segments.iter_mut().skip(index) {
        segment.time_ns += by_ns;
    }
}

fn next_id(id: u16, by: u16) -> u16 {
    if id == 0 {
        0
    } else {
        id.wrapping_add(by).max(1)
    }
}

/// Duplicates some data segments: right behind the first, or a little later.
#[must_use]
pub fn duplicated(flow: &Flow, random: &mut Random) -> Flow {
    let mut out = flow.clone();
    out.segments.clear();
    for segment in &flow.segments {
        out.segments.push(segment.clone());
        if segment.is_data() && random.one_in(2) {
            let mut again = segment.clone();
            again.time_ns += 1000;
            out.segments.push(again);
        }
    }
    out
}

/// Adds a needless retransmission of data the peer has long acknowledged, after a proper end, and
/// the duplicate ACK that answers it (RFC 9293 §3.10.7.4). Connections without a FIN of both sides
/// stay.
#[must_use]
pub fn late_retransmission(flow: &Flow) -> Flow {
    let mut out = flow.clone();
    let done = |side| {
        flow.segments
            .iter()
            .any(|segment| flow.side(segment) == side && segment.has(flag::FIN))
    };
    let reset = flow.segments.iter().any(|segment| segment.has(flag::RST));
    let last = flow.data_of(Side::Server).last().copied();
    let (Some(again), Some(end)) = (
        last.and_then(|index| flow.segments.get(index)),
        flow.segments.last(),
    ) else {
        return out;
    };
    let answer = flow.last_of(Side::Client, flow.segments.len());
    if reset || !done(Side::Client) || !done(Side::Server) || again.has(flag::FIN) {
        return out;
    }
    let mut again = again.clone();
    again.time_ns = end.time_ns + RTO_NS;
    let answer = answer.map(|last| Segment {
        time_ns: again.time_ns + 40_000,
        seq: last.end(),
        ack: flow
            .next_seq(Side::Server, flow.segments.len())
            .unwrap_or(last.ack),
        flags: flag::ACK,
        payload: Vec::new(),
        ..last.clone()
    });
    out.segments.push(again);
    out.segments.extend(answer);
    out
}

/// Removes frames, as if the recorder missed them: data in the midst of large transfers of a side.
/// `None` without one.
#[must_use]
pub fn missed(flow: &Flow, random: &mut Random) -> Option<Flow> {
    let mut out = flow.clone();
    let mut gone = Vec::new();
    for side in [Side::Client, Side::Server] {
        let data = flow.data_of(side);
        let payload = |index: &usize| flow.segments.get(*index).map_or(0, |s| s.payload.len());
        let total: usize = data.iter().map(payload).sum();
        if total < LARGE || data.len() < 12 {
            continue;
        }
        // Handshake and end stay.
        let middle = data.len() / 3..data.len() * 2 / 3;
        let lost = middle.filter(|_| random.one_in(4));
        gone.extend(lost.filter_map(|place| data.get(place).copied()));
    }
    let mut index = 0;
    out.segments.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
    (!gone.is_empty()).then_some(out)
}

/// Keeps only one side's segments, as a recorder behind asymmetric routing sees it.
#[must_use]
pub fn one_direction(flow: &Flow, side: Side) -> Flow {
    let mut out = flow.clone();
    out.segments.retain(|segment| flow.side(segment) == side);
    out
}
