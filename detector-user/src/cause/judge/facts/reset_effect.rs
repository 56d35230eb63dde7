//! Whether a reset had any effect.

use detector_common::flow::Sender;
use detector_common::observation::baseline;

use crate::flow::timeline::{Close, CloseKind, Timeline};

/// Whether the first reset changed nothing: its receiver could take neither it nor one like it, or
/// closed in order later, which a side that was reset cannot, or both sides sent records or closed in
/// order after it.
pub(super) fn outlived_reset(timeline: &Timeline) -> bool {
    let mut resets = timeline
        .closes
        .iter()
        .filter(|close| close.kind == CloseKind::Reset);
    let Some(reset) = resets.next() else {
        return false;
    };
    // A forger sends several, each further on.
    let mut alike =
        resets.filter(|it| it.sender == reset.sender && it.measured.ttl == reset.measured.ttl);
    let ignored = |reset: &Close| is_out_of_window(timeline, reset);
    if ignored(reset) && alike.all(ignored) {
        return true;
    }
    let reset_us = timeline.micros_until(reset.time_ns);
    let spoke = |sender| {
        let mut records = timeline.records_of(sender);
        records.any(|record| u64::from(record.at_us) > reset_us)
    };
    let did = |sender, kind| {
        let mut closes = timeline.closes.iter();
        closes.any(|it| it.kind == kind && it.sender == sender && it.time_ns > reset.time_ns)
    };
    let receiver = match reset.sender {
        Sender::Client => Sender::Server,
        Sender::Server => Sender::Client,
    };
    let went_on =
        |sender| spoke(sender) || did(sender, CloseKind::Fin) || did(sender, CloseKind::SpeaksOn);
    did(receiver, CloseKind::Fin) || (went_on(Sender::Client) && went_on(Sender::Server))
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
    let passed = if is_stale { age_us * BYTES_PER_US } else { 0 };
    u64::try_from(measured.seq_ahead).map_or(true, |ahead| ahead > WINDOW_MAX + passed)
}
