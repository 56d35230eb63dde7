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
        let behind = after_client_data(timeline);
        let is_more = |record: &TimelineRecord| !lengths.is_alert(record);
        let is_data = |record: &TimelineRecord| is_more(record) && record.length > 0;
        let (took_finished, data, tickets) = if tls13 {
            let mut behind_tickets = behind.clone().skip(tickets(behind.clone()));
            (
                behind.clone().any(is_more),
                behind_tickets.any(is_data),
                sure_tickets(behind.clone()),
            )
        } else {
            let of_server = timeline.records_of(Sender::Server);
            let records = of_server.filter(|record| record.content_type == APPLICATION_DATA);
            (
                records.clone().any(is_more),
                records.clone().any(is_data),
                0,
            )
        };
        let records = behind.skip(tickets);
        let last = records.clone().last();
        let alert = last.filter(|record| lengths.is_alert(record));
        Self {
            took_finished,
            data,
            farewell_at_end: alert.is_some(),
            answered: records.clone().any(is_more),
            alert_at_end: alert.is_some_and(|record| is_prompt(timeline, record)),
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
pub(super) fn after_client_data(
    timeline: &Timeline,
) -> impl Iterator<Item = &TimelineRecord> + Clone {
    let is_data = |record: &TimelineRecord| record.content_type == APPLICATION_DATA;
    let mut records = timeline.records.iter();
    let first = records.position(|record| record.sender == Sender::Client && is_data(record));
    let behind = first.and_then(|at| timeline.records.get(at..));
    let behind = behind.unwrap_or_default().iter();
    behind.filter(move |record| record.sender == Sender::Server && is_data(record))
}

/// Returns the number of records at the beginning that are of one length.
fn alike<'a>(records: impl Iterator<Item = &'a TimelineRecord> + Clone) -> usize {
    let first = records.clone().next().map(|record| record.length);
    records.take_while(|it| Some(it.length) == first).count()
}

/// Returns the number of records at the beginning that may be session tickets: they are of one
/// length.
fn tickets<'a>(records: impl Iterator<Item = &'a TimelineRecord> + Clone) -> usize {
    alike(records.take(4))
}

/// Returns the number of session tickets (RFC 8446 §4.6.1): two or more records of one length that come
/// first. A single one could as well be an answer.
fn sure_tickets<'a>(records: impl Iterator<Item = &'a TimelineRecord> + Clone) -> usize {
    let is_short = records.clone().next().is_some_and(|it| it.length < 1024);
    let alike = alike(records.clone());
    let rest_is_short = records.skip(alike).nth(1).is_none();
    if (2..=4).contains(&alike) && rest_is_short && is_short {
        alike
    } else {
        0
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
