//! Parameters that the two sides do not have in common.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use super::{client_auth, records};
use crate::cause::judge::evidence::Evidence;
use crate::verdict::AlertDescription::{
    self, HandshakeFailure, IllegalParameter, InappropriateFallback, InsufficientSecurity,
    InternalError, MissingExtension, NoApplicationProtocol, ProtocolVersion, UnrecognizedName,
    UnsupportedExtension,
};

const ABOUT_PARAMETERS: [AlertDescription; 9] = [
    HandshakeFailure,
    IllegalParameter,
    ProtocolVersion,
    InsufficientSecurity,
    InappropriateFallback,
    MissingExtension,
    UnsupportedExtension,
    UnrecognizedName,
    NoApplicationProtocol,
];

pub(super) fn parameter_alert(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let alert = *facts.failure_alert()?;
    let old_version = facts.is_old_version_refused();
    let no_hello = facts.sent_no_hello() && alert.from == Sender::Client;
    let about = alert.is_one_of(&ABOUT_PARAMETERS) || old_version || no_hello;
    if !about || client_auth::is_about_key(facts) {
        return None;
    }
    // handshake_failure says little: rustls sends it when a verifier refuses, servers when they
    // miss a client certificate.
    let vague = alert.is_one_of(&[HandshakeFailure])
        && (alert.from == Sender::Client || facts.asked_client());
    let weight = if vague || records::key_exchange_refused(case).is_some() {
        0.9
    } else {
        2.8
    };
    Some((Evidence::ParameterAlert(alert), weight))
}

/// Tests whether the client refused by an alert, of any kind, what it had read by then: the ServerHello
/// without the certificate.
pub(super) fn alert_before_certificate(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let alert = *facts.failure_alert_of(Sender::Client)?;
    let is_vague = alert.is_about_certificate() || alert.is_one_of(&[InternalError]);
    (facts.before_certificate() && is_vague && !facts.is_old_version_refused())
        .then_some((Evidence::AlertBeforeCertificate(alert), 1.0))
}

pub(super) fn fragmented_certificate(case: Case<'_>) -> Holds<'_> {
    case.facts
        .is_fragment_refused()
        .then_some((Evidence::FragmentedCertificate, 1.6))
}
