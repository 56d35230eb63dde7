//! Encrypted alerts of a connection in use that are, or may be, no close_notify.
//!
//! Up to TLS 1.2 their type shows them, in TLS 1.3 their length and place. Level and description are
//! encrypted in both, so other signs have to tell a fatal alert from an orderly farewell.

use detector_common::flow::{Sender, record_flags, side_flags};
use detector_common::headers::tcp_flags;
use detector_common::record::{ALERT, APPLICATION_DATA, HANDSHAKE, HEADER_LEN};

use super::alerts::is_in_the_clear;
use super::lengths::Lengths;
use crate::flow::timeline::{CloseKind, Timeline, TimelineRecord};

/// An alert that can hardly be a close_notify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertAmidData {
    /// Its sender.
    pub by: Sender,
    /// The sign that it is fatal.
    pub sign: Sign,
}

/// The difference from a close_notify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Another follows: nothing but close_notify comes behind a fatal alert, and nothing at all behind
    /// that (measured: Go).
    Twice,
    /// It is the server's only answer to a request that it had received, though it had answered before.
    ForRequest,
    /// The same while the client was still sending.
    WhileSending,
}

/// An alert answers at once; a server that waited in vain takes leave.
const PROMPT_US: u32 = 1_000_000;
/// A close_notify of the same program comes right behind its fatal alert.
const TWICE_US: u32 = 100_000;
/// Least bytes of a record with a request. Shorter ones may be a protocol's own farewell (MQTT's
/// DISCONNECT, MySQL's COM_QUIT, a WebSocket's Close), which servers answer by closing.
const REQUEST_MIN: u16 = 128;
/// Bytes of a record from which on it is no such farewell behind a request.
const FAREWELL_MAX: u16 = 64;
/// Most bytes of an answer that invites to send on, as 100 Continue does. A longer one may have refused
/// an upload that is still under way.
const INVITATION_MAX: u16 = 96;

impl AlertAmidData {
    /// Finds the alert that ended a connection in use. `None` if it may as well be a close_notify.
    pub(super) fn of(timeline: &Timeline, lengths: &Lengths, tls13: bool) -> Option<Self> {
        let alerts = Alerts {
            timeline,
            lengths,
            tls13,
        };
        let of = |sender| Some((alerts.first_of_last(sender)?, sender));
        let (at, by) = [Sender::Client, Sender::Server]
            .into_iter()
            .filter_map(of)
            .min_by_key(|(at, _)| *at)?;
        let alert = timeline.records.get(at)?;
        let alert_ns = timeline.nanos_at(alert.at_us.into());
        let closed_before = timeline.closes.iter().any(|close| {
            close.kind != CloseKind::SpeaksOn && close.time_ns / 1000 < alert_ns / 1000
        });
        if closed_before {
            return None;
        }
        let sign = if alerts.are_two(at, by) {
            Sign::Twice
        } else if by == Sender::Server {
            alerts.answer(at, alert)?
        } else {
            return None;
        };
        Some(Self { by, sign })
    }
}

/// A timeline whose alerts are looked for.
struct Alerts<'a> {
    timeline: &'a Timeline,
    lengths: &'a Lengths,
    tls13: bool,
}

