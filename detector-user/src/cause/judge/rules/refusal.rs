//! Refusals of a certificate by the client.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Flaw;
use crate::flow::timeline::CloseKind;
use crate::verdict::AlertDescription::{
    AccessDenied, BadCertificate, BadCertificateHashValue, BadCertificateStatusResponse,
    CertificateUnknown, CloseNotify, UnknownCa, UnsupportedCertificate,
};
use crate::verdict::{AlertDescription, Intercepted};

/// Alerts about a certificate, and about stapled and fetched ones.
const ABOUT_THE_CERTIFICATE: [AlertDescription; 7] = [
    BadCertificate,
    UnsupportedCertificate,
    CertificateUnknown,
    UnknownCa,
    AccessDenied,
    BadCertificateStatusResponse,
    BadCertificateHashValue,
];

pub(super) fn certificate_alert(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let alert = *facts.failure_alert_of(Sender::Client)?;
    let vague = facts.is_internal_error_after_flight();
    if facts.before_certificate() {
        return None;
    }
    if !alert.is_one_of(&ABOUT_THE_CERTIFICATE) && !vague {
        return None;
    }
    let weight = if vague && !has_flaw(case) {
        1.8
    } else if has_flaw(case) {
        0.6
    } else if may_hide_flaw(case) {
        2.0
    } else {
        3.0
    };
    let after_flight = facts.is_tls13();
    Some((
        Evidence::CertificateAlert {
            alert,
            after_flight,
        },
        weight,
    ))
}

/// Whether the certificate has a visible flaw, so that any client would refuse it.
fn has_flaw(case: Case<'_>) -> bool {
    let leaf = case.facts.leaf();
    leaf.is_some_and(|leaf| Flaw::first(leaf, case.facts.timeline).is_some())
}

/// Whether the certificate is encrypted and the origin's own, for all one knows: then it may be one
/// that every client refuses. Interceptors seldom show such.
fn may_hide_flaw(case: Case<'_>) -> bool {
    case.intercepted != Intercepted::Yes && case.facts.is_tls13()
}

pub(super) fn alert_for_finished(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let holds = facts.is_tls13()
        && facts.client.alert_for_finished
        && !facts.misses_of(Sender::Client)
        && !facts.client.finished
        && facts.server_flight()
        && !facts.resumed;
    let weight = if may_hide_flaw(case) { 1.7 } else { 2.2 };
    holds.then_some((Evidence::AlertForFinished, weight))
}

pub(super) fn silent_refusal(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    if !facts.turned_away() || facts.idled() || facts.is_fragment_refused() {
        return None;
    }
    // A reset in the middle is also how a client gives up; a program refuses at once, a person does
    // not give up within milliseconds.
    let by_fin = matches!(case.facts.first_close, Some((_, CloseKind::Fin)));
    let weight = match case.intercepted {
        _ if has_flaw(case) => 0.3,
        Intercepted::Yes => 1.6,
        Intercepted::Unknown if by_fin && case.facts.left_at_once() => 1.2,
        Intercepted::Unknown => 0.6,
        // A browser that has another connection to the same server drops its spare ones.
        Intercepted::No => 0.2,
    };
    let after_ms = facts.waited_ns().map(|waited_ns| waited_ns / 1_000_000);
    Some((Evidence::SilentRefusal { after_ms }, weight))
}

/// Returns whether the client took leave in the clear, as the protocol that TLS was started in
/// does.
pub(super) fn left_tls(case: Case<'_>) -> Holds<'_> {
    if !case.facts.left_tls() || case.facts.is_fragment_refused() {
        return None;
    }
    let weight = match case.intercepted {
        _ if has_flaw(case) => 0.3,
        Intercepted::Yes => 1.8,
        _ => 1.2,
    };
    Some((Evidence::LeftTls, weight))
}

/// Tests whether the client was silent for as long as s2n-tls is after a failure, and then took
/// leave in the clear as if nothing had been.
pub(super) fn blinded(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let mut alerts = facts.alerts.iter();
    let took_leave = alerts.any(|it| it.from == Sender::Client && it.is_one_of(&[CloseNotify]));
    let waited_s = facts.waited_ns()? / 1_000_000_000;
    (facts.turned_away() && took_leave && (9..=35).contains(&waited_s))
        .then_some((Evidence::Blinded, 1.3))
}

pub(super) fn unused_after_handshake(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    // Of a resumed session no certificate was shown: there was nothing to refuse. Nor was there
    // without an interceptor: browsers open such connections to spare.
    let direct = case.intercepted == Intercepted::No;
    let may_be_ech = facts.ends_as_refused_ech() && !case.ech_is_grease;
    if !facts.unused() || facts.resumed || facts.idled() || direct || may_be_ech {
        return None;
    }
    let twice = facts.client.alerts_after_finished >= 2;
    let weight = match (case.intercepted, twice) {
        _ if has_flaw(case) => 0.3,
        // It may as well have had no more to say.
        _ if facts.client.parting_word => 0.5,
        (Intercepted::Yes, true) => 1.8,
        (Intercepted::Yes, false) => 1.4,
        (_, true) => 1.2,
        (_, false) => 0.8,
    };
    Some((Evidence::UnusedAfterHandshake, weight))
}
