//! What a timeline shows, said once, so that rules need not look at records.

use detector_common::flow::{Sender, side_flags};
use detector_common::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC};

use crate::judge::resets::{ResetFacts, resets};
use crate::timeline::{CloseKind, Timeline, TimelineRecord};
use crate::tls::hello::TLS_1_3;
use crate::tls::names::{RecordLengths, is_tls12_alert_length, tls13_lengths};

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const LEVEL_WARNING: u8 = 1;
/// JSSE pads what it encrypts by this many bytes (measured: Java 17).
const JSSE_PADDING: u16 = 16;

/// An alert, read or inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertFact {
    /// Who sent it.
    pub from: Sender,
    /// AlertLevel, of one in the clear.
    pub level: Option<u8>,
    /// AlertDescription, of one in the clear.
    pub code: Option<u8>,
    /// Bytes of the record's body.
    pub length: u16,
    /// Whether the server's flight had begun.
    pub after_server_hello: bool,
}

impl AlertFact {
    /// Whether it ends the connection for a reason: close_notify, user_canceled and warnings up to
    /// TLS 1.2 do not (RFC 8446 §6.1, RFC 5246 §7.2.2).
    pub fn is_failure(&self, version: Option<u16>) -> bool {
        match (self.level, self.code) {
            (_, Some(CLOSE_NOTIFY | USER_CANCELED)) => false,
            // In TLS 1.3 the level means nothing (RFC 8446 §6).
            (Some(LEVEL_WARNING), Some(_)) => version.is_some_and(|version| version >= TLS_1_3),
            _ => self.code.is_some(),
        }
    }
}

/// What the client's encrypted records look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientRecords {
    /// An alert stands where the Finished should be (TLS 1.3).
    pub alert_for_finished: bool,
    /// Its Finished, or its whole second flight, was sent.
    pub finished: bool,
    /// Records after the Finished as short as an alert.
    pub alerts_after_finished: u8,
    /// Application data of its own.
    pub used: bool,
}

/// All that rules look at.
pub struct Facts<'a> {
    /// Where it is read from.
    pub timeline: &'a Timeline,
    /// Version agreed on.
    pub version: Option<u16>,
    /// Whether the session was resumed: then no certificate was shown.
    pub resumed: bool,
    /// Alerts in the clear, in order.
    pub alerts: Vec<AlertFact>,
    /// Encrypted alert records up to TLS 1.2, in order.
    pub encrypted_alerts: Vec<AlertFact>,
    /// The client's encrypted records.
    pub client: ClientRecords,
    /// The server sent a ServerHello.
    pub server_hello: bool,
    /// The server sent more than its hello: in TLS 1.3 encrypted records, before that its
    /// certificate or ServerHelloDone.
    pub server_flight: bool,
    /// The server sent encrypted records after the client's data that are more than an alert.
    pub server_answered: bool,
    /// The server's last encrypted record is as short as an alert and follows the client's flight.
    pub server_alert_at_end: bool,
    /// The first FIN or RST, and whose.
    pub first_close: Option<(Sender, CloseKind)>,
    /// Who took leave first: by an alert of any kind, in the clear or known by its place, by FIN,
    /// or by a reset that is its own.
    pub farewell: Option<Sender>,
    /// What the resets give away.
    pub resets: ResetFacts,
    /// Both sides went on after the first reset: it changed nothing.
    pub outlived_reset: bool,
    /// It worked: both sides exchanged application data.
    pub established: bool,
    /// Records are missing.
    pub gaps: bool,
}

