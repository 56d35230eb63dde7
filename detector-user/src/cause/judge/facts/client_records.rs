//! The client's records after the server's flight.

use detector_common::flow::Sender;
use detector_common::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC};

use super::lengths::Lengths;
use crate::flow::timeline::Timeline;

/// Shape of the client's encrypted records.
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
    /// Application data of its own, for which it may have waited for an answer.
    pub used: bool,
    /// Its last record is an encrypted alert, up to TLS 1.2 by its type, in TLS 1.3 by its length.
    pub left_by_alert: bool,
    /// Its only data are a word sent together with its farewell: it waited for no answer.
    pub parting_word: bool,
    /// Its only data were sent together with its farewell, and it reset the connection upon the answer: it
    /// may have refused the certificate before.
    pub unheard: bool,
}

/// Bytes by which a record with an EndOfEarlyData message is longer than one with an alert.
const END_OF_EARLY_DATA: u16 = 2;

fn offers_early_data(timeline: &Timeline) -> bool {
    let hello = timeline.handshake.client_hello.as_ref();
    hello.is_some_and(|hello| hello.early_data)
}

/// Returns the number of records up to the server's hello, if the client sends early data before
/// it. They are use only if the server took them (RFC 8446 §4.2.10).
fn early_records(timeline: &Timeline) -> usize {
    if !offers_early_data(timeline) {
        return 0;
    }
    let mut records = timeline.records.iter();
    let hello = records.position(|record| record.sender == Sender::Server);
    hello.unwrap_or(timeline.records.len())
}

impl ClientRecords {
    /// Reads TLS 1.3, which shows the client's Finished, alerts and data as one type: place and
    /// length tell.
    pub(super) fn of_tls13(timeline: &Timeline, lengths: &Lengths) -> Self {
        // Header, empty context, empty list (RFC 8446 §4.4.2) instead of the alert's two bytes.
        let empty_certificate = lengths.alert + 6;
        let with_finished = lengths.finished + 8;
        let mut client = Self::default();
        let records = timeline.records.iter().skip(early_records(timeline));
        let encrypted = records.filter(|record| {
            record.sender == Sender::Client && record.content_type == APPLICATION_DATA
        });
        let mut early = offers_early_data(timeline);
        for record in encrypted {
            // Early data under way when the server's flight came, and the end of taken ones.
            if early && !lengths.is_finished(record) && !lengths.is_clients_alert(timeline, record)
            {
                let taken = record.length == lengths.alert + END_OF_EARLY_DATA;
                client.used |= taken && timeline.handshake.is_resumed() == Some(true);
                early = !taken;
                continue;
            }
            early = false;
            let alert = lengths.is_clients_alert(timeline, record);
            let finished = lengths.is_finished(record);
            client.left_by_alert = alert;
            match (client.finished, alert) {
                (true, true) => client.count_alert(),
                (true, false) => client.used = true,
                (false, true) => client.alert_for_finished = true,
                (false, false) if finished || record.length > lengths.finished => {
                    // Longer: a client certificate, empty or not, in one record with its followers.
                    client.finished = finished
                        || record.length == with_finished
                        || record.length > 2 * lengths.finished;
                    client.sent_certificate |= !finished;
                }
                (false, false) => {
                    client.sent_certificate |=
                        Lengths::is_padded_or_not(record.length, empty_certificate);
                }
            }
        }
        client
    }

    /// Reads versions up to TLS 1.2, where record types tell.
    pub(super) fn of_tls12(timeline: &Timeline) -> Self {
        let mut client = Self {
            sent_certificate: timeline.handshake.client_certificates.is_some(),
            ..Self::default()
        };
        for record in timeline.records_of(Sender::Client) {
            client.left_by_alert = record.content_type == ALERT;
            match record.content_type {
                CHANGE_CIPHER_SPEC => client.finished = true,
                ALERT if client.finished => client.count_alert(),
                // An empty record hides the IV of the next (the BEAST countermeasure).
                APPLICATION_DATA if record.length > 0 => client.used = true,
                _ => {}
            }
        }
        client
    }

    const fn count_alert(&mut self) {
        self.alerts_after_finished = self.alerts_after_finished.saturating_add(1);
    }
}
