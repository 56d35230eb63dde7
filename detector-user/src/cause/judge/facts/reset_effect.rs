//! Whether a reset had any effect.

use detector_common::flow::Sender;
use detector_common::headers::tcp_flags;
use detector_common::observation::baseline;

use crate::flow::timeline::{Close, CloseKind, Timeline};

/// Round trip assumed where the handshake shows none, microseconds.
const ROUND_TRIP_US: u64 = 200_000;

/// Whether the first reset changed nothing: its receiver could take neither it nor one like it, or
/// closed in order later or sent data after a round trip, which a side that was reset cannot. One that
/// acknowledged new data is told by [`Timeline::resets_outlived`].
pub(super) fn outlived_reset(timeline: &Timeline) -> bool {
    let mut resets = timeline
        .closes
        .iter()
        .filter(|close| close.kind == CloseKind::Reset);
    let Some(reset) = resets.next() else {
        return false;
    };
    let receiver = match reset.sender {
        Sender::Client => Sender::Server,
        Sender::Server => Sender::Client,
    };
    // Segments of the receiver's may have been under way to this tap.
    let round_trip_us = round_trip_us(timeline, receiver).unwrap_or(ROUND_TRIP_US);
    let until_us = timeline
        .micros_until(reset.time_ns)
        .saturating_add(round_trip_us);
    let spoke_within = |end_us: u64| {
        let times = timeline.records_of(receiver).map(|it| u64::from(it.at_us));
        times
            .into_iter()
            .any(|at_us| at_us > until_us && at_us < end_us)
    };
    if let Some(own) = lost_its_socket(timeline, receiver, reset) {
        // One reset did not destroy the socket that spoke between the two; of several a later one may have.
        let is_single = resets.clone().all(|it| it.sender != reset.sender);
        let has_spoken = spoke_within(timeline.micros_until(own.time_ns));
        if !(is_single && has_spoken) {
            return false;
        }
    }
    // A forger sends several, each further on.
    let mut alike =
        resets.filter(|it| it.sender == reset.sender && it.measured.ttl == reset.measured.ttl);
    let ignored = |reset: &Close| is_out_of_window(timeline, reset);
    if ignored(reset) && alike.all(ignored) {
        return true;
    }
    // A FIN under way shows that the receiver was done.
    let closed = timeline.closes.iter().any(|close| {
        close.kind == CloseKind::Fin && close.sender == receiver && close.time_ns > reset.time_ns
    });
    spoke_within(u64::MAX) || closed || reset_as_a_living_socket(timeline, receiver, until_us)
}

/// Whether the receiver reset the connection itself later, with an ACK flag: a host that has no socket any
/// more answers data without one (RFC 9293 §3.10.7.1). In its own distance, as a forger resets both sides.
fn reset_as_a_living_socket(timeline: &Timeline, receiver: Sender, after_us: u64) -> bool {
    let side = timeline.side(receiver);
    timeline.closes.iter().any(|close| {
        close.kind == CloseKind::Reset
            && close.sender == receiver
            && close.measured.flags & tcp_flags::ACK != 0
            && (side.ttl_min..=side.ttl_max).contains(&close.measured.ttl)
            && timeline.micros_until(close.time_ns) > after_us
    })
}

/// Returns the segment by which the receiver of a reset answers later ones as for an unknown socket (RFC 9293
/// §3.10.7.1: without an ACK flag) though it had not closed: the reset had destroyed it.
fn lost_its_socket<'a>(
    timeline: &'a Timeline,
    receiver: Sender,
    reset: &Close,
) -> Option<&'a Close> {
    let own = timeline
        .closes
        .iter()
        .find(|close| close.sender == receiver && close.kind != CloseKind::SpeaksOn)?;
    let is_answer = own.kind == CloseKind::Reset
        && own.measured.flags & tcp_flags::ACK == 0
        && own.time_ns >= reset.time_ns;
    is_answer.then_some(own)
}

/// Returns the time from here to a side and back, microseconds: its quickest answer in the
/// handshake, whose flights take turns. Later on, records that pass each other look like answers.
fn round_trip_us(timeline: &Timeline, side: Sender) -> Option<u64> {
    const HANDSHAKE_RECORDS: usize = 12;
    let records = timeline.records.get(..HANDSHAKE_RECORDS);
    let records = records.unwrap_or(&timeline.records);
    let answers = records.windows(2).filter_map(|pair| match pair {
        [asked, answered] if asked.sender != side && answered.sender == side => {
            Some(u64::from(answered.at_us.saturating_sub(asked.at_us)))
        }
        _ => None,
    });
    // An answer takes its sender some time, but round trips vary.
    answers.min().map(|quickest| quickest - quickest / 8)
}

/// Whether a reset lies outside any window of its receiver, who then ignores it (RFC 9293 §3.10.7.4,
/// RFC 5961 §3.2): behind the data that its alleged sender had sent, or too far beyond.
fn is_out_of_window(timeline: &Timeline, reset: &Close) -> bool {
    const WINDOW_MAX: u64 = 1 << 24;
    /// 10 Gbit/s.
    const BYTES_PER_US: u64 = 1250;
    const YOUNG_US: u64 = 1_000_000;
    let measured = &reset.measured;
    let age_us = timeline.micros_until(reset.time_ns);
    let is_stale = measured.baseline & baseline::STALE != 0;
    // Of an old flow whose data passed uncounted the numbers may have wrapped.
    if measured.baseline & baseline::SEQ == 0 || (is_stale && age_us > YOUNG_US) {
        return false;
    }
    let passed = if is_stale {
        age_us.saturating_mul(BYTES_PER_US)
    } else {
        0
    };
    u64::try_from(measured.seq_ahead).map_or(true, |ahead| ahead > WINDOW_MAX + passed)
}
