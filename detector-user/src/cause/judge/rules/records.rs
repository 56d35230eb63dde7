//! Records and messages that a side could not decrypt, decode or verify, or did not finish.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use super::client_auth;
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Sign;
use crate::flow::timeline::CloseKind;
use crate::flow::tls::names::is_finite_field;
use crate::verdict::AlertDescription::{
    self, BadRecordMac, DecodeError, DecompressionFailure, DecryptError, DecryptionFailed,
    HandshakeFailure, IllegalParameter, InternalError, RecordOverflow, UnexpectedMessage,
};

const ABOUT_RECORDS: [AlertDescription; 8] = [
    UnexpectedMessage,
    BadRecordMac,
    DecryptionFailed,
    RecordOverflow,
    DecompressionFailure,
    DecodeError,
    DecryptError,
    InternalError,
];

pub(super) fn decrypt_alert(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let alert = *facts.failure_alert()?;
    if facts.is_internal_error_after_flight()
        || facts.is_old_version_refused()
        || facts.sent_no_hello()
        || (facts.before_certificate() && alert.is_one_of(&[InternalError]))
        || client_auth::is_about_key(facts)
    {
        return None;
    }
    let weight = if alert.is_one_of(&[InternalError]) {
        1.5
    } else {
        2.8
    };
    alert
        .is_one_of(&ABOUT_RECORDS)
        .then_some((Evidence::DecryptAlert(alert), weight))
}

/// Finds, up to TLS 1.2, handshake_failure or illegal_parameter once the server has chosen
/// everything and signed it. A finite-field group is chosen as late, and refused as too small.
pub(super) fn key_exchange_refused(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let handshake = &facts.timeline.handshake;
    let alert = *facts.failure_alert_of(Sender::Client)?;
    let finite_field = handshake.cipher_suite().is_none_or(is_finite_field);
    let refused = alert.is_one_of(&[HandshakeFailure, IllegalParameter])
        && handshake.server_hello_done
        && !facts.is_tls13()
        && !facts.before_certificate()
        && !finite_field;
    refused.then_some((Evidence::KeyExchangeRefused(alert), 1.8))
}

pub(super) fn cut_short(case: Case<'_>) -> Holds<'_> {
    let cut = *case.facts.left_unfinished()?;
    (cut.kind == CloseKind::Fin).then_some((Evidence::CutShort(cut), 2.5))
}

/// Weighs an encrypted alert amid data. In TLS 1.3 only length and place show that it is one.
pub(super) fn alert_amid_data(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let alert = facts.alert_amid_data?;
    let weight = match (alert.sign, facts.is_tls13()) {
        (Sign::Twice, _) => 1.6,
        (Sign::WhileSending, false) => 1.4,
        (Sign::WhileSending, true) => 1.0,
        (Sign::ForRequest, false) => 0.8,
        (Sign::ForRequest, true) => 0.6,
    };
    Some((Evidence::AlertAmidData(alert), weight))
}

pub(super) fn server_alert_for_data(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    if facts.answers_first_data_by_alert() {
        return Some((Evidence::ServerAlertForData, 0.8));
    }
    // A server that closes at once in order looks the same, unless the client sent data.
    let refused = client_auth::is_refused_by_server(facts) && facts.client.used;
    (refused && !facts.client.sent_certificate && !facts.gaps)
        .then_some((Evidence::ServerAlertForData, 1.5))
}
