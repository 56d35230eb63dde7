//! The leg behind an interceptor.

use detector_common::flow::Sender;

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Flaw;
use crate::verdict::Cause;

/// Tests whether the leg behind the interceptor failed before its client's leg did: then the
/// client's failure is the interceptor's answer to that.
pub(super) fn failed_first(case: Case<'_>) -> Holds<'_> {
    const SURE: f64 = 0.6;
    let leg = case.server_leg?;
    let client_failed_ns = case.facts.failed_ns().unwrap_or(u64::MAX);
    let first = leg.failed_ns <= client_failed_ns || leg.is_answered_without(case.facts);
    let first = first && !leg.facts.established;
    // An interceptor that closes in silence gives no reason for its client's failure.
    let telling = leg.cause != Cause::Abandoned && leg.confidence >= SURE;
    let evidence = leg.evidence.as_ref()?;
    (first && telling).then_some((Evidence::ServerLeg(evidence), 4.5 * leg.confidence))
}

pub(super) fn certificate(case: Case<'_>) -> Holds<'_> {
    let facts = case.facts;
    let leg = case.server_leg?.facts;
    let refused = facts.failure_alert_of(Sender::Client).is_some()
        || facts.client.alert_for_finished
        || (!facts.client.used && facts.closed_by(Sender::Client));
    let flaw = Flaw::first(leg.leaf()?, leg.timeline)?;
    (refused && !facts.established).then_some((Evidence::ServerLegCertificate(flaw), 4.0))
}
