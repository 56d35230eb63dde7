//! Facts that a timeline shows, so that rules need not look at records.

mod alerts;
mod amid_data;
mod before_certificate;
mod client_records;
mod closing;
mod cut_short;
mod flaw;
mod lengths;
mod refusals;
mod reset_effect;
mod server_records;

use std::net::SocketAddr;

use detector_common::flow::{Sender, record_flags, side_flags};
use detector_common::record::{ALERT, CLIENT_HELLO, HANDSHAKE};
use smallvec::SmallVec;

pub use self::alerts::AlertFact;
pub use self::amid_data::{AlertAmidData, Sign};
pub use self::client_records::ClientRecords;
pub use self::cut_short::CutShort;
pub use self::flaw::Flaw;

use self::closing::{Farewell, Parting};
use self::lengths::Lengths;
use self::server_records::ServerRecords;
use crate::cause::judge::resets::{ResetFacts, resets};
use crate::flow::timeline::{CloseKind, Ending, Timeline, TimelineRecord};
use crate::flow::tls::certificate::Leaf;
use crate::flow::tls::hello::TLS_1_3;
use crate::flow::tls::plain_answer::PlainAnswer;
use crate::flow::unreachable::Unreachable;

const TLS_1_2: u16 = 0x0303;

/// All that rules read of one leg.
pub struct Facts<'a> {
    /// The leg.
    pub timeline: &'a Timeline,
    /// Version agreed on.
    pub version: Option<u16>,
    /// Whether the session was resumed: then no certificate was shown.
    pub resumed: bool,
    /// Alerts in the clear, in order.
    pub alerts: SmallVec<[AlertFact; 2]>,
    /// The client's encrypted records.
    pub client: ClientRecords,
    /// The server sent a ServerHello.
    pub server_hello: bool,
    /// The server sent encrypted records after the client's data that are more than an alert.
    pub server_answered: bool,
    /// TLS 1.3: the server sent more than an alert after the client's flight, tickets included: it took
    /// the client's Finished.
    pub server_took_finished: bool,
    /// The server's last encrypted record is as short as an alert and follows the client's flight.
    pub server_alert_at_end: bool,
    /// The first FIN or RST, and its sender.
    pub first_close: Option<(Sender, CloseKind)>,
    /// The record that the first FIN or RST cut short, where that is known.
    pub cut_short: Option<CutShort>,
    /// An encrypted alert of a connection in use that is hardly a close_notify.
    pub alert_amid_data: Option<AlertAmidData>,
    /// The first side to take leave: by an alert of any kind, in the clear or known by its place, by
    /// FIN, or by a reset that is its own.
    pub farewell: Option<Sender>,
    /// Time of that, nanoseconds since the UNIX epoch.
    pub farewell_ns: Option<u64>,
    /// Tells of the resets.
    pub resets: ResetFacts<'a>,
    /// The receiver of the first reset went on: it changed nothing.
    pub outlived_reset: bool,
    /// Nothing at all came from the server, not even an acknowledgement.
    pub unacknowledged: bool,
    /// Bytes of the server's came, and none of them was a TLS record.
    pub no_tls_answer: bool,
    /// It worked: both sides exchanged application data.
    pub established: bool,
    /// Records are missing.
    pub gaps: bool,
    /// The first alert that is a farewell, in the clear or known by its place.
    farewell_record: Option<Farewell>,
}

