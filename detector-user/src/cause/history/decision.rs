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
    /// Probability that the client did.
    pub(super) refusal: f64,
    pub(super) evidence: Vec<Evidence>,
    pub(super) advice: Option<String>,
    pub(super) pan_os: Option<&'static str>,
}

/// Returns cause and confidence of a verdict with what others decided about it.
pub(super) fn outcome(alone: &Verdict, decision: Option<&Decision>) -> (Cause, f64) {
    let unchanged = (alone.cause, alone.confidence);
    let Some(decision) = decision else {
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

/// Returns the verdict with what others decided about it; a copy only if that changes it.
pub(super) fn decided(alone: &Arc<Verdict>, decision: Option<&Decision>) -> Arc<Verdict> {
    let mut verdict = Arc::clone(alone);
    let (cause, confidence) = outcome(alone, decision);
    let Some(decision) = decision.filter(|it| it.cause == cause) else {
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
