//! Clients that lack a certificate, or whose certificate the server refuses.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Facts;
use crate::flow::tls::names::cipher_suite;
use crate::verdict::AlertDescription::{
    BadRecordMac, CertificateRequired, DecryptError, HandshakeFailure, IllegalParameter,
    UnknownPskIdentity,
};

pub(super) fn server_refuses_client(case: Case<'_>) -> Holds<'_> {
    let alert = *case.facts.failure_alert_of(Sender::Server)?;
    let about_client = alert.is_about_certificate() || alert.is_one_of(&[CertificateRequired]);
    let vague = || alert.is_one_of(&[HandshakeFailure]) && case.facts.asked_client();
    (about_client || vague()).then_some((Evidence::ServerRefusesClient(alert), 3.0))
}

/// Whether, in TLS 1.3, the server answered the client's last flight with nothing but an alert.
pub(super) fn is_refused_by_server(facts: &Facts<'_>) -> bool {
    facts.is_tls13()
        && facts.client.finished
        && facts.server_alert_at_end
        && !facts.server_answered
        && (facts.client.used || !facts.server_took_finished)
        && !facts.established
        && facts.farewell == Some(Sender::Server)
}

pub(super) fn server_alert_after_flight(case: Case<'_>) -> Holds<'_> {
    (is_refused_by_server(case.facts) && case.facts.client.sent_certificate)
        .then_some((Evidence::ServerAlertAfterFlight, 2.4))
}

/// Whether the server refused the client's pre-shared key: in TLS 1.3 the proof of it in the hello, before
/// that the first record under it.
pub(super) fn is_about_key(facts: &Facts<'_>) -> bool {
    let Some(alert) = facts.failure_alert_of(Sender::Server) else {
        return false;
    };
    if alert.is_one_of(&[UnknownPskIdentity]) {
        return true;
    }
    let handshake = &facts.timeline.handshake;
    let hello = handshake.client_hello.as_ref();
    let offered = hello.is_some_and(|hello| hello.pre_shared_key) && !facts.server_hello;
    let suite = handshake.cipher_suite().and_then(cipher_suite);
    let chosen = suite.is_some_and(|suite| suite.contains("_PSK_")) && facts.client.finished;
    offered && alert.is_one_of(&[IllegalParameter, DecryptError])
        || chosen && !facts.client.used && alert.is_one_of(&[BadRecordMac, DecryptError])
}

pub(super) fn pre_shared_key(case: Case<'_>) -> Holds<'_> {
    let alert = *case.facts.failure_alert_of(Sender::Server)?;
    is_about_key(case.facts).then_some((Evidence::PreSharedKey(alert), 2.6))
}

pub(super) fn certificate_requested(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let handshake = &facts.timeline.handshake;
    // Many servers ask and go on without one.
    let at_once = !facts.waited_for_client();
    let ended_by_server = facts.closed_by(Sender::Server) && !facts.client.used && at_once;
    let by_server = facts.failure_alert_of(Sender::Server).is_some();
    let concerned = by_server || ended_by_server;
    if facts.established || !handshake.certificate_request || !concerned {
        return None;
    }
    let client_has_one = handshake.client_certificates? > 0;
    Some((
        Evidence::CertificateRequested { client_has_one },
        if by_server { 1.0 } else { 0.5 },
    ))
}