impl Alerts<'_> {
    fn is_alert(&self, record: &TimelineRecord) -> bool {
        if self.tls13 {
            record.content_type == APPLICATION_DATA
                && match record.sender {
                    Sender::Client => self.lengths.is_clients_alert(self.timeline, record),
                    Sender::Server => self.lengths.is_alert(record),
                }
        } else {
            record.content_type == ALERT && !is_in_the_clear(record.length)
        }
    }

    fn is_data(&self, record: &TimelineRecord) -> bool {
        record.content_type == APPLICATION_DATA && record.length > 0 && !self.is_alert(record)
    }

    /// Returns the index of the first of the alerts that end a side's records.
    fn first_of_last(&self, sender: Sender) -> Option<usize> {
        let records = self.timeline.records.iter().enumerate().rev();
        records
            .filter(|(_, record)| record.sender == sender)
            .take_while(|(_, record)| self.is_alert(record))
            .last()
            .map(|(at, _)| at)
    }

    /// Whether the side sent two alerts, and the other asked for no renegotiation. In TLS 1.3 two records
    /// as long as alerts are none: MQTT's DISCONNECT of two bytes and close_notify look the same, and so do
    /// JSSE's user_canceled and close_notify.
    fn are_two(&self, at: usize, by: Sender) -> bool {
        if self.tls13 {
            return false;
        }
        let records = self.timeline.records.get(at..).unwrap_or_default();
        let mut own = records.iter().filter(|record| record.sender == by);
        let (Some(first), Some(second)) = (own.next(), own.next()) else {
            return false;
        };
        let at_once = second.at_us.saturating_sub(first.at_us) <= TWICE_US;
        let before = self.timeline.records.get(..at).unwrap_or_default();
        let data = before
            .iter()
            .position(|record| record.content_type == APPLICATION_DATA);
        let since = data.and_then(|at| before.get(at..)).unwrap_or_default();
        let renegotiates = since.iter().any(|it| it.content_type == HANDSHAKE);
        at_once && !renegotiates
    }

    /// Returns the sign that the server's alert is its only answer to a request that it acknowledges.
    fn answer(&self, at: usize, alert: &TimelineRecord) -> Option<Sign> {
        let timeline = self.timeline;
        let [client, server] = &timeline.sides;
        let closes_ns = timeline.nanos_at(u64::from(alert.at_us) + u64::from(PROMPT_US));
        let closed = timeline.closes.iter().any(|close| {
            close.sender == Sender::Server
                && close.kind != CloseKind::SpeaksOn
                && close.time_ns <= closes_ns
        });
        if !closed || client.has(side_flags::GAP) || server.has(side_flags::GAP) {
            return None;
        }
        let before = timeline.records.get(..at)?;
        let answer = before
            .iter()
            .rposition(|record| record.sender == Sender::Server && self.is_data(record))?;
        let asked_before = before.get(..answer)?.iter();
        // Of TLS 1.3 the client's Finished looks like data, and the tickets like an answer.
        let questions = asked_before.filter(|it| it.sender == Sender::Client && self.is_data(it));
        if questions.count() < 1 + usize::from(self.tls13) {
            return None;
        }
        // Of TLS 1.3 the first of two may be data, as a Close frame of WebSocket is.
        let behind = timeline.records.get(at + 1..)?;
        if self.tls13 && behind.iter().any(|it| it.sender == Sender::Server) {
            return None;
        }
        let acknowledged = self.acknowledged()?;
        let request = self.last_received(answer, acknowledged)?;
        let prompt =
            (request.at_us..=request.at_us.saturating_add(PROMPT_US)).contains(&alert.at_us);
        if !prompt {
            return None;
        }
        let sent = client.next_seq.wrapping_sub(client.start_seq);
        let has_fin = u32::from(client.has(side_flags::FIN));
        let sending = sent.saturating_sub(has_fin) > acknowledged;
        let invited = before.get(answer)?.length <= INVITATION_MAX;
        match sending {
            true if invited => Some(Sign::WhileSending),
            true => None,
            false => (request.length >= FAREWELL_MAX).then_some(Sign::ForRequest),
        }
    }

    /// Returns the bytes of the client's that the server's alert acknowledges.
    fn acknowledged(&self) -> Option<u32> {
        let [client, server] = &self.timeline.sides;
        let [_, by_alert] = self.timeline.alert_acknowledges;
        let mut closes = self.timeline.closes.iter();
        let by_close = || {
            let close = closes.find(|it| it.sender == Sender::Server)?;
            let is_known = close.measured.flags & tcp_flags::ACK != 0;
            let ack = if is_known {
                close.measured.ack
            } else {
                server.ack
            };
            Some(ack.wrapping_sub(client.start_seq))
        };
        by_alert.or_else(by_close)
    }

    /// Returns the last of the client's records behind the server's answer that the server had received
    /// whole, if there is a request among them.
    fn last_received(&self, answer: usize, acknowledged: u32) -> Option<&TimelineRecord> {
        let mut end = 0_u32;
        let mut last = None;
        let mut has_request = false;
        for (at, record) in self.timeline.records.iter().enumerate() {
            if record.sender != Sender::Client {
                continue;
            }
            if record.flags & (record_flags::AFTER_GAP | record_flags::LATE) != 0 {
                return None;
            }
            end += HEADER_LEN + u32::from(record.length);
            if at > answer && end <= acknowledged && self.is_data(record) {
                has_request |= record.length >= REQUEST_MIN;
                last = Some(record);
            }
        }
        last.filter(|_| has_request)
    }
}
