//! The ladder of a verdict, from its timeline.

use std::borrow::Cow;

use detector_common::flow::{Sender, record_flags};
use detector_common::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, HEARTBEAT};

use super::facts::Facts;
use super::verdict::party;
use crate::flow::timeline::{Close, CloseKind, Timeline, TimelineRecord};
use crate::flow::tls::hello::TLS_1_3;
use crate::flow::tls::names::handshake_type;
use crate::verdict::{AlertDescription, AlertLevel, Ladder, Rung};

/// Returns the ladder of a leg.
pub(super) fn ladder(facts: &Facts<'_>) -> Ladder {
    let timeline = facts.timeline;
    let mut rungs = records(facts);
    rungs.extend(timeline.closes.iter().map(|close| Rung {
        at_us: timeline.micros_until(close.time_ns),
        from: party(close.sender),
        what: end(close),
        decides: false,
    }));
    // Records of the same microsecond were seen in the order in which they are here.
    rungs.sort_by_key(|rung| rung.at_us);
    mark_deciding(&mut rungs, facts);
    Ladder(rungs)
}

/// Marks the first rung of the side that took leave, at that time, or the first injected reset.
fn mark_deciding(rungs: &mut [Rung], facts: &Facts<'_>) {
    let resets = &facts.resets;
    let forged = resets.in_name_of.filter(|_| resets.injected());
    let deciding = if let Some(sender) = forged {
        rungs
            .iter_mut()
            .find(|rung| rung.from == party(sender) && rung.what.starts_with(RESET))
    } else {
        let (Some(sender), Some(time_ns)) = (facts.farewell, facts.farewell_ns) else {
            return;
        };
        let at_us = facts.timeline.micros_until(time_ns);
        rungs
            .iter_mut()
            .find(|rung| rung.from == party(sender) && rung.at_us >= at_us)
    };
    if let Some(rung) = deciding {
        rung.decides = true;
    }
}

fn records(facts: &Facts<'_>) -> Vec<Rung> {
    let timeline = facts.timeline;
    let tls13 = facts.version.is_some_and(|version| version >= TLS_1_3);
    // Up to TLS 1.2 all is encrypted that follows a side's ChangeCipherSpec.
    let mut encrypts = [false; 2];
    let mut rungs = Vec::with_capacity(timeline.records.len());
    for record in &timeline.records {
        let [client, server] = &mut encrypts;
        let encrypts = match record.sender {
            Sender::Client => client,
            Sender::Server => server,
        };
        rungs.push(Rung {
            at_us: record.at_us.into(),
            from: party(record.sender),
            what: record_text(timeline, record, *encrypts && !tls13, tls13),
            decides: false,
        });
        *encrypts |= record.content_type == CHANGE_CIPHER_SPEC;
    }
    rungs
}

fn record_text(
    timeline: &Timeline,
    record: &TimelineRecord,
    is_encrypted: bool,
    tls13: bool,
) -> String {
    let [first, second] = record.detail;
    let kind: Cow<'_, str> = match record.content_type {
        CHANGE_CIPHER_SPEC => "ChangeCipherSpec".into(),
        ALERT if is_encrypted || record.length > 2 => "alert, encrypted".into(),
        ALERT => alert_text(first, second).into(),
        HANDSHAKE if is_encrypted => "handshake, encrypted".into(),
        HANDSHAKE => handshake_type(first).unwrap_or("handshake").into(),
        APPLICATION_DATA if tls13 => "encrypted record".into(),
        APPLICATION_DATA if is_early(timeline, record) => "early data".into(),
        APPLICATION_DATA => "application data".into(),
        HEARTBEAT => "heartbeat".into(),
        other => format!("record of type {other}").into(),
    };
    let place = if record.flags & record_flags::AFTER_GAP != 0 {
        ", after missing bytes"
    } else if record.flags & record_flags::LATE != 0 {
        ", late"
    } else {
        ""
    };
    format!("{kind}, {} bytes{place}", record.length)
}

fn alert_text(level: u8, description: u8) -> String {
    let description = AlertDescription::from(description);
    match AlertLevel::from_wire(level) {
        Some(level) => format!("alert {level} {description}"),
        None => format!("alert {description}"),
    }
}

/// Whether a client's data came before any answer.
fn is_early(timeline: &Timeline, record: &TimelineRecord) -> bool {
    record.sender == Sender::Client
        && timeline
            .records_of(Sender::Server)
            .all(|answer| answer.at_us > record.at_us)
}

const RESET: &str = "RST";

fn end(close: &Close) -> String {
    let ttl = close.measured.ttl;
    match close.kind {
        CloseKind::Fin => "FIN".to_owned(),
        CloseKind::Reset => format!("{RESET}, TTL {ttl}"),
        CloseKind::SpeaksOn => format!("goes on after its RST, TTL {ttl}"),
    }
}
