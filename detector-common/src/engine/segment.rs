//! One segment of a watched flow: measure it, track its records, send the observations that it
//! causes.

use crate::counter::Counter;
use crate::engine::Opening;
use crate::engine::half;
use crate::engine::handshake::{Source, send_handshake};
use crate::engine::host::{OBSERVATIONS_MAX, Output};
use crate::flow::{Flow, Side, Watched, flow_flags, side_flags};
use crate::headers::{Segment, Tap, tcp_flags};
use crate::observation::{HANDSHAKE_BYTES_MAX, Measured, NEVER, baseline, events};
use crate::packet::Packet;
use crate::report::{About, Report};
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
    let mut distance = distance(&watched.flow, sender, receiver, segment, now_ns);
    distance.hide(packet);
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
    let mut alert_unsent = 0;
    if segment.payload_len > 0 && packet.black_box(u32::from(has_records)) != 0 {
        let before = u32::from(side.record_count) | u32::from(side.head_len) << 8;
        let before = packet.black_box(before);
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
        let is_held = O::ALERTS_IN_REPORTS
            && opening.lone_alert()
            && before.wrapping_add(1) == u32::from(side.record_count)
            && flow.observations < OBSERVATIONS_MAX
            && is_unsent(side, segment);
        if is_held {
            alert_unsent = 1;
        } else {
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
    }
    let alert_unsent = packet.black_box(alert_unsent) as u8 & 1;
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
    if events != 0 && may_report(&mut watched.flow, output) {
        let report = Report {
            time_ns: now_ns,
            measured: measured(segment, &distance),
            key: &segment.key,
            about: About::Watched(watched),
            events,
            sender,
            egress: u8::from(tap.egress),
            alert_unsent,
        };
        if !output.send_report(packet, &report) {
            output.count(Counter::ObservationLost);
        }
    }
    if events & events::SETTLED != 0 {
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

/// Whether a segment's bytes are handshake bytes of which none was sent; then they count as sent.
#[inline(always)]
fn is_unsent(side: &mut Side, segment: &Segment) -> bool {
    let start = segment.payload_seq();
    let end = start.wrapping_add(segment.payload_len);
    let is_late = side.has(side_flags::PLAINTEXT_END)
        || end.wrapping_sub(side.start_seq) > HANDSHAKE_BYTES_MAX
        || before(start, side.sent_to);
    if is_late {
        return false;
    }
    if start == side.sent_to {
        side.sent_to = end;
    }
    true
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

    /// Lets the verifier forget which sides were seen.
    #[inline(always)]
    fn hide<P: Packet>(&mut self, packet: &P) {
        self.baseline = packet.black_box(u32::from(self.baseline)) as u8;
        self.since_same_ns = packet.black_box_wide(self.since_same_ns);
        self.since_other_ns = packet.black_box_wide(self.since_other_ns);
    }
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

/// Returns the measurements of a segment.
#[inline(always)]
pub(super) fn measured(segment: &Segment, distance: &Distance) -> Measured {
    Measured {
        since_same_ns: distance.since_same_ns,
        since_other_ns: distance.since_other_ns,
        mac: segment.source_mac,
        seq: segment.seq,
        ack: segment.ack,
        seq_ahead: distance.seq_ahead,
        ack_ahead: distance.ack_ahead,
        payload_len: segment.payload_len,
        window: segment.window,
        ip_id: segment.ip_id,
        flags: segment.flags,
        ttl: segment.ttl,
        options_len: segment.options_len,
        baseline: distance.baseline,
        reserved: [0; 4],
    }
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

/// Counts one more report of a flow; `false` if it reached its limit.
#[inline(always)]
fn may_report<O: Output>(flow: &mut Flow, output: &mut O) -> bool {
    if flow.observations >= OBSERVATIONS_MAX {
        output.count(Counter::ObservationsCapped);
        return false;
    }
    flow.observations += 1;
    true
}
