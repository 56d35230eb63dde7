//! What a timeline shows, said once, so that rules need not look at records.

use detector_common::flow::{Sender, side_flags};
use detector_common::observation::baseline;
use detector_common::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};

use crate::cause::judge::resets::{ResetFacts, resets};
use crate::flow::legs::Connection;
use crate::flow::timeline::{Close, CloseKind, Timeline, TimelineRecord};
use crate::flow::tls::hello::TLS_1_3;
use crate::flow::tls::names::{RecordLengths, is_tls12_alert_length, tls13_lengths};
use crate::verdict::Cause;

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const LEVEL_WARNING: u8 = 1;
/// JSSE pads what it encrypts by this many bytes (measured: Java 17).
const JSSE_PADDING: u16 = 16;

/// Whoever leaves a connection unused for so long has not refused it.
const IDLE_US: u64 = 1_000_000;

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
    /// Whether the other side had closed before: then it is only the answer to that.
    pub after_close: bool,
}

impl AlertFact {
    /// Whether it ends the connection for a reason: close_notify, user_canceled and warnings up to
    /// TLS 1.2 do not (RFC 8446 §6.1, RFC 5246 §7.2.2).
    pub fn is_failure(&self, version: Option<u16>) -> bool {
        match (self.level, self.code) {
            _ if self.after_close => false,
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
    /// It answered a CertificateRequest: up to TLS 1.2 that is read, in TLS 1.3 a record before its
    /// Finished is as long as an empty Certificate, or the flight is longer than a Finished.
    pub sent_certificate: bool,
    /// Records after the Finished as short as an alert.
    pub alerts_after_finished: u8,
    /// Application data of its own.
    pub used: bool,
}

/// What the leg behind an interceptor says.
pub struct OtherLeg<'a> {
    /// Where it is read from.
    pub timeline: &'a Timeline,
    /// When it failed, nanoseconds since the UNIX epoch.
    pub failed_ns: u64,
    /// Who took leave first.
    pub farewell: Option<Sender>,
    /// Whether it worked.
    pub established: bool,
    /// Why it failed, seen by itself.
    pub cause: Cause,
    /// How sure that is.
    pub confidence: f64,
    /// The fact that says most about it.
    pub detail: String,
    /// Whether that cause breaks the connection, however the interceptor tells its client.
    pub broke_the_connection: bool,
}

/// All that rules look at.
pub struct Facts<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// The leg nearer to the client: where it is read from.
    pub timeline: &'a Timeline,
    /// The leg behind an interceptor, if it was seen.
    pub other_leg: Option<OtherLeg<'a>>,
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
    /// The server sent more than its hello before the client closed: in TLS 1.3 encrypted records,
    /// before that its certificate or ServerHelloDone.
    pub server_flight: bool,
    /// The client closed only after the connection had lain idle.
    pub idled: bool,
    /// The server sent encrypted records after the client's data that are more than an alert.
    pub server_answered: bool,
    /// The server's last encrypted record is as short as an alert and follows the client's flight.
    pub server_alert_at_end: bool,
    /// The first FIN or RST, and whose.
    pub first_close: Option<(Sender, CloseKind)>,
    /// Who took leave first: by an alert of any kind, in the clear or known by its place, by FIN,
    /// or by a reset that is its own.
    pub farewell: Option<Sender>,
    /// When that was, nanoseconds since the UNIX epoch.
    pub farewell_ns: Option<u64>,
    /// What the resets give away.
    pub resets: ResetFacts,
    /// Somebody had taken leave before the first reset: by FIN or by an alert, encrypted ones that
    /// are known by their place included.
    pub reset_after_farewell: bool,
    /// Both sides went on after the first reset: it changed nothing.
    pub outlived_reset: bool,
    /// Nothing at all came from the server, not even an acknowledgement.
    pub unacknowledged: bool,
    /// Bytes of the server's came, and none of them was a TLS record.
    pub no_tls_answer: bool,
    /// It worked: both sides exchanged application data.
    pub established: bool,
    /// Records are missing.
    pub gaps: bool,
}

