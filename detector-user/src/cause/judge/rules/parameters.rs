//! Parameters that the two sides do not have in common.

use detector_common::flow::Sender;
use detector_common::record::HANDSHAKE;

use super::case::{Case, Holds};
use super::{client_auth, records};
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Facts;
use crate::flow::tls::extensions::MAX_FRAGMENT_LENGTH;
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

/// Whether the client answered a ServerHello of TLS 1.0 or 1.1 by internal_error, as OpenSSL 3 does
/// where its security level forbids them.
pub(super) fn is_old_version_refused(facts: &Facts<'_>) -> bool {
    let alert = facts.failure_alert_of(Sender::Client);
    alert.is_some_and(|alert| alert.is_one_of(&[InternalError]))
        && facts.is_before_tls12()
        && !facts.client.finished
}

pub(super) fn parameter_alert(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let alert = *facts.failure_alert()?;
    let old_version = is_old_version_refused(facts);
    if !(alert.is_one_of(&ABOUT_PARAMETERS) || old_version) || client_auth::is_about_key(facts) {
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

/// Whether the client asked for small fragments and turned away from a Certificate in several records.
pub(super) fn is_fragment_refused(facts: &Facts<'_>) -> bool {
    const FRAGMENTS: [u16; 4] = [512, 1024, 2048, 4096];
    let hello = facts.timeline.handshake.client_hello.as_ref();
    let asked = hello.is_some_and(|hello| hello.has_extension(MAX_FRAGMENT_LENGTH));
    let mut records = facts.timeline.records_of(Sender::Server);
    asked
        && facts.turned_away()
        && records.any(|it| it.content_type == HANDSHAKE && FRAGMENTS.contains(&it.length))
}

pub(super) fn fragmented_certificate(case: Case<'_>) -> Holds<'_> {
    is_fragment_refused(case.facts).then_some((Evidence::FragmentedCertificate, 1.6))
}
