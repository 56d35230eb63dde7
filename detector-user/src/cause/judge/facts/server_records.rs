//! The server's flight and its answers.

use detector_common::flow::Sender;
use detector_common::record::{APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};

use super::lengths::Lengths;
use crate::flow::timeline::{Timeline, TimelineRecord};

/// The server's encrypted records after the client's second flight.
pub(super) struct ServerRecords {
    /// One of them is more than an alert.
    pub(super) answered: bool,
    /// The last of them is as short as an alert and follows the client's flight.
    pub(super) alert_at_end: bool,
    /// The last of them is as short as an alert, however late.
    pub(super) farewell_at_end: bool,
    /// Records that are more than an alert came, session tickets included: the server took the client's
    /// Finished.
    pub(super) took_finished: bool,
    /// One of them is data, and not a session ticket.
    pub(super) data: bool,
}

impl ServerRecords {
    pub(super) fn of(timeline: &Timeline, lengths: &Lengths, tls13: bool) -> Self {
        let mut records: Vec<&TimelineRecord> = if tls13 {
            after_client_data(timeline).collect()
        } else {
            let records = timeline.records_of(Sender::Server);
            records
                .filter(|record| record.content_type == APPLICATION_DATA)
                .collect()
        };
        let took_finished = records.iter().any(|record| !lengths.is_alert(record));
        let tickets = if tls13 { tickets(&records) } else { 0 };
        let data = records[tickets..]
            .iter()
            .any(|record| !lengths.is_alert(record) && record.length > 0);
        if !tls13 {
            records = after_client_data(timeline).collect();
        } else {
            drop_tickets(&mut records);
        }
        Self {
            took_finished,
            data,
            farewell_at_end: records
                .last()
                .is_some_and(|record| lengths.is_alert(record)),
            answered: records.iter().any(|record| !lengths.is_alert(record)),
            alert_at_end: records
                .last()
                .is_some_and(|record| lengths.is_alert(record) && is_prompt(timeline, record)),
        }
    }
}

/// Whether the server had sent more than its hello by then: in TLS 1.3 encrypted records, before that
/// its certificate or ServerHelloDone.
pub(super) fn sent_flight(timeline: &Timeline, tls13: bool, until_us: u64) -> bool {
    let sent = |content_type| {
        timeline.records_of(Sender::Server).any(|record| {
            record.content_type == content_type && u64::from(record.at_us) <= until_us
        })
    };
    let handshake = &timeline.handshake;
    if tls13 {
        sent(APPLICATION_DATA)
    } else {
        (handshake.certificate.is_some() || handshake.server_hello_done) && sent(HANDSHAKE)
            || sent(CHANGE_CIPHER_SPEC)
    }
}

/// Returns the server's encrypted records since the client's first.
pub(super) fn after_client_data(timeline: &Timeline) -> impl Iterator<Item = &TimelineRecord> {
    let is_data = |record: &TimelineRecord| record.content_type == APPLICATION_DATA;
    timeline
        .records
        .iter()
        .skip_while(move |record| !(record.sender == Sender::Client && is_data(record)))
        .filter(move |record| record.sender == Sender::Server && is_data(record))
}

/// Returns the number of records at the beginning that may be session tickets: they are of one
/// length.
fn tickets(records: &[&TimelineRecord]) -> usize {
    let Some(first) = records.first().map(|record| record.length) else {
        return 0;
    };
    records
        .iter()
        .take(4)
        .take_while(|it| it.length == first)
        .count()
}

/// Removes session tickets (RFC 8446 §4.6.1): two or more records of one length that come first.
/// A single one could as well be an answer.
fn drop_tickets(records: &mut Vec<&TimelineRecord>) {
    let Some(first) = records.first().map(|record| record.length) else {
        return;
    };
    let alike = records.iter().take_while(|it| it.length == first).count();
    let rest_is_short = records.len() - alike <= 1;
    if (2..=4).contains(&alike) && rest_is_short && first < 1024 {
        records.drain(..alike);
    }
}

/// Whether a record of the server's came soon after the client's last one: an answer, and not the end
/// of a wait for more.
fn is_prompt(timeline: &Timeline, record: &TimelineRecord) -> bool {
    const ANSWER_US: u32 = 2_000_000;
    timeline
        .records_of(Sender::Client)
        .map(|client| client.at_us)
        .filter(|at_us| *at_us <= record.at_us)
        .max()
        .is_some_and(|at_us| record.at_us - at_us <= ANSWER_US)
}
