//! A verdict in the light of what other connections decided.

use std::sync::Arc;

use super::decide::{Decision, decide};
use super::fact::{Fact, Triple};
use super::facts::{Change, Facts};
use super::refusals::Refusals;
use crate::cause::judge::CONFIDENCE_MAX;
use crate::verdict::{Cause, Evidence, Intercepted, Verdict};

/// Factor on the confidence of a decision that does not know of an interceptor.
const UNSEEN_INTERCEPTOR: f64 = 0.8;

/// Facts by what is known of their connections' interception.
#[derive(Default)]
pub(super) struct FactsByStatus {
    /// Of connections that were intercepted.
    intercepted: Facts,
    /// Of connections that may have been: what they show of a missing CA holds either way.
    perhaps: Facts,
}

impl FactsByStatus {
    /// Records a fact, and returns which decisions it changes.
    pub(super) fn record(&mut self, fact: &Fact, intercepted: bool) -> Change {
        if intercepted {
            self.intercepted.record(fact)
        } else {
            self.perhaps.record(fact)
        }
    }

    /// Returns the refusals whose decision a fact may change.
    pub(super) fn concerned(&self, fact: &Fact, intercepted: bool, change: Change) -> Vec<Triple> {
        let facts = if intercepted {
            &self.intercepted
        } else {
            &self.perhaps
        };
        facts.concerned(fact, change)
    }

    /// Decides the cause of a refusal by the facts at `now_s`, seconds since the UNIX epoch. Pinning
    /// is only said of what was intercepted; a client that accepts nobody lacks the CA, whoever has
    /// signed, only less surely the inspection CA.
    pub(super) fn decide(
        &self,
        status: Intercepted,
        triple: &Triple,
        refusals: &Refusals,
        now_s: u64,
    ) -> Option<Decision> {
        match status {
            Intercepted::Yes => decide(&self.intercepted, triple, refusals, now_s),
            Intercepted::No => None,
            Intercepted::Unknown => {
                let mut decision = decide(&self.perhaps, triple, refusals, now_s)
                    .filter(|decision| decision.cause == Cause::CaNotTrusted)?;
                decision.confidence *= UNSEEN_INTERCEPTOR;
                decision.evidence.push(Evidence {
                    name: "interception-unknown".to_owned(),
                    detail: "nothing shows whether these connections were intercepted: tell it by \
                             --intercepted or --inspection-ca"
                        .to_owned(),
                    weight: 0.0,
                });
                Some(decision)
            }
        }
    }
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
