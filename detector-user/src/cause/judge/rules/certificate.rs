//! The server's own certificate, refused for a flaw.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Flaw;
use crate::flow::tls::certificate::Leaf;
use crate::verdict::AlertDescription::{CertificateExpired, CertificateRevoked};
use crate::verdict::Intercepted;

pub(super) fn validity_alert(case: Case<'_>) -> Holds<'_> {
    let alert = *case.facts.failure_alert_of(Sender::Client)?;
    // An interceptor copies the origin's dates, or has outdated ones of its own.
    let weight = if case.intercepted == Intercepted::Yes {
        2.0
    } else {
        2.8
    };
    (!case.facts.before_certificate() && alert.is_one_of(&[CertificateRevoked, CertificateExpired]))
        .then_some((Evidence::ValidityAlert(alert), weight))
}

/// Returns the leaf, if the client refused it, and the weight of a flaw of it. A client that leaves
/// without a word may not have looked.
fn refused_leaf<'f>(case: Case<'f>) -> Option<(&'f Leaf, f64)> {
    let facts = case.facts;
    let quietly = !facts.idled() && !facts.established;
    // It was about something else.
    if facts.before_certificate() || facts.is_old_version_refused() || facts.is_fragment_refused() {
        return None;
    }
    let weight = if facts.failure_alert_of(Sender::Client).is_some() {
        3.2
    } else if (facts.turned_away() || facts.left_tls()) && quietly {
        2.2
    } else if facts.unused() && quietly && facts.left_soon() {
        1.6
    } else {
        return None;
    };
    (!facts.established).then_some((facts.leaf()?, weight))
}

pub(super) fn outdated(case: Case<'_>) -> Holds<'_> {
    let (leaf, weight) = refused_leaf(case)?;
    let flaw = Flaw::of_dates(leaf, case.facts.timeline)?;
    Some((Evidence::Certificate(flaw), weight))
}

pub(super) fn for_another_name(case: Case<'_>) -> Holds<'_> {
    let (leaf, weight) = refused_leaf(case)?;
    let flaw = Flaw::of_name(leaf, case.facts.timeline)?;
    Some((Evidence::Certificate(flaw), weight))
}

pub(super) fn self_signed(case: Case<'_>) -> Holds<'_> {
    let (leaf, weight) = refused_leaf(case)?;
    let facts = case.facts;
    // A check of a service, which may well have such a certificate, takes leave in order.
    if facts.unused() && facts.took_leave_in_order(Sender::Client) {
        return None;
    }
    let flaw = Flaw::of_issuer(leaf)?;
    Some((Evidence::Certificate(flaw), weight))
}
