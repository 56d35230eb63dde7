//! Decisions by the evidence of other connections, and verdicts in their light.

use std::sync::Arc;

use crate::cause::judge::CONFIDENCE_MAX;
use crate::verdict::{Cause, Evidence, Verdict};

/// The cause of a refusal by the evidence of other connections.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) cause: Cause,
    /// Confidence in the cause if the client did refuse.
    pub(super) confidence: f64,
    /// Whether it is likely enough to be told.
    pub(super) told: bool,
    /// The posterior of each cause if the client did refuse.
    pub(super) shares: [(Cause, f64); 3],
    /// Probability that the client did.
    pub(super) refusal: f64,
    /// Whether other connections speak to it, and not the refusal alone.
    pub(super) by_others: bool,
    pub(super) evidence: Vec<Evidence>,
    pub(super) advice: Option<String>,
    pub(super) pan_os: Option<&'static str>,
}

/// Returns cause and confidence of a verdict with what others decided about it.
pub(super) fn outcome(alone: &Verdict, decision: Option<&Decision>) -> (Cause, f64) {
    let unchanged = (alone.cause, alone.confidence);
    let Some(decision) = decision.filter(|it| it.told) else {
        return unchanged;
    };
    let refusal = match alone.cause {
        Cause::CertificateRejected => alone.confidence,
        _ => 0.0,
    };
    let confidence = decision.confidence * decision.refusal.max(refusal);
    if confidence < 0.5 && alone.cause != Cause::CertificateRejected {
        return unchanged;
    }
    (decision.cause, confidence.min(CONFIDENCE_MAX))
}

/// Returns the probability that is left of a cause that was told, or of none being told.
pub(super) fn left_of(cause: Cause, decision: Option<&Decision>) -> f64 {
    let Some(decision) = decision else {
        return 1.0;
    };
    let shares = decision.shares.iter();
    match shares.into_iter().find(|(known, _)| *known == cause) {
        Some((_, share)) => *share,
        None if decision.told => 1.0 - decision.confidence,
        None => 1.0,
    }
}

/// Returns the verdict with what others decided about it; a copy only if that changes it.
pub(super) fn decided(alone: &Arc<Verdict>, decision: Option<&Decision>) -> Arc<Verdict> {
    let mut verdict = Arc::clone(alone);
    let (cause, confidence) = outcome(alone, decision);
    let Some(decision) = decision.filter(|it| it.told && it.cause == cause) else {
        return verdict;
    };
    let changed = Arc::make_mut(&mut verdict);
    changed.cause = cause;
    changed.confidence = confidence;
    changed.pan_os = decision.pan_os.map(str::to_owned);
    changed.advice = decision.advice.clone();
    changed.evidence.extend(decision.evidence.iter().cloned());
    changed
        .evidence
        .sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    verdict
}
