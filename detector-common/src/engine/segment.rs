//! One segment of a watched flow: measure it, track its records, send the observations that it
//! causes.

use crate::counter::Counter;
use crate::engine::Opening;
use crate::engine::half;
use crate::engine::handshake::{Source, send_handshake};
use crate::engine::host::{OBSERVATIONS_MAX, Output};
use crate::flow::{Flow, Side, Watched, flow_flags, side_flags};
use crate::headers::{Segment, Tap, tcp_flags};
use crate::observation::{Measured, NEVER, baseline, events};
use crate::packet::Packet;
use crate::tracking::{NOT_EXPECTED, before, is_settled, track};

/// Maximum bytes that a reset overtakes on its way; one further ahead is a guess.
const OVERTAKEN_MAX: u32 = 1 << 16;
/// Maximum resets reported of a side: a storm must leave observations for the flow's end.
const RESETS_REPORTED: u8 = 6;

/// State of a flow after a segment.
pub(super) enum NextState {
    /// It stays watched.
    Watched,
    /// Its handshake is over.
    Settled,
    /// It did not begin with a ClientHello.
    Removed,
}

/// Processes one segment of a watched flow.
#[inline(always)]
pub(super) fn process<const HALVES: bool, P: Packet, O: Output>(
    packet: &P,
    tap: &Tap,
    segment: &Segment,
    opening: Opening,
    watched: &mut Watched,
    output: &mut O,
) -> NextState {
    let now_ns = output.now_ns();
    let sender = u32::from(segment.endpoint != watched.flow.client_endpoint);
    let sender = packet.black_box(sender) as u8 & 1;
    let receiver = packet.black_box(u32::from(sender ^ 1)) as u8 & 1;
    let distance = distance(&watched.flow, sender, receiver, segment, now_ns);
    let expected = expected(&watched.flow, receiver);
    let mut events = 0;

    let Watched { flow, records } = watched;
    let (Some(side), Some(side_records)) = (
        flow.sides.get_mut(usize::from(sender)),
        records.get_mut(usize::from(sender)),
    ) else {
        return NextState::Watched;
    };
    if side.is_reset() && !segment.has(tcp_flags::RST) {
        side.after_reset = side.after_reset.saturating_add(1);
        if is_milestone(side.after_reset) {
            events |= events::SENT_AFTER_RESET;
        }
    }
    let mut events = packet.black_box(u32::from(events)) as u16;
    let has_records = has_records(side, segment, opening.alert());
    side.flags = packet.black_box(u32::from(side.flags)) as u16;
    if segment.payload_len > 0 && packet.black_box(u32::from(has_records)) != 0 {
        let mut track = track(
            expected,
            side,
            side_records,
            &mut flow.order,
            &mut flow.flags,
            flow.started_ns,
            now_ns,
        );
        let result = track.segment(packet, segment);
        events |= packet.black_box(u32::from(track.events)) as u16;
        if result.is_err() {
            return NextState::Removed;
        }
        side.flags = packet.black_box(u32::from(side.flags)) as u16;
        let source = Source {
            key: &segment.key,
            started_ns: flow.started_ns,
            now_ns,
            sender,
            client_endpoint: flow.client_endpoint,
            vlan: flow.vlan,
        };
        send_handshake(packet, segment, side, &source, output);
    }
    side.flags = packet.black_box(u32::from(side.flags)) as u16;
    events |= update(side, segment, now_ns, flow.flags);
    events = packet.black_box(u32::from(events)) as u16;
    let [outer, _] = flow.vlan;
    if outer == 0 {
        flow.vlan = segment.vlan;
    }
    events |= outlived_reset(flow, receiver, segment);
    if HALVES {
        events |= half::events(flow, sender, segment, opening);
    }
    let mut events = packet.black_box(u32::from(events)) as u16;
    if HALVES && events == 0 && half::goes_on(flow, receiver, segment) {
        events = events::HALF;
    }
    let mut events = packet.black_box(u32::from(events)) as u16;
    let [client, server] = &flow.sides;
    let is_reset = client.is_reset() || server.is_reset();
    let is_reset = packet.black_box(u32::from(is_reset)) != 0;
    let mut is_settled = is_settled(flow);
    if HALVES {
        let by_half = packet.black_box(u32::from(half::is_settled(flow))) != 0;
        is_settled = packet.black_box(u32::from(is_settled || by_half)) != 0;
    }
    let settles = !flow.has(flow_flags::RESUMED) && !is_reset && is_settled;
    if settles {
        events |= events::SETTLED;
    }
    let events = packet.black_box(u32::from(events)) as u16;
    if events != 0 {
        send_observation(
            tap, sender, segment, &distance, events, watched, now_ns, output,
        );
    }
    if settles {
        NextState::Settled
    } else {
        NextState::Watched
    }
}

