//! Encrypted records of TLS 1.3, told apart by their length.

use detector_common::flow::Sender;
use detector_common::record::APPLICATION_DATA;

use crate::flow::timeline::{Timeline, TimelineRecord};
use crate::flow::tls::Handshake;
use crate::flow::tls::extensions::APPLICATION_SETTINGS;
use crate::flow::tls::names::{RecordLengths, tls13_lengths};

/// JSSE pads its ciphertexts by this many bytes (measured: Java 17).
const JSSE_PADDING: u16 = 16;

/// Bytes of an EncryptedExtensions message with an empty application_settings extension (measured:
/// Chromium).
const CLIENT_SETTINGS: u16 = 10;

/// Lengths under the suite agreed on; those of AES-128-GCM where it is not known.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    /// Bytes of a record with a Finished and nothing else.
    pub(super) finished: u16,
    /// Bytes of a record with an alert and nothing else.
    pub(super) alert: u16,
    tls13: bool,
    /// Whether the client's EncryptedExtensions may come before its Finished, in one record.
    alps: bool,
}

impl Lengths {
    pub(super) fn of(handshake: &Handshake, tls13: bool) -> Self {
        let suite = handshake.cipher_suite();
        let hello = handshake.client_hello.as_ref();
        let offers = |kind: &u16| hello.is_some_and(|hello| hello.has_extension(*kind));
        const AES_128_GCM: RecordLengths = RecordLengths {
            finished: 53,
            alert: 19,
        };
        let RecordLengths { finished, alert } =
            suite.and_then(tls13_lengths).unwrap_or(AES_128_GCM);
        Self {
            finished,
            alert,
            tls13,
            alps: APPLICATION_SETTINGS.iter().any(offers),
        }
    }

    /// Whether a length is this, padded or not.
    pub(super) fn is_padded_or_not(length: u16, expected: u16) -> bool {
        length == expected || length == expected + JSSE_PADDING
    }

    /// Whether a record is as long as a Finished.
    pub(super) fn is_finished(&self, record: &TimelineRecord) -> bool {
        Self::is_padded_or_not(record.length, self.finished)
            || (self.alps && record.length == self.finished + CLIENT_SETTINGS)
    }

    /// Whether a record is as long as an alert; up to TLS 1.2 their type tells.
    pub(super) fn is_alert(&self, record: &TimelineRecord) -> bool {
        self.tls13 && Self::is_padded_or_not(record.length, self.alert)
    }

    /// Whether a record of the client's is as long as an alert of its would be. A client whose
    /// Finished is not padded pads no alert: a record as long as a padded one is data then.
    pub(super) fn is_clients_alert(&self, timeline: &Timeline, record: &TimelineRecord) -> bool {
        let is_padded = record.length == self.alert + JSSE_PADDING;
        self.is_alert(record) && !(is_padded && self.client_pads(timeline) == Some(false))
    }

    /// Returns whether the client's Finished is padded; `None` if none stands alone in its record.
    fn client_pads(&self, timeline: &Timeline) -> Option<bool> {
        timeline
            .records_of(Sender::Client)
            .filter(|it| it.content_type == APPLICATION_DATA)
            .find_map(|it| match it.length.checked_sub(self.finished) {
                Some(0) => Some(false),
                Some(CLIENT_SETTINGS) if self.alps => Some(false),
                Some(JSSE_PADDING) => Some(true),
                _ => None,
            })
    }
}