impl<'a> Facts<'a> {
    /// Reads a leg; `elsewhere` is the same connection as another tap saw it, if it was only forwarded.
    pub fn of(timeline: &'a Timeline, elsewhere: Option<&'a Timeline>) -> Self {
        let handshake = &timeline.handshake;
        let version = handshake.version();
        let tls13 = version.is_some_and(|version| version >= TLS_1_3);
        let lengths = Lengths::of(handshake, tls13);
        let mut client = if tls13 {
            ClientRecords::of_tls13(timeline, &lengths)
        } else {
            ClientRecords::of_tls12(timeline)
        };
        let server = ServerRecords::of(timeline, &lengths, tls13);
        let resets = resets(timeline, elsewhere);
        let first_close = closing::first_close(timeline);
        let close = first_close
            .filter(|close| close.kind == CloseKind::Fin || !resets.injected())
            .map(|close| (timeline.micros_until(close.time_ns), close.sender));
        let left_by_server = server.farewell_at_end && !server.answered;
        let alert = closing::first_farewell_record(timeline, &lengths, left_by_server);
        let farewell = close
            .into_iter()
            .chain(alert)
            .min_by_key(|(at_us, _)| *at_us);
        let sender = farewell.map(|(_, sender)| sender);
        let resumed = handshake.is_resumed().unwrap_or(false);
        let behind_finished = client.finished && client.used && !resumed;
        let parting = behind_finished.then(|| closing::parting(timeline, &lengths, farewell));
        match parting.flatten() {
            Some(Parting::Word) => {
                client.used = false;
                client.parting_word = true;
            }
            Some(Parting::Unheard) => client.unheard = true,
            None => {}
        }
        let served = server.data
            && client.finished
            && sender == Some(Sender::Server)
            && !closing::is_late(timeline);
        let mut facts = Self {
            timeline,
            version,
            resumed,
            alerts: alerts::in_the_clear(timeline, tls13),
            client,
            server_hello: handshake.server_hello.is_some(),
            server_answered: server.answered,
            server_alert_at_end: server.alert_at_end,
            first_close: first_close.map(|close| (close.sender, close.kind)),
            cut_short: first_close.and_then(|close| CutShort::of(timeline, close)),
            alert_amid_data: None,
            farewell: sender,
            farewell_ns: farewell.map(|(at_us, _)| timeline.nanos_at(at_us)),
            resets,
            outlived_reset: reset_effect::outlived_reset(timeline),
            unacknowledged: is_unacknowledged(timeline),
            no_tls_answer: timeline.side(Sender::Server).has(side_flags::STARTED)
                && timeline.records_of(Sender::Server).next().is_none(),
            server_took_finished: server.took_finished,
            established: timeline.settled || (client.used && server.answered) || served,
            gaps: timeline.sides.iter().any(|side| side.has(side_flags::GAP)),
            farewell_record: alert,
        };
        // Bytes that are no records look like a gap to the tracking of records, and so do those of a settled
        // flow, which are not looked at.
        facts.gaps &= !timeline.settled && facts.plain_answer().is_none();
        if facts.established {
            facts.alert_amid_data = AlertAmidData::of(timeline, &lengths, tls13);
        }
        facts
    }

    /// Returns the encrypted alert records up to TLS 1.2, in order.
    pub fn encrypted_alerts(&self) -> SmallVec<[AlertFact; 2]> {
        alerts::encrypted(self.timeline, self.is_tls13())
    }

    /// Whether the client sent its alert, or closed, before it had received the server's certificate.
    pub fn before_certificate(&self) -> bool {
        before_certificate::is_left(self.timeline, self.is_tls13())
    }

    /// Whether the server sent more than its hello before the client closed, and the client had it: in TLS 1.3
    /// encrypted records, before that its certificate or ServerHelloDone.
    pub fn server_flight(&self) -> bool {
        let closed_us = closing::client_closed_us(self.timeline);
        server_records::sent_flight(self.timeline, self.is_tls13(), closed_us)
            && !self.before_certificate()
    }

    /// Whether the client closed only after the connection had lain idle.
    pub fn idled(&self) -> bool {
        closing::is_idled(self.timeline, closing::client_closed_us(self.timeline))
    }

    /// Whether a side had taken leave before the first reset: by FIN or by an alert, encrypted ones that are
    /// known by their place included.
    pub fn reset_after_farewell(&self) -> bool {
        closing::is_reset_after_farewell(self.timeline, self.farewell_record)
    }

    /// Resets that had no effect: their receivers went on.
    pub fn resets_without_effect(&self) -> u64 {
        let closes = self.timeline.closes.iter();
        let resets = closes.filter(|close| close.kind == CloseKind::Reset);
        let ignored = if self.outlived_reset && self.resets.injected() {
            resets.count() as u64
        } else {
            0
        };
        u64::from(self.timeline.resets_outlived) + ignored
    }

    /// Returns the first alert in the clear that ends the connection for a reason.
    pub fn failure_alert(&self) -> Option<&AlertFact> {
        self.alerts
            .iter()
            .find(|alert| alert.is_failure(self.version))
    }

    /// Returns the same, if this side sent it.
    pub fn failure_alert_of(&self, sender: Sender) -> Option<&AlertFact> {
        self.failure_alert().filter(|alert| alert.from == sender)
    }

