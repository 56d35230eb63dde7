//! Decisions by the evidence of other connections, and verdicts in their light: only these have
//! sentences.

use std::sync::Arc;

use super::signs::Finding;
use crate::cause::judge::CONFIDENCE_MAX;
use crate::verdict::{Cause, Evidence, Verdict, When};

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
    /// The findings that decided it; none if it is not told.
    pub(super) evidence: Vec<Weighed>,
    /// Whether the connections are known to have been intercepted.
    pub(super) interception_known: bool,
    /// Whether other apps on the client accept the interceptor.
    pub(super) other_apps_accept: bool,
}

/// A finding, and the log-odds that it brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weighed {
    pub(super) finding: Finding,
    pub(super) weight: f64,
}

impl Weighed {
    /// Puts it into words; `None` if its sign is not in the table, which a test excludes.
    fn written(&self) -> Option<Evidence> {
        Some(Evidence {
            name: self.finding.sign.row()?.name.to_owned(),
            detail: self.finding.to_string(),
            weight: self.weight,
        })
    }
}

impl Decision {
    /// Writes it into a verdict, as its cause with this confidence.
    fn write(&self, verdict: &mut Verdict, confidence: f64) {
        let holds = |when| self.holds(when);
        verdict.cause = self.cause;
        verdict.confidence = confidence;
        verdict.pan_os = self.cause.pan_os(holds).map(str::to_owned);
        verdict.advice = self.cause.advice("this name", holds);
        let evidence = &mut verdict.evidence;
        evidence.extend(self.evidence.iter().filter_map(Weighed::written));
        evidence.extend((!self.interception_known).then(|| {
            Evidence {
                name: "interception-unknown".to_owned(),
                detail: "nothing shows whether these connections were intercepted: tell it by \
                     --intercepted or --inspection-ca"
                    .to_owned(),
                weight: 0.0,
            }
        }));
        evidence.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    }

    /// Whether a circumstance, on which the wording of advice depends, holds.
    const fn holds(&self, when: When) -> bool {
        match when {
            When::Always | When::RefusedFromInterceptorOnly => true,
            When::OtherAppsAccept => self.other_apps_accept,
            When::ClientIsInterceptor
            | When::NotIntercepted
            | When::ResetIsAllOfItsSender
            | When::ResetInClientsName
            | When::HandshakeFinished => false,
        }
    }
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
    decision.write(Arc::make_mut(&mut verdict), confidence);
    verdict
}