/// Whether a segment's payload is part of its sender's stream. That of a reset is none, unless it is an
/// alert at the very place of the next record: some stacks send their last alert so.
#[inline(always)]
fn has_records(side: &Side, segment: &Segment, alert: bool) -> bool {
    !segment.has(tcp_flags::RST)
        || (alert
            && side.has(side_flags::SYNCED)
            && side.head_len == 0
            && side.header_seq == segment.payload_seq())
}

/// Returns the next sequence number that the receiver expects of the sender, or [`NOT_EXPECTED`].
#[inline(always)]
fn expected(flow: &Flow, receiver: u8) -> u64 {
    match flow.sides.get(usize::from(receiver & 1)) {
        Some(receiver) if receiver.has(side_flags::SEEN) => u64::from(receiver.ack),
        _ => NOT_EXPECTED,
    }
}

/// Distance of a segment from the baseline before it.
pub(super) struct Distance {
    since_same_ns: u64,
    since_other_ns: u64,
    seq_ahead: i32,
    ack_ahead: i32,
    baseline: u8,
}

impl Distance {
    /// Of a segment without a baseline.
    pub(super) const UNKNOWN: Self = Self {
        since_same_ns: NEVER,
        since_other_ns: NEVER,
        seq_ahead: 0,
        ack_ahead: 0,
        baseline: 0,
    };
}

#[inline(always)]
fn distance(flow: &Flow, sender: u8, receiver: u8, segment: &Segment, now_ns: u64) -> Distance {
    let unseen = Side::default();
    let same = flow.sides.get(usize::from(sender & 1)).unwrap_or(&unseen);
    let other = flow.sides.get(usize::from(receiver & 1)).unwrap_or(&unseen);
    let mut known = 0;
    if same.has(side_flags::SEEN) {
        known |= baseline::SAME | baseline::SEQ;
    }
    if other.has(side_flags::SEEN) {
        known |= baseline::OTHER | baseline::ACK;
    }
    if flow.has(flow_flags::RESUMED) {
        known |= baseline::STALE;
    }
    Distance {
        since_same_ns: since(same, now_ns),
        since_other_ns: since(other, now_ns),
        seq_ahead: segment.seq.wrapping_sub(same.next_seq) as i32,
        ack_ahead: segment.ack.wrapping_sub(other.next_seq) as i32,
        baseline: known,
    }
}

/// Fills in the measurements. Writes every field.
#[inline(always)]
pub(super) fn write_measured(measured: &mut Measured, segment: &Segment, distance: &Distance) {
    measured.since_same_ns = distance.since_same_ns;
    measured.since_other_ns = distance.since_other_ns;
    measured.seq = segment.seq;
    measured.ack = segment.ack;
    measured.seq_ahead = distance.seq_ahead;
    measured.ack_ahead = distance.ack_ahead;
    measured.payload_len = segment.payload_len;
    measured.window = segment.window;
    measured.ip_id = segment.ip_id;
    measured.mac = segment.source_mac;
    measured.flags = segment.flags;
    measured.ttl = segment.ttl;
    measured.options_len = segment.options_len;
    measured.baseline = distance.baseline;
    measured.reserved = [0; 4];
}