impl<'a> Facts<'a> {
    /// Reads a timeline.
    pub fn of(timeline: &'a Timeline) -> Self {
        let handshake = &timeline.handshake;
        let version = handshake.version();
        let suite = handshake
            .server_hello
            .as_ref()
            .map(|hello| hello.cipher_suite);
        let tls13 = version.is_some_and(|version| version >= TLS_1_3);
        let (alerts, encrypted_alerts) = alerts(timeline, suite, tls13);
        let client = if tls13 {
            client_tls13(timeline, suite)
        } else {
            client_tls12(timeline)
        };
        let first_of = |sender, kinds: &[u8]| {
            timeline
                .records
                .iter()
                .any(|record| record.sender == sender && kinds.contains(&record.content_type))
        };
        let server_flight = if tls13 {
            first_of(Sender::Server, &[APPLICATION_DATA])
        } else {
            handshake.certificate.is_some()
                || handshake.server_hello_done
                || first_of(Sender::Server, &[CHANGE_CIPHER_SPEC])
        };
        let lengths = lengths(suite);
        let after_use: Vec<&TimelineRecord> = server_after_client_data(timeline);
        let server_answered = after_use
            .iter()
            .any(|record| !is_alert_length(record, &lengths, tls13));
        let server_alert_at_end = after_use
            .last()
            .is_some_and(|record| tls13 && is_alert_length(record, &lengths, tls13));
        let established = timeline.settled || (client.used && server_answered);
        let resets = resets(timeline);
        let first_close = timeline
            .closes
            .iter()
            .find(|close| close.kind != CloseKind::SpeaksOn);
        let close = first_close
            .filter(|close| close.kind == CloseKind::Fin || !resets.injected())
            .map(|close| {
                (
                    close.time_ns.saturating_sub(timeline.started_ns) / 1000,
                    close.sender,
                )
            });
        let alert = first_farewell_record(timeline, &lengths, tls13);
        let farewell = close
            .into_iter()
            .chain(alert)
            .min_by_key(|(at_us, _)| *at_us);
        Self {
            timeline,
            version,
            resumed: handshake.is_resumed().unwrap_or(false),
            alerts,
            encrypted_alerts,
            client,
            server_hello: handshake.server_hello.is_some(),
            server_flight,
            server_answered,
            server_alert_at_end,
            first_close: first_close.map(|close| (close.sender, close.kind)),
            farewell: farewell.map(|(_, sender)| sender),
            resets,
            outlived_reset: outlived_reset(timeline),
            established,
            gaps: timeline.sides.iter().any(|side| side.has(side_flags::GAP)),
        }
    }

    /// The first alert in the clear that ends the connection for a reason.
    pub fn failure_alert(&self) -> Option<&AlertFact> {
        self.alerts
            .iter()
            .find(|alert| alert.is_failure(self.version))
    }

    /// Whether this side took leave first and the connection did end.
    pub fn closed_by(&self, sender: Sender) -> bool {
        self.first_close.is_some() && self.farewell == Some(sender)
    }

    /// Whether it is TLS 1.3.
    pub fn is_tls13(&self) -> bool {
        self.version.is_some_and(|version| version >= TLS_1_3)
    }
}

fn lengths(suite: Option<u16>) -> RecordLengths {
    suite.and_then(tls13_lengths).unwrap_or(RecordLengths {
        finished: 53,
        alert: 19,
    })
}

fn is_alert_length(record: &TimelineRecord, lengths: &RecordLengths, tls13: bool) -> bool {
    tls13 && (record.length == lengths.alert || record.length == lengths.alert + JSSE_PADDING)
}

/// Alerts in the clear, and encrypted ones up to TLS 1.2.
fn alerts(
    timeline: &Timeline,
    suite: Option<u16>,
    tls13: bool,
) -> (Vec<AlertFact>, Vec<AlertFact>) {
    let mut clear = Vec::new();
    let mut encrypted = Vec::new();
    let mut changed = [false; 2];
    let mut server_hello = false;
    for record in &timeline.records {
        let changed = match record.sender {
            Sender::Client => &mut changed[0],
            Sender::Server => &mut changed[1],
        };
        server_hello |= record.sender == Sender::Server && record.content_type != ALERT;
        match record.content_type {
            CHANGE_CIPHER_SPEC => *changed = true,
            ALERT => {
                // Two bytes cannot be encrypted; before ChangeCipherSpec nothing is.
                let plain = record.length == 2 && (tls13 || !*changed);
                let [level, code] = record.detail;
                let fact = AlertFact {
                    from: record.sender,
                    level: plain.then_some(level),
                    code: plain.then_some(code),
                    length: record.length,
                    after_server_hello: server_hello,
                };
                if plain {
                    clear.push(fact);
                } else if suite
                    .and_then(|suite| is_tls12_alert_length(suite, record.length))
                    .unwrap_or(true)
                {
                    encrypted.push(fact);
                }
            }
            _ => {}
        }
    }
    (clear, encrypted)
}

