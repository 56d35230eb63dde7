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
    alert
        .is_one_of(&[CertificateRevoked, CertificateExpired])
        .then_some((Evidence::ValidityAlert(alert), weight))
}

/// The leaf, if the client refused it, and whether the client said so.
fn refused_leaf<'f>(case: Case<'f>) -> Option<(&'f Leaf, bool)> {
    let facts = case.facts;
    let said = facts.failure_alert_of(Sender::Client).is_some();
    let quietly = (facts.unused() || facts.turned_away()) && !facts.idled;
    let refused = (said || quietly) && !facts.established;
    refused.then_some((facts.leaf()?, said))
}

pub(super) fn outdated(case: Case<'_>) -> Holds<'_> {
    let (leaf, _) = refused_leaf(case)?;
    let flaw = Flaw::of_dates(leaf, case.facts.timeline)?;
    Some((Evidence::Certificate(flaw), 3.2))
}

pub(super) fn for_another_name(case: Case<'_>) -> Holds<'_> {
    let (leaf, _) = refused_leaf(case)?;
    let flaw = Flaw::of_name(leaf, case.facts.timeline)?;
    Some((Evidence::Certificate(flaw), 3.2))
}

pub(super) fn self_signed(case: Case<'_>) -> Holds<'_> {
    let (leaf, said) = refused_leaf(case)?;
    // Services with certificates of their own making are closed unused as others are.
    if !said && case.facts.client.finished {
        return None;
    }
    let flaw = Flaw::of_issuer(leaf)?;
    Some((Evidence::Certificate(flaw), if said { 3.2 } else { 1.2 }))
}
