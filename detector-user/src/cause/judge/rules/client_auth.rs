//! Clients that lack a certificate, or whose certificate the server refuses.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Facts;
use crate::verdict::AlertDescription::{
    self, AccessDenied, BadCertificate, CertificateExpired, CertificateRequired,
    CertificateRevoked, CertificateUnknown, HandshakeFailure, UnknownCa, UnsupportedCertificate,
};

/// Alerts that are about the client's certificate where the server sends them.
const ABOUT_CLIENT: [AlertDescription; 8] = [
    BadCertificate,
    UnsupportedCertificate,
    CertificateRevoked,
    CertificateExpired,
    CertificateUnknown,
    UnknownCa,
    AccessDenied,
    CertificateRequired,
];

pub(super) fn server_refuses_client(case: Case<'_>) -> Holds<'_> {
    let alert = *case.facts.failure_alert_of(Sender::Server)?;
    let vague = || alert.is_one_of(&[HandshakeFailure]) && case.facts.asked_client();
    (alert.is_one_of(&ABOUT_CLIENT) || vague())
        .then_some((Evidence::ServerRefusesClient(alert), 3.0))
}

/// TLS 1.3: whether the server answered the client's last flight with nothing but an alert.
pub(super) fn is_refused_by_server(facts: &Facts<'_>) -> bool {
    facts.is_tls13()
        && facts.client.finished
        && facts.server_alert_at_end
        && !facts.server_answered
        && !facts.established
        && facts.farewell == Some(Sender::Server)
}

pub(super) fn server_alert_after_flight(case: Case<'_>) -> Holds<'_> {
    (is_refused_by_server(case.facts) && case.facts.client.sent_certificate)
        .then_some((Evidence::ServerAlertAfterFlight, 2.4))
}

pub(super) fn certificate_requested(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let handshake = &facts.timeline.handshake;
    if facts.established || !handshake.certificate_request {
        return None;
    }
    let client_has_one = handshake.client_certificates? > 0;
    let by_server = facts.failure_alert_of(Sender::Server).is_some();
    Some((
        Evidence::CertificateRequested { client_has_one },
        if by_server { 1.0 } else { 0.5 },
    ))
}