impl<'a> Facts<'a> {
    /// Reads a connection.
    pub fn of(connection: &'a Connection, other_leg: Option<OtherLeg<'a>>) -> Self {
        let timeline = &*connection.client_leg;
        let handshake = &timeline.handshake;
        let version = handshake.version();
        let suite = handshake.cipher_suite();
        let tls13 = version.is_some_and(|version| version >= TLS_1_3);
        let (alerts, encrypted_alerts) = alerts(timeline, suite, tls13);
        let client = if tls13 {
            client_tls13(timeline, suite)
        } else {
            client_tls12(timeline)
        };
        let client_closed_us = client_closed_us(timeline);
        let first_of = |sender, kinds: &[u8]| {
            timeline.records.iter().any(|record| {
                record.sender == sender
                    && kinds.contains(&record.content_type)
                    && u64::from(record.at_us) <= client_closed_us
            })
        };
        let server_flight = if tls13 {
            first_of(Sender::Server, &[APPLICATION_DATA])
        } else {
            (handshake.certificate.is_some() || handshake.server_hello_done)
                && first_of(Sender::Server, &[HANDSHAKE])
                || first_of(Sender::Server, &[CHANGE_CIPHER_SPEC])
        };
        let client_said_hello_only = of_client(timeline).all(|it| it.content_type == HANDSHAKE);
        let lengths = lengths(suite);
        let mut after_use: Vec<&TimelineRecord> = server_after_client_data(timeline);
        if tls13 {
            drop_tickets(&mut after_use);
        }
        let server_answered = after_use
            .iter()
            .any(|record| !is_alert_length(record, &lengths, tls13));
        let server_alert_at_end = after_use.last().is_some_and(|record| {
            is_alert_length(record, &lengths, tls13) && is_prompt(timeline, record)
        });
        let established = timeline.settled || (client.used && server_answered);
        let resets = resets(connection);
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
        let refused_by_server = server_alert_at_end && !server_answered;
        let alert = first_farewell_record(timeline, &lengths, tls13, refused_by_server);
        let farewell = close
            .into_iter()
            .chain(alert)
            .min_by_key(|(at_us, _)| *at_us);
        let first_reset_us = first_reset_us(timeline);
        let fin_before_reset = timeline
            .closes
            .iter()
            .take_while(|close| close.kind != CloseKind::Reset)
            .any(|close| close.kind == CloseKind::Fin);
        let reset_after_farewell =
            fin_before_reset || alert.is_some_and(|(at_us, _)| at_us <= first_reset_us);
        Self {
            connection,
            timeline,
            other_leg,
            version,
            resumed: handshake.is_resumed().unwrap_or(false),
            alerts,
            encrypted_alerts,
            client,
            server_hello: handshake.server_hello.is_some(),
            server_flight,
            idled: idled(timeline, client_closed_us),
            server_answered,
            server_alert_at_end,
            first_close: first_close.map(|close| (close.sender, close.kind)),
            farewell: farewell.map(|(_, sender)| sender),
            farewell_ns: farewell.map(|(at_us, _)| timeline.started_ns + at_us * 1000),
            resets,
            reset_after_farewell,
            outlived_reset: outlived_reset(timeline),
            unacknowledged: !timeline.sides[1].has(side_flags::SEEN) && client_said_hello_only,
            no_tls_answer: timeline.sides[1].has(side_flags::STARTED)
                && !timeline.records.iter().any(|r| r.sender == Sender::Server),
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

    /// When the client had its first answer, nanoseconds since the UNIX epoch.
    pub fn answered_ns(&self) -> Option<u64> {
        let record = *server_after_client_data(self.timeline).first()?;
        Some(self.timeline.started_ns + u64::from(record.at_us) * 1000)
    }

    /// When it failed, nanoseconds since the UNIX epoch: at its first alert, in the clear or known by
    /// its place, or close.
    pub fn failed_ns(&self) -> Option<u64> {
        failed_ns(self.timeline)
            .into_iter()
            .chain(self.farewell_ns)
            .min()
    }

    /// Whether it is TLS at all: a hello that can be read, or an answer in records. A few bytes that
    /// look like a hello's beginning prove nothing.
    pub fn is_tls(&self) -> bool {
        let hello = self.timeline.handshake.client_hello.is_some();
        let answer = self.server_hello || self.alerts.iter().any(|it| it.from == Sender::Server);
        answer || (hello && !self.no_tls_answer) || self.failure_alert().is_some()
    }

    /// Whether the client answers a server of which nothing was seen: the tap sees one direction only.
    pub fn is_one_sided(&self) -> bool {
        let [_, server] = &self.timeline.sides;
        !server.has(side_flags::SEEN | side_flags::RST) && !self.unacknowledged
    }

    /// Whether the handshake went through and the client left without having used it.
    pub fn unused(&self) -> bool {
        self.client.finished
            && !self.client.used
            && !self.established
            && self.failure_alert().is_none()
            && !self.misses_of(Sender::Client)
            && self.closed_by(Sender::Client)
    }

    /// Whether the client left within the handshake, for whatever reason.
    pub fn client_left(&self) -> bool {
        !self.client.finished && !self.resets.injected() && self.closed_by(Sender::Client)
    }

    /// Whether the client turned away in silence once it had the server's certificate.
    pub fn turned_away(&self) -> bool {
        self.server_flight
            && !self.client.finished
            && !self.client.alert_for_finished
            && self.alerts.is_empty()
            && !self.resumed
            && !self.misses_of(Sender::Client)
            && self.closed_by(Sender::Client)
    }

    /// Whether bytes of this side were not seen: then what it did not send proves nothing.
    pub fn misses_of(&self, sender: Sender) -> bool {
        self.timeline.sides[sender as usize].has(side_flags::GAP)
    }

    /// Whether it is TLS 1.3.
    pub fn is_tls13(&self) -> bool {
        self.version.is_some_and(|version| version >= TLS_1_3)
    }
}

fn failed_ns(timeline: &Timeline) -> Option<u64> {
    let alert = timeline
        .records
        .iter()
        .find(|record| record.content_type == ALERT)
        .map(|record| timeline.started_ns + u64::from(record.at_us) * 1000);
    let close = timeline.closes.first().map(|close| close.time_ns);
    alert.into_iter().chain(close).min()
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

/// Whether a record of the client's is as long as an alert of its would be. One whose Finished was
/// not padded pads no alert: what is as long as a padded one is data then.
fn is_clients_alert_length(
    timeline: &Timeline,
    record: &TimelineRecord,
    lengths: &RecordLengths,
) -> bool {
    let pads = of_client(timeline)
        .filter(|it| it.content_type == APPLICATION_DATA)
        .find_map(|it| match it.length.checked_sub(lengths.finished) {
            Some(0) => Some(false),
            Some(JSSE_PADDING) => Some(true),
            _ => None,
        });
    let is_padded = record.length == lengths.alert + JSSE_PADDING;
    is_alert_length(record, lengths, true) && !(is_padded && pads == Some(false))
}

/// Whether a record of the server's came soon after the client's last one: an answer, and not the end
/// of a wait for more.
fn is_prompt(timeline: &Timeline, record: &TimelineRecord) -> bool {
    const ANSWER_US: u32 = 2_000_000;
    of_client(timeline)
        .map(|client| client.at_us)
        .filter(|at_us| *at_us <= record.at_us)
        .max()
        .is_some_and(|at_us| record.at_us - at_us <= ANSWER_US)
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
                    after_close: closed_before(timeline, record),
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

/// Whether the other side had closed when this record came.
fn closed_before(timeline: &Timeline, record: &TimelineRecord) -> bool {
    let at_ns = timeline.started_ns + u64::from(record.at_us) * 1000;
    timeline
        .closes
        .iter()
        .any(|close| close.sender != record.sender && close.time_ns / 1000 < at_ns / 1000)
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
    // Header, empty context, empty list (RFC 8446 §4.4.2) instead of the alert's two bytes.
    let empty_certificate = lengths.alert + 6;
    let with_finished = lengths.finished + 8;
    let mut client = ClientRecords {
        used: early,
        ..ClientRecords::default()
    };
    for record in of_client(timeline).filter(|record| record.content_type == APPLICATION_DATA) {
        let alert = is_clients_alert_length(timeline, record, &lengths);
        let finished = [lengths.finished, lengths.finished + JSSE_PADDING].contains(&record.length);
        if !client.finished {
            if alert {
                client.alert_for_finished = true;
            } else if finished || record.length > lengths.finished {
                // Longer: a client certificate, empty or not, in one record with what follows it.
                client.finished = finished
                    || record.length == with_finished
                    || record.length > 2 * lengths.finished;
                client.sent_certificate |= !finished;
            } else if [empty_certificate, empty_certificate + JSSE_PADDING].contains(&record.length)
            {
                client.sent_certificate = true;
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
    let mut client = ClientRecords {
        sent_certificate: timeline.handshake.client_certificates.is_some(),
        ..ClientRecords::default()
    };
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

fn first_reset_us(timeline: &Timeline) -> u64 {
    timeline
        .closes
        .iter()
        .find(|close| close.kind == CloseKind::Reset)
        .map_or(u64::MAX, |close| {
            close.time_ns.saturating_sub(timeline.started_ns) / 1000
        })
}

/// Whether a reset lies outside any window of its receiver, who then ignores it (RFC 9293 §3.10.7.4,
/// RFC 5961 §3.2): behind what its alleged sender had sent, or too far beyond.
fn is_out_of_window(reset: &Close, started_ns: u64) -> bool {
    const WINDOW_MAX: u64 = 1 << 24;
    /// 10 Gbit/s.
    const BYTES_PER_US: u64 = 1250;
    const YOUNG_US: u64 = 1_000_000;
    let measured = &reset.measured;
    let age_us = reset.time_ns.saturating_sub(started_ns) / 1000;
    let is_stale = measured.baseline & baseline::STALE != 0;
    // Of an old flow whose data passed uncounted the numbers may have wrapped.
    if measured.baseline & baseline::SEQ == 0 || (is_stale && age_us > YOUNG_US) {
        return false;
    }
    let passed = if is_stale { age_us * BYTES_PER_US } else { 0 };
    u64::try_from(measured.seq_ahead).map_or(true, |ahead| ahead > WINDOW_MAX + passed)
}

/// Whether the first reset changed nothing: its receiver could take neither it nor one like it, or
/// closed in order later, which one that was reset cannot, or both sides sent records or closed in
/// order after it.
fn outlived_reset(timeline: &Timeline) -> bool {
    let mut resets = timeline
        .closes
        .iter()
        .filter(|close| close.kind == CloseKind::Reset);
    let Some(reset) = resets.next() else {
        return false;
    };
    // Who forges one sends several, each further on.
    let mut alike =
        resets.filter(|it| it.sender == reset.sender && it.measured.ttl == reset.measured.ttl);
    let ignored = |reset: &Close| is_out_of_window(reset, timeline.started_ns);
    if ignored(reset) && alike.all(ignored) {
        return true;
    }
    let reset_us = reset.time_ns.saturating_sub(timeline.started_ns) / 1000;
    let spoke = |sender| {
        let mut records = timeline.records.iter();
        records.any(|record| record.sender == sender && u64::from(record.at_us) > reset_us)
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

/// When the client closed, microseconds since the flow began; never if it did not.
fn client_closed_us(timeline: &Timeline) -> u64 {
    timeline
        .closes
        .iter()
        .find(|close| close.sender == Sender::Client && close.kind != CloseKind::SpeaksOn)
        .map_or(u64::MAX, |close| {
            close.time_ns.saturating_sub(timeline.started_ns) / 1000
        })
}

/// Whether the client let the connection lie before it closed. Whoever refuses does so at once.
fn idled(timeline: &Timeline, client_closed_us: u64) -> bool {
    let records = timeline.records.iter();
    let shaken_us = records
        .filter(|record| record.content_type != ALERT && u64::from(record.at_us) < client_closed_us)
        .map(|record| u64::from(record.at_us))
        .max();
    let alert_us = timeline
        .records
        .iter()
        .find(|record| record.sender == Sender::Client && record.content_type == ALERT)
        .map(|record| u64::from(record.at_us));
    let ended_us = client_closed_us.min(alert_us.unwrap_or(u64::MAX));
    shaken_us.is_some_and(|shaken_us| {
        ended_us != u64::MAX && ended_us.saturating_sub(shaken_us) > IDLE_US
    })
}

/// When, in microseconds, and by whom the first alert was sent that is one by its type, or in
/// TLS 1.3 by its length once that side's Finished is through.
fn first_farewell_record(
    timeline: &Timeline,
    lengths: &RecordLengths,
    tls13: bool,
    refused_by_server: bool,
) -> Option<(u64, Sender)> {
    let is_farewell = |record: &&TimelineRecord| match (record.content_type, record.sender) {
        (ALERT, _) => true,
        (APPLICATION_DATA, Sender::Client) => {
            tls13 && is_clients_alert_length(timeline, record, lengths)
        }
        (APPLICATION_DATA, Sender::Server) => {
            refused_by_server && is_alert_length(record, lengths, tls13)
        }
        _ => false,
    };
    timeline
        .records
        .iter()
        .find(is_farewell)
        .map(|record| (u64::from(record.at_us), record.sender))
}

/// Takes session tickets away (RFC 8446 §4.6.1): two or more records of one length that come first.
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