#[inline(always)]
fn since(side: &Side, now_ns: u64) -> u64 {
    if side.has(side_flags::SEEN) {
        now_ns.saturating_sub(side.last_ns)
    } else {
        NEVER
    }
}

/// Whether the segment with this number after a side's reset is reported: the first show that its
/// sender goes on, later ones that it still does; the rest must not use up the flow's observations.
#[inline(always)]
const fn is_milestone(after_reset: u8) -> bool {
    matches!(after_reset, 1..=4 | 16)
}

/// Marks the other side's reset as without effect if this segment acknowledges bytes beyond it.
#[inline(always)]
fn outlived_reset(flow: &mut Flow, receiver: u8, segment: &Segment) -> u16 {
    let Some(other) = flow.sides.get_mut(usize::from(receiver & 1)) else {
        return 0;
    };
    let goes_on = other.is_reset()
        && segment.has(tcp_flags::ACK)
        && !segment.has(tcp_flags::RST)
        && before(other.reset_end, segment.ack);
    if !goes_on {
        return 0;
    }
    other.flags |= side_flags::RESET_OUTLIVED;
    events::OUTLIVED_RESET
}

/// Advances the side's baseline to this segment; a reset only increments its own count.
#[inline(always)]
fn update(side: &mut Side, segment: &Segment, now_ns: u64, flow_flags: u8) -> u16 {
    if segment.has(tcp_flags::RST) {
        side.resets = side.resets.saturating_add(1);
        side.flags |= side_flags::RST;
        side.flags &= !side_flags::RESET_OUTLIVED;
        // Of a resumed flow the highest number is older than its last data.
        let is_known = side.has(side_flags::SEEN) && flow_flags & flow_flags::RESUMED == 0;
        let is_next = segment.seq.wrapping_sub(side.next_seq) < OVERTAKEN_MAX;
        side.reset_end = if is_known && !is_next {
            side.next_seq
        } else {
            segment.seq
        };
        side.after_reset = 0;
        return if side.resets <= RESETS_REPORTED {
            events::RESET
        } else {
            0
        };
    }
    let fin = segment.has(tcp_flags::FIN);
    let end = segment
        .payload_seq()
        .wrapping_add(segment.payload_len)
        .wrapping_add(fin as u32);
    if !side.has(side_flags::SEEN) || before(side.next_seq, end) {
        side.next_seq = end;
    }
    if !side.has(side_flags::SEEN) || segment.ttl < side.ttl_min {
        side.ttl_min = segment.ttl;
    }
    if !side.has(side_flags::SEEN) || segment.ttl > side.ttl_max {
        side.ttl_max = segment.ttl;
    }
    side.last_ns = now_ns;
    side.ack = segment.ack;
    side.window = segment.window;
    side.ip_id = segment.ip_id;
    side.mac = segment.source_mac;
    side.options_len = segment.options_len;
    let first_fin = fin && !side.has(side_flags::FIN);
    side.flags |= side_flags::SEEN;
    if first_fin {
        side.flags |= side_flags::FIN;
        return events::FIN;
    }
    0
}

/// Sends an observation, unless the flow reached its limit.
#[expect(clippy::too_many_arguments, reason = "the fields of an observation")]
#[inline(always)]
fn send_observation<O: Output>(
    tap: &Tap,
    sender: u8,
    segment: &Segment,
    distance: &Distance,
    events: u16,
    watched: &mut Watched,
    now_ns: u64,
    output: &mut O,
) {
    if watched.flow.observations >= OBSERVATIONS_MAX {
        output.count(Counter::ObservationsCapped);
        return;
    }
    watched.flow.observations += 1;
    let sent = output.send_observation(|observation| {
        observation.time_ns = now_ns;
        write_measured(&mut observation.measured, segment, distance);
        observation.watched = *watched;
        observation.key = segment.key;
        observation.events = events;
        observation.sender = sender;
        observation.egress = tap.egress as u8;
        observation.reserved = 0;
    });
    if !sent {
        output.count(Counter::ObservationLost);
    }
}
