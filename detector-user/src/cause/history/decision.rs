//! Decisions by the evidence of other connections, and verdicts in their light.

use std::sync::Arc;

use super::decide::{Reasons, Shares};
use super::origins::{OriginAnswer, Question};
use crate::cause::runtime::with_setting;
use crate::verdict::{Cause, Evidence, Intercepted, Verdict, When};

/// Maximum confidence. Many connections leave less doubt than one does, but their signs depend on each other.
const DECIDED_MAX: f64 = 0.99;

/// The cause of a refusal by the evidence of other connections.
pub(super) struct Decision {
    pub(super) cause: Cause,
    /// Confidence in the cause.
    pub(super) confidence: f64,
    /// Whether it is likely enough to be told.
    pub(super) told: bool,
    /// The posterior of each cause.
    pub(super) shares: Shares,
    /// Whether other connections speak to it, and not the refusal alone.
    pub(super) by_others: bool,
    /// Whether nothing shows if the connections were intercepted.
    pub(super) interceptor_unseen: bool,
    /// Whether they were not intercepted.
    pub(super) direct: bool,
    /// The origin's answer, if it was asked.
    pub(super) origin: Option<OriginAnswer>,
    /// Whether other apps on the client accept the interceptor.
    pub(super) other_apps_accept: bool,
    /// The evidence that it rests on facts of other gateways.
    pub(super) fleet: Option<Evidence>,
    /// From which the evidence is told: sentences of decisions that change nothing are never needed.
    pub(super) reasons: Reasons,
}

impl Decision {
    fn evidence(&self, intercepted: Intercepted) -> Vec<Evidence> {
        let mut evidence = self.reasons.evidence(self.cause, intercepted);
        evidence.extend(self.fleet.clone());
        if self.interceptor_unseen {
            evidence.push(Evidence {
                name: "interception-unknown".to_owned(),
                detail: "nothing shows whether these connections were intercepted: tell it by \
                         --intercepted or --inspection-ca"
                    .to_owned(),
                weight: 0.0,
            });
        }
        evidence
    }

    /// Whether the origin is worth asking: its answer will probably decide, and none is known.
    pub(super) fn asks_origin(&self) -> bool {
        let is_open = !self.told && !self.interceptor_unseen;
        let is_unasked = self.origin.is_none_or(|it| it.sign().is_none());
        is_open && is_unasked && self.reasons.origin_decides(&self.shares)
    }

    /// Returns the sentence about the origin of a connection, if it would decide.
    fn by_origin(&self, alone: &Verdict) -> Option<String> {
        let Question { name, port, .. } = Question::of(alone)?;
        self.asks_origin().then(|| {
            let met = match self.origin {
                Some(OriginAnswer::Intercepted) => {
                    " (a probe met the interceptor, which proves nothing: let it pass)"
                }
                Some(_) => " (a probe had no answer)",
                None => "",
            };
            format!(
                ", or the origin's own certificate, by `tlswhy probe {name}:{port}`{met}: valid, it is not at fault; \
                 invalid, it is"
            )
        })
    }

    /// Returns the observation that would decide between the two likeliest causes.
    fn would_decide(&self, alone: &Verdict) -> Evidence {
        let mut shares = self.shares;
        shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let [(first, share), (second, other), _] = shares;
        let between = |one, two| [first, second].contains(&one) && [first, second].contains(&two);
        let observation = if between(Cause::Pinning, Cause::CaNotTrusted) {
            "this app with an unrelated name on this client: accepted, it pins; refused, the CA is missing"
        } else if between(Cause::Pinning, Cause::ServerCertInvalid) {
            "another app, such as a browser, with this name: accepted, this app pins; refused, the certificate is \
             invalid"
        } else {
            "another app with another name on this client: accepted, the certificate is invalid; refused, the CA is \
             missing"
        };
        Evidence {
            name: "would-decide".to_owned(),
            detail: format!(
                "{first} at {share:.2} and {second} at {other:.2} cannot be told apart yet; what would \
                 decide: {observation}{}",
                self.by_origin(alone).unwrap_or_default()
            ),
            weight: 0.0,
        }
    }

    fn holds(&self, when: When, intercepted: Intercepted) -> bool {
        match when {
            When::Always => true,
            When::RefusedFromInterceptorOnly => intercepted == Intercepted::Yes,
            When::OtherAppsAccept => self.other_apps_accept,
            When::NotIntercepted | When::InterceptionUnknown => when.is_of(intercepted),
            When::ClientIsInterceptor
            | When::ResetIsAllOfItsSender
            | When::ResetInClientsName
            | When::RejectedByIcmp
            | When::HandshakeFinished => false,
        }
    }
}

/// Returns the probability of the cause that a decision tells, however cautiously it puts that; none without
/// one.
pub(super) fn likelihood(decision: Option<&Decision>) -> f64 {
    let told = decision.filter(|it| it.told && !it.interceptor_unseen);
    let shares = told.iter().flat_map(|it| it.shares.map(|(_, share)| share));
    shares.fold(0.0, f64::max)
}

/// Returns cause and confidence of a verdict with the decision of others about it.
pub(super) fn outcome(alone: &Verdict, decision: Option<&Decision>) -> (Cause, f64) {
    let unchanged = (alone.cause, alone.confidence);
    let Some(decision) = decision.filter(|it| it.told) else {
        return unchanged;
    };
    let confidence = decision.confidence;
    if confidence < 0.5 && alone.cause != Cause::CertificateRejected {
        return unchanged;
    }
    (decision.cause, confidence.min(DECIDED_MAX))
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

/// Returns the verdict with the decision of others about it; a copy only if that changes it.
pub(super) fn decided(alone: &Arc<Verdict>, decision: Option<&Decision>) -> Arc<Verdict> {
    let mut verdict = Arc::clone(alone);
    let (cause, confidence) = outcome(alone, decision);
    let Some(decision) = decision else {
        return verdict;
    };
    if !decision.told || decision.cause != cause {
        let intercepted = !decision.interceptor_unseen && !decision.direct;
        if intercepted && cause == Cause::CertificateRejected {
            let changed = Arc::make_mut(&mut verdict);
            changed.evidence.push(decision.would_decide(alone));
        }
        return verdict;
    }
    let changed = Arc::make_mut(&mut verdict);
    changed.cause = cause;
    changed.confidence = confidence;
    let intercepted = changed.intercepted;
    let holds = |when| decision.holds(when, intercepted);
    changed.set_pan_os(holds);
    let advice = cause.advice("this name", holds);
    changed.advice = advice.map(|it| with_setting(it, alone.ja4.as_deref()));
    changed.evidence.extend(decision.evidence(intercepted));
    changed
        .evidence
        .sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    verdict
}