fn of_client(timeline: &Timeline) -> impl Iterator<Item = &TimelineRecord> {
    timeline
        .records
        .iter()
        .filter(|record| record.sender == Sender::Client)
}

/// TLS 1.3 shows the client's Finished, alerts and data as one type; place and length tell.
fn client_tls13(timeline: &Timeline, suite: Option<u16>) -> ClientRecords {
    let lengths = lengths(suite);
    let early = timeline
        .handshake
        .client_hello
        .as_ref()
        .is_some_and(|hello| hello.early_data);
    let mut client = ClientRecords {
        used: early,
        ..ClientRecords::default()
    };
    for record in of_client(timeline).filter(|record| record.content_type == APPLICATION_DATA) {
        let alert = is_alert_length(record, &lengths, true);
        let finished = [lengths.finished, lengths.finished + JSSE_PADDING].contains(&record.length);
        if !client.finished {
            if alert {
                client.alert_for_finished = true;
            } else if finished || record.length > lengths.finished {
                // Longer: a client certificate in one record with what follows it.
                client.finished = true;
            }
        } else if alert {
            client.alerts_after_finished = client.alerts_after_finished.saturating_add(1);
        } else {
            client.used = true;
        }
    }
    client
}

/// Up to TLS 1.2 record types tell.
fn client_tls12(timeline: &Timeline) -> ClientRecords {
    let mut client = ClientRecords::default();
    for record in of_client(timeline) {
        match record.content_type {
            CHANGE_CIPHER_SPEC => client.finished = true,
            ALERT if client.finished => {
                client.alerts_after_finished = client.alerts_after_finished.saturating_add(1);
            }
            // An empty record hides the IV of the next (the BEAST countermeasure).
            APPLICATION_DATA if record.length > 0 => client.used = true,
            _ => {}
        }
    }
    client
}

/// Whether both sides sent records, or closed in order, after the first reset.
fn outlived_reset(timeline: &Timeline) -> bool {
    let Some(reset) = timeline
        .closes
        .iter()
        .find(|close| close.kind == CloseKind::Reset)
    else {
        return false;
    };
    let reset_us = reset.time_ns.saturating_sub(timeline.started_ns) / 1000;
    [Sender::Client, Sender::Server].into_iter().all(|sender| {
        let spoke = timeline
            .records
            .iter()
            .any(|record| record.sender == sender && u64::from(record.at_us) > reset_us);
        let closed = timeline.closes.iter().any(|close| {
            close.kind == CloseKind::Fin && close.sender == sender && close.time_ns > reset.time_ns
        });
        spoke || closed
    })
}

/// When, in microseconds, and by whom the first alert was sent that is one by its type, or in
/// TLS 1.3 by its length once that side's Finished is through.
fn first_farewell_record(
    timeline: &Timeline,
    lengths: &RecordLengths,
    tls13: bool,
) -> Option<(u64, Sender)> {
    let is_farewell = |record: &&TimelineRecord| {
        record.content_type == ALERT
            || (record.sender == Sender::Client
                && record.content_type == APPLICATION_DATA
                && is_alert_length(record, lengths, tls13))
    };
    timeline
        .records
        .iter()
        .find(is_farewell)
        .map(|record| (u64::from(record.at_us), record.sender))
}

/// The server's encrypted records after the client's second flight.
fn server_after_client_data(timeline: &Timeline) -> Vec<&TimelineRecord> {
    let client_began = timeline
        .records
        .iter()
        .position(|r| r.sender == Sender::Client && r.content_type == APPLICATION_DATA);
    let Some(client_began) = client_began else {
        return Vec::new();
    };
    timeline
        .records
        .iter()
        .skip(client_began)
        .filter(|r| r.sender == Sender::Server && r.content_type == APPLICATION_DATA)
        .collect()
}