    /// Returns the server's certificate, if it was seen and could be read.
    pub fn leaf(&self) -> Option<&'a Leaf> {
        self.timeline
            .handshake
            .certificate
            .as_ref()?
            .as_deref()
            .ok()
    }

    /// Whether this side took leave first and the connection did end.
    pub fn closed_by(&self, sender: Sender) -> bool {
        self.first_close.is_some() && self.farewell == Some(sender)
    }

    /// Returns the time of the client's first answer, nanoseconds since the UNIX epoch.
    pub fn answered_ns(&self) -> Option<u64> {
        let record = server_records::after_client_data(self.timeline).next()?;
        Some(self.timeline.nanos_at(record.at_us.into()))
    }

    /// Returns the time of the client's last answer that is more than an alert or a frame of
    /// HTTP/2's settings, nanoseconds since the UNIX epoch.
    pub fn last_answered_ns(&self) -> Option<u64> {
        const ANSWER_MIN: u16 = 96;
        let records = server_records::after_client_data(self.timeline);
        let record = records
            .filter(|record| record.length >= ANSWER_MIN)
            .last()?;
        Some(self.timeline.nanos_at(record.at_us.into()))
    }

    /// Returns the time of the failure, nanoseconds since the UNIX epoch: the first alert, in the
    /// clear or known by its place, or close.
    pub fn failed_ns(&self) -> Option<u64> {
        closing::failed_ns(self.timeline)
            .into_iter()
            .chain(self.farewell_ns)
            .min()
    }

    /// Returns the server's answer to a whole ClientHello, if it is no TLS. Random bytes that look
    /// like a hello's beginning, and a server that sent any record, are no case of it.
    pub fn plain_answer(&self) -> Option<&'a PlainAnswer> {
        let handshake = &self.timeline.handshake;
        let asked = handshake.client_hello.as_ref()?.complete;
        let answer = handshake.plain_answer.as_deref()?;
        (asked && self.no_tls_answer && !self.misses_of(Sender::Client)).then_some(answer)
    }

    /// Returns the address of a side's peer.
    pub const fn peer_of(&self, side: Sender) -> SocketAddr {
        match side {
            Sender::Client => self.timeline.server,
            Sender::Server => self.timeline.client,
        }
    }

    /// Returns the ICMP errors that the connection ended with. Hosts go on after one: in use it ended only
    /// if errors came for a second and more, and before if it was not cut right behind the first.
    pub fn unreachable(&self) -> Option<&'a Unreachable> {
        const LASTING_NS: u64 = 1_000_000_000;
        let error = self.timeline.unreachable.as_deref()?;
        let lasting = error.last_ns.saturating_sub(error.first_ns) >= LASTING_NS;
        let is_over = self.timeline.ending != Ending::Cut || error.count > 1;
        let was_left = self.farewell_ns.is_some_and(|left| left < error.first_ns);
        let ended = if self.established { lasting } else { is_over };
        let has_reason = self.failure_alert().is_some() || self.timeline.refusal().is_some();
        (ended && !was_left && !has_reason).then_some(error)
    }

    /// Whether it is TLS at all: a hello that can be read, or an answer in records. A few bytes that
    /// look like a hello's beginning prove nothing.
    pub fn is_tls(&self) -> bool {
        let hello = self.timeline.handshake.client_hello.is_some();
        let answer = self.server_hello || self.alerts.iter().any(|it| it.from == Sender::Server);
        answer
            || self.timeline.refused
            || (hello && !self.no_tls_answer)
            || self.plain_answer().is_some()
            || self.timeline.refusal().is_some()
            || self.failure_alert().is_some()
    }

    /// Whether the client answers a server of which nothing was seen: the tap sees one direction only.
    pub fn is_one_sided(&self) -> bool {
        let server = self.timeline.side(Sender::Server);
        !server.has(side_flags::SEEN | side_flags::RST) && !self.unacknowledged
    }

    /// Whether its first record seen of the client is no ClientHello: the capture began later, or missed
    /// it. Of a settled flow nothing may be left but its end, and upon a refusal none is sent.
    pub fn misses_hello(&self) -> bool {
        let first = self.timeline.records_of(Sender::Client).next();
        let is_hello = first.is_some_and(|record| {
            record.content_type == HANDSHAKE && record.detail.first() == Some(&CLIENT_HELLO)
        });
        let timeline = self.timeline;
        let is_expected = !timeline.settled && timeline.refusal().is_none() && !timeline.refused;
        let is_missing = timeline.handshake.client_hello.is_none() && !is_hello;
        is_expected && is_missing && !self.sent_no_hello()
    }

    /// Whether the client's first byte is that of an alert: it could not make a ClientHello.
    pub fn sent_no_hello(&self) -> bool {
        let timeline = self.timeline;
        let start_seq = timeline.side(Sender::Client).start_seq;
        let syn = timeline.syn(Sender::Client);
        let mut records = timeline.records_of(Sender::Client);
        let is_alert = records.next().is_some_and(|it| it.content_type == ALERT);
        is_alert && syn.is_some_and(|syn| syn.next_seq == start_seq)
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

    /// Whether the handshake went through and the server closed in order before the client had used it.
    pub fn closed_unused_by_server(&self) -> bool {
        self.client.finished
            && !self.client.used
            && !self.established
            && self.failure_alert().is_none()
            && !self.misses_of(Sender::Client)
            && matches!(self.first_close, Some((_, CloseKind::Fin)))
            && self.closed_by(Sender::Server)
    }

    /// Whether the client left within the handshake, for any reason.
    pub fn client_left(&self) -> bool {
        !self.client.finished && !self.resets.injected() && self.closed_by(Sender::Client)
    }

    /// Whether the client went on in the clear once it had the server's certificate, and closed: it asked for
    /// nothing under TLS.
    pub fn left_tls(&self) -> bool {
        let is_complete = |record: &TimelineRecord| record.flags & record_flags::AFTER_GAP == 0;
        self.timeline.side(Sender::Client).has(side_flags::NOT_TLS)
            && self.timeline.records_of(Sender::Client).all(is_complete)
            && !self.client.used
            && !self.established
            && !self.resumed
            && self.failure_alert().is_none()
            && self.closed_by(Sender::Client)
            && self.server_flight()
    }

    /// Whether the client turned away in silence once it had the server's certificate.
    pub fn turned_away(&self) -> bool {
        !self.client.finished
            && !self.client.alert_for_finished
            && self.alerts.iter().all(AlertFact::is_no_reason)
            && !self.resumed
            && !self.misses_of(Sender::Client)
            && self.closed_by(Sender::Client)
            && self.server_flight()
    }

    /// Whether this side's own alert that ends nothing came before its close: close_notify, in the
    /// clear or encrypted.
    pub fn took_leave_in_order(&self, sender: Sender) -> bool {
        let is_own = |alert: &AlertFact| alert.from == sender;
        self.alerts.iter().any(is_own)
            || self.encrypted_alerts().iter().any(is_own)
            || (sender == Sender::Client && self.client.alerts_after_finished > 0)
    }

    /// Whether the client closed as soon as it had the server's flight, as a program does.
    pub fn left_at_once(&self) -> bool {
        const AT_ONCE_NS: u64 = 50_000_000;
        self.waited_ns()
            .is_some_and(|waited_ns| waited_ns <= AT_ONCE_NS)
    }

    /// Whether the client closed as soon as a check behind the handshake lets a program close, also
    /// one that is far away.
    pub fn left_soon(&self) -> bool {
        const SOON_NS: u64 = 400_000_000;
        self.waited_ns()
            .is_some_and(|waited_ns| waited_ns <= SOON_NS)
    }

    /// Returns the time from the server's last record to the first leave-taking, nanoseconds.
    pub fn waited_ns(&self) -> Option<u64> {
        let server = self.timeline.records_of(Sender::Server);
        let closed_ns = self.farewell_ns.unwrap_or(u64::MAX);
        let flight = server.map(|record| self.timeline.nanos_at(record.at_us.into()));
        let last_ns = flight.filter(|at_ns| *at_ns <= closed_ns).max()?;
        Some(closed_ns - last_ns)
    }

    /// Whether the server closed only after it had waited for the client.
    pub fn waited_for_client(&self) -> bool {
        const AT_ONCE_NS: u64 = 1_000_000_000;
        let client = self.timeline.records_of(Sender::Client);
        let last_ns = client
            .last()
            .map(|record| self.timeline.nanos_at(record.at_us.into()));
        last_ns
            .zip(self.farewell_ns)
            .is_some_and(|(last_ns, left_ns)| left_ns.saturating_sub(last_ns) > AT_ONCE_NS)
    }

    /// Whether the server asked for a client certificate where that shows.
    pub fn asked_client(&self) -> bool {
        let handshake = &self.timeline.handshake;
        handshake.certificate_request || handshake.client_certificates.is_some()
    }

    /// Whether bytes of this side were not seen: then their absence proves nothing.
    pub fn misses_of(&self, sender: Sender) -> bool {
        self.timeline.side(sender).has(side_flags::GAP)
    }

    /// Returns the record that a side left unfinished by its FIN, or the server by its own RST, of
    /// a connection in use. A client that resets a download has no use for the rest.
    pub fn left_unfinished(&self) -> Option<&CutShort> {
        let cut = self.cut_short.as_ref()?;
        let is_own = match cut.kind {
            CloseKind::Fin => true,
            CloseKind::Reset => {
                let is_own = !self.resets.injected() && !self.outlived_reset;
                cut.by == Sender::Server && is_own
            }
            CloseKind::SpeaksOn => false,
        };
        let is_first = self.farewell == Some(cut.by) && self.failure_alert().is_none();
        (self.established && is_own && is_first).then_some(cut)
    }

    /// Whether the server chose a version before TLS 1.2.
    pub fn is_before_tls12(&self) -> bool {
        self.server_hello && self.version.is_some_and(|version| version < TLS_1_2)
    }

    /// Whether it is TLS 1.3.
    pub fn is_tls13(&self) -> bool {
        self.version.is_some_and(|version| version >= TLS_1_3)
    }
}

/// Whether the server acknowledged nothing of a client that sent a hello and no more.
fn is_unacknowledged(timeline: &Timeline) -> bool {
    !timeline.side(Sender::Server).has(side_flags::SEEN)
        && timeline
            .records_of(Sender::Client)
            .all(|record| record.content_type == HANDSHAKE)
}
