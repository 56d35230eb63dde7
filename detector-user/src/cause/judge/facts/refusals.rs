//! Refusals that are told by the place of an alert, or by the client's own requests.

use detector_common::flow::Sender;
use detector_common::record::{ALERT, APPLICATION_DATA, HANDSHAKE};

use super::Facts;
use crate::flow::timeline::TimelineRecord;
use crate::flow::tls::extensions::MAX_FRAGMENT_LENGTH;
use crate::verdict::AlertDescription::InternalError;

impl Facts<'_> {
    /// Whether the client answered the server's flight by internal_error: a check of the application's own
    /// in the library's verify callback failed.
    pub fn is_internal_error_after_flight(&self) -> bool {
        let alert = self.failure_alert_of(Sender::Client);
        alert.is_some_and(|alert| alert.is_one_of(&[InternalError]))
            && self.server_flight()
            && !self.client.finished
            && !self.resumed
            && !self.is_before_tls12()
    }

    /// Whether, up to TLS 1.2, the server answered the client's first data by nothing but an
    /// encrypted alert, and closed. That may be its close_notify, if it has nothing to say.
    pub fn answers_first_data_by_alert(&self) -> bool {
        const PROMPT_US: u32 = 1_000_000;
        const FIRST: usize = 2;
        let is_data = |it: &&TimelineRecord| it.content_type == APPLICATION_DATA && it.length > 0;
        let data: Vec<_> = self
            .timeline
            .records_of(Sender::Client)
            .filter(is_data)
            .collect();
        let Some(first) = data.first().filter(|_| data.len() <= FIRST) else {
            return false;
        };
        let answered = self
            .timeline
            .records_of(Sender::Server)
            .any(|it| is_data(&it));
        let mut alerts = self.timeline.records_of(Sender::Server);
        let is_alert = alerts.any(|it| {
            it.content_type == ALERT
                && (first.at_us..=first.at_us.saturating_add(PROMPT_US)).contains(&it.at_us)
        });
        let encrypted = || {
            let mut alerts = self.encrypted_alerts().into_iter();
            alerts.any(|it| it.from == Sender::Server)
        };
        let at_once = self.closed_by(Sender::Server) && !self.gaps;
        !self.is_tls13() && is_alert && !answered && at_once && !self.established && encrypted()
    }

    /// Whether the client answered a ServerHello of TLS 1.0 or 1.1 by internal_error, as OpenSSL 3 does
    /// where its security level forbids them.
    pub fn is_old_version_refused(&self) -> bool {
        let alert = self.failure_alert_of(Sender::Client);
        alert.is_some_and(|alert| alert.is_one_of(&[InternalError]))
            && self.is_before_tls12()
            && !self.client.finished
    }

    /// Whether it ends as of a client whose ECH was refused (RFC 9849 §6.1.6): it offered ECH, ended the
    /// handshake with the public name, and sent an alert behind its Finished, before any data. A client
    /// that offers GREASE and checks a pin after the handshake ends the same.
    pub fn ends_as_refused_ech(&self) -> bool {
        let hello = self.timeline.handshake.client_hello.as_ref();
        hello.is_some_and(|hello| hello.ech.is_some())
            && self.is_tls13()
            && self.unused()
            && !self.resumed
            && !self.idled()
            && self.client.alerts_after_finished > 0
    }

    /// Whether the client asked for small fragments and turned away from a Certificate in several records.
    pub fn is_fragment_refused(&self) -> bool {
        const FRAGMENTS: [u16; 4] = [512, 1024, 2048, 4096];
        let hello = self.timeline.handshake.client_hello.as_ref();
        let asked = hello.is_some_and(|hello| hello.has_extension(MAX_FRAGMENT_LENGTH));
        let mut records = self.timeline.records_of(Sender::Server);
        asked
            && self.turned_away()
            && records.any(|it| it.content_type == HANDSHAKE && FRAGMENTS.contains(&it.length))
    }
}
