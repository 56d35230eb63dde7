//! The end of a connection: its first side to close, and how long the client waited with that.

use detector_common::flow::Sender;
use detector_common::record::{ALERT, APPLICATION_DATA};

use super::lengths::Lengths;
use crate::flow::timeline::{Close, CloseKind, Timeline, TimelineRecord};

/// A client that leaves a connection unused for so long has not refused it.
const IDLE_US: u64 = 1_000_000;

/// The first farewell of a side: microseconds since the flow's beginning, and its sender.
pub(super) type Farewell = (u64, Sender);

/// Finds the first alert by its type, or in TLS 1.3 by its length once that side's Finished is
/// through.
pub(super) fn first_farewell_record(
    timeline: &Timeline,
    lengths: &Lengths,
    refused_by_server: bool,
) -> Option<Farewell> {
    let is_farewell = |record: &&TimelineRecord| match (record.content_type, record.sender) {
        (ALERT, _) => true,
        (APPLICATION_DATA, Sender::Client) => lengths.is_clients_alert(timeline, record),
        (APPLICATION_DATA, Sender::Server) => refused_by_server && lengths.is_alert(record),
        _ => false,
    };
    let record = timeline.records.iter().find(is_farewell)?;
    Some((record.at_us.into(), record.sender))
}

/// Returns the first FIN or RST.
pub(super) fn first_close(timeline: &Timeline) -> Option<&Close> {
    let mut closes = timeline.closes.iter();
    closes.find(|close| close.kind != CloseKind::SpeaksOn)
}

/// A client's only data, sent together with its farewell: it waited for no answer. A caller that checks the
/// certificate after the handshake may take leave so of the protocol within (measured: lftp 4.9 on GnuTLS,
/// with a word in FTP and a request in HTTP).
pub(super) enum Parting {
    /// Short.
    Word,
    /// Longer, as a message is that needs no answer; the client reset the connection upon the answer.
    Unheard,
}

/// Finds such data.
pub(super) fn parting(
    timeline: &Timeline,
    lengths: &Lengths,
    farewell: Option<Farewell>,
) -> Option<Parting> {
    const WORD_MAX: u16 = 64;
    const TOGETHER_US: u64 = 3_000;
    let Some((left_us, Sender::Client)) = farewell else {
        return None;
    };
    let mut data = timeline.records_of(Sender::Client).filter(|record| {
        record.content_type == APPLICATION_DATA
            && record.length > 0
            && !lengths.is_finished(record)
            && !lengths.is_clients_alert(timeline, record)
    });
    let (Some(word), None) = (data.next(), data.next()) else {
        return None;
    };
    let said_us = u64::from(word.at_us);
    let is_heard = |record: &TimelineRecord| (said_us..=left_us).contains(&record.at_us.into());
    let together = said_us <= left_us && left_us - said_us <= TOGETHER_US;
    if !together || timeline.records_of(Sender::Server).any(is_heard) {
        return None;
    }
    let own = |kind| {
        let mut closes = timeline.closes.iter();
        closes.position(|close| close.sender == Sender::Client && close.kind == kind)
    };
    let resets = own(CloseKind::Fin) < own(CloseKind::Reset);
    if word.length <= WORD_MAX {
        Some(Parting::Word)
    } else {
        resets.then_some(Parting::Unheard)
    }
}

/// Whether a FIN or a farewell came before the first reset.
pub(super) fn is_reset_after_farewell(timeline: &Timeline, farewell: Option<Farewell>) -> bool {
    let reset = timeline
        .closes
        .iter()
        .position(|close| close.kind == CloseKind::Reset);
    let (before, reset) = match reset {
        Some(at) => (&timeline.closes[..at], timeline.closes.get(at)),
        None => (&timeline.closes[..], None),
    };
    let reset_us = reset.map_or(u64::MAX, |reset| timeline.micros_until(reset.time_ns));
    before.iter().any(|close| close.kind == CloseKind::Fin)
        || farewell.is_some_and(|(at_us, _)| at_us <= reset_us)
}

/// Returns the time when the connection failed, nanoseconds since the UNIX epoch: its first alert
/// by type, or its first segment of closing.
pub(super) fn failed_ns(timeline: &Timeline) -> Option<u64> {
    let alert = timeline
        .records
        .iter()
        .find(|record| record.content_type == ALERT)
        .map(|record| timeline.nanos_at(record.at_us.into()));
    let close = timeline.closes.first().map(|close| close.time_ns);
    alert.into_iter().chain(close).min()
}

/// Returns the time when the client closed, microseconds since the flow's beginning; `u64::MAX` if
/// it did not.
pub(super) fn client_closed_us(timeline: &Timeline) -> u64 {
    timeline
        .closes
        .iter()
        .find(|close| close.sender == Sender::Client && close.kind != CloseKind::SpeaksOn)
        .map_or(u64::MAX, |close| timeline.micros_until(close.time_ns))
}

/// Whether the server's last record came so long after the client's that it is the end of a wait, as a
/// 408 answer is.
pub(super) fn is_late(timeline: &Timeline) -> bool {
    const WAIT_US: u32 = 2_000_000;
    let last = |sender| timeline.records_of(sender).map(|record| record.at_us).max();
    match (last(Sender::Client), last(Sender::Server)) {
        (Some(client), Some(server)) => server.saturating_sub(client) >= WAIT_US,
        _ => false,
    }
}

/// Whether the client let the connection lie before it closed or sent an alert. A refusal comes at
/// once.
pub(super) fn is_idled(timeline: &Timeline, client_closed_us: u64) -> bool {
    let last_us = timeline
        .records
        .iter()
        .filter(|record| record.content_type != ALERT)
        .map(|record| u64::from(record.at_us))
        .filter(|at_us| *at_us < client_closed_us)
        .max();
    let alert_us = timeline
        .records_of(Sender::Client)
        .find(|record| record.content_type == ALERT)
        .map_or(u64::MAX, |record| record.at_us.into());
    let ended_us = client_closed_us.min(alert_us);
    last_us
        .is_some_and(|last_us| ended_us != u64::MAX && ended_us.saturating_sub(last_us) > IDLE_US)
}
