//! Alerts of a timeline, in the clear and encrypted.

use std::fmt;

use detector_common::flow::Sender;
use detector_common::record::{ALERT, CHANGE_CIPHER_SPEC};
use smallvec::SmallVec;

use crate::flow::timeline::{Timeline, TimelineRecord};
use crate::flow::tls::hello::TLS_1_3;
use crate::flow::tls::names::is_tls12_alert_length;
use crate::verdict::AlertDescription::{
    AccessDenied, BadCertificate, CertificateExpired, CertificateRevoked, CertificateUnknown,
    CloseNotify, UnknownCa, UnsupportedCertificate, UserCanceled,
};
use crate::verdict::{AlertDescription, AlertLevel};

/// An alert, read or inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertFact {
    /// Its sender.
    pub from: Sender,
    /// Its level, of one in the clear and registered.
    pub level: Option<AlertLevel>,
    /// Its description, of one in the clear.
    pub description: Option<AlertDescription>,
    /// Bytes of the record's body.
    pub length: u16,
    /// Whether the other side had closed before: then it is only the answer to that.
    pub after_close: bool,
    /// Whether its sender sent nothing but alerts after it, and closed.
    pub last: bool,
}

impl AlertFact {
    /// Whether it ends the connection for a reason: close_notify, user_canceled and warnings up to
    /// TLS 1.2 do not (RFC 8446 §6.1, RFC 5246 §7.2.2).
    pub fn is_failure(&self, version: Option<u16>) -> bool {
        match (self.level, self.description) {
            _ if self.after_close => false,
            (_, Some(CloseNotify | UserCanceled)) => false,
            // In TLS 1.3 the level means nothing (RFC 8446 §6). The rest decides: some stacks
            // refuse by a warning.
            (Some(AlertLevel::Warning), _) if self.last && self.is_about_certificate() => true,
            (Some(AlertLevel::Warning), Some(_)) => version.is_some_and(|it| it >= TLS_1_3),
            _ => self.description.is_some(),
        }
    }

    /// Whether it tells nothing of a refusal: the answer to a close, or the closer's own farewell.
    pub(super) fn is_no_reason(&self) -> bool {
        let farewell = self.is_one_of(&[CloseNotify]) && self.from == Sender::Client;
        self.after_close || farewell
    }

    /// Whether it is in the clear and about a certificate of the other side.
    pub fn is_about_certificate(&self) -> bool {
        self.is_one_of(&[
            BadCertificate,
            UnsupportedCertificate,
            CertificateRevoked,
            CertificateExpired,
            CertificateUnknown,
            UnknownCa,
            AccessDenied,
        ])
    }

    /// Whether it is in the clear and one of these.
    pub fn is_one_of(&self, descriptions: &[AlertDescription]) -> bool {
        self.description
            .is_some_and(|it| descriptions.contains(&it))
    }
}

impl fmt::Display for AlertFact {
    /// Writes `fatal certificate_unknown (46)`, or `an encrypted alert of 26 bytes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(description) = self.description else {
            return write!(f, "an encrypted alert of {} bytes", self.length);
        };
        match self.level {
            Some(level) => write!(f, "{level} {description}"),
            None => write!(f, "{description}"),
        }
    }
}

/// Returns the alerts of both sides in the clear, in order.
pub(super) fn in_the_clear(timeline: &Timeline, tls13: bool) -> SmallVec<[AlertFact; 2]> {
    let alerts = alerts(timeline, tls13);
    let read = alerts.filter_map(|(record, words)| Some(read(timeline, record, words?)));
    read.collect()
}

/// Returns the encrypted alerts, in order, which up to TLS 1.2 are known by their type.
pub(super) fn encrypted(timeline: &Timeline, tls13: bool) -> SmallVec<[AlertFact; 2]> {
    let suite = timeline.handshake.cipher_suite();
    let alerts = alerts(timeline, tls13);
    let unread =
        alerts.filter(|(record, words)| words.is_none() && can_be_alert(suite, record.length));
    unread
        .map(|(record, _)| unread_alert(timeline, record))
        .collect()
}

/// Returns the records with alerts, and level and description of those in the clear.
fn alerts(
    timeline: &Timeline,
    tls13: bool,
) -> impl Iterator<Item = (&TimelineRecord, Option<[u8; 2]>)> {
    let mut sides = [Progress::default(); 2];
    timeline.records.iter().filter_map(move |record| {
        let [client, server] = &mut sides;
        let side = match record.sender {
            Sender::Client => client,
            Sender::Server => server,
        };
        let level = side.level.take();
        match record.content_type {
            ALERT if is_in_the_clear(record.length) && (tls13 || !side.encrypts) => {
                let [first, second] = record.detail;
                match (record.length, level) {
                    (1, None) => {
                        side.level = Some(first);
                        None
                    }
                    (1, Some(level)) => Some((record, Some([level, first]))),
                    _ => Some((record, Some([first, second]))),
                }
            }
            ALERT => Some((record, None)),
            content_type => {
                side.encrypts |= content_type == CHANGE_CIPHER_SPEC;
                None
            }
        }
    })
}

/// Progress of one side's records.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// It sent ChangeCipherSpec.
    encrypts: bool,
    /// The level of an alert whose description is to come in a record of its own.
    level: Option<u8>,
}

/// Whether alerts of a record as long as this cannot be encrypted: it has one byte of an alert in two
/// records, or some alerts, of which the first is read (RFC 5246 §6.2.1 allows both, RFC 8446 §5.1
/// neither), and is shorter than any tag.
pub(super) const fn is_in_the_clear(length: u16) -> bool {
    const TAG_MIN: u16 = 8;
    length == 1 || (length < TAG_MIN && length.is_multiple_of(2))
}

/// Whether a record up to TLS 1.2 is as long as an alert under this suite, as far as that is known.
fn can_be_alert(suite: Option<u16>, length: u16) -> bool {
    suite
        .and_then(|suite| is_tls12_alert_length(suite, length))
        .unwrap_or(true)
}

fn read(timeline: &Timeline, record: &TimelineRecord, [level, description]: [u8; 2]) -> AlertFact {
    AlertFact {
        level: AlertLevel::from_wire(level),
        description: Some(description.into()),
        ..unread_alert(timeline, record)
    }
}

fn unread_alert(timeline: &Timeline, record: &TimelineRecord) -> AlertFact {
    AlertFact {
        from: record.sender,
        level: None,
        description: None,
        length: record.length,
        after_close: is_after_close(timeline, record),
        last: is_last(timeline, record),
    }
}

/// Whether the other side had closed when this record came.
fn is_after_close(timeline: &Timeline, record: &TimelineRecord) -> bool {
    let at_us = timeline.nanos_at(record.at_us.into()) / 1000;
    timeline
        .closes
        .iter()
        .any(|close| close.sender != record.sender && close.time_ns / 1000 < at_us)
}

/// Whether the sender of this record closed and sent nothing after it but alerts.
fn is_last(timeline: &Timeline, record: &TimelineRecord) -> bool {
    let goes_on = timeline
        .records_of(record.sender)
        .any(|it| it.at_us > record.at_us && it.content_type != ALERT);
    let mut closes = timeline.closes.iter();
    !goes_on && closes.any(|close| close.sender == record.sender)
}
