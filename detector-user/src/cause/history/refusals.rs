//! Refusals of one name by one app on one client, and their verdicts that may be revised.

use std::sync::Arc;

use super::decision::{Decision, decided, left_of, likelihood, outcome};
use crate::cause::interception::{Mark, Marks};
use crate::cause::judge::subject::{Outcome, Subject};
use crate::cause::judge::{Judged, Judgement};
use crate::verdict::{AlertDescription, Cause, Evidence, Intercepted, Verdict};

/// Verdicts that a later fact can revise: the latest.
const OPEN_VERDICTS: usize = 8;
/// A verdict that was revised so often is left as it is.
const REVISIONS_MAX: usize = 2;
/// Another cause, or the same one surer than before, is given once it is as likely as this.
const SURE: f64 = 0.8;
/// A verdict is revised, too, once less than this is left of its cause.
const REFUTED: f64 = 0.3;
/// Attempts from which on it is no accident.
const REPEATED: u32 = 3;
/// Connections this near to each other are attempts at the same thing.
const RETRY_NS: u64 = 1_000_000_000;

/// An app's refusals of a name on a client.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Attempts, retries at once counted as one.
    attempts: u32,
    last_ns: u64,
    /// Probability of the surest of them.
    probability: f64,
    /// Description of the client's alert.
    pub(super) alert: Option<AlertDescription>,
    /// The issuer of the intercepted certificate it refused.
    pub(super) issuer: Option<Mark>,
    /// Whether that certificate was in order as far as one could see.
    pub(super) certificate_in_order: Option<bool>,
    /// Whether the client had finished the handshake.
    pub(super) after_handshake: bool,
    open: Vec<Open>,
}

/// A verdict that may be revised.
#[derive(Debug)]
struct Open {
    /// As it was by itself.
    alone: Arc<Verdict>,
    /// The same, if it was intercepted and that is not known yet.
    if_intercepted: Option<(Box<Verdict>, f64)>,
    /// Cause and confidence it was given with last.
    given: (Cause, f64),
    /// Causes it was given with before.
    before: Vec<Cause>,
    marks: Marks,
    /// Whether it was not given at all: its connection counts as unused.
    withheld: bool,
}

impl Refusals {
    /// Records an attempt that ended with a refusal of this probability.
    pub(super) fn record(&mut self, subject: &Subject, probability: f64) {
        if subject.time_ns.saturating_sub(self.last_ns) >= RETRY_NS {
            self.attempts = self.attempts.saturating_add(1);
        }
        self.last_ns = self.last_ns.max(subject.time_ns);
        self.probability = self.probability.max(probability);
        self.alert = subject.alert.or(self.alert);
        self.after_handshake |= subject.after_handshake;
        let [issuer, ..] = subject.interception.marks;
        // A direct connection's issuer is the origin's, which says nothing of the interceptor.
        if subject.interception.status == Intercepted::Yes {
            self.issuer = issuer.or(self.issuer);
        }
        self.certificate_in_order = subject.certificate_in_order.or(self.certificate_in_order);
    }

    /// Returns the time when the latest began, seconds since the UNIX epoch.
    pub(super) fn last_s(&self) -> u64 {
        self.last_ns / 1_000_000_000
    }

    /// Returns the probability that the client refused, by the surest attempt and by retries in
    /// vain.
    pub(super) fn sureness(&self) -> f64 {
        let again = self.attempts.saturating_sub(1).min(2);
        1.0 - (1.0 - self.probability.min(0.97)) * 0.5_f64.powi(again as i32)
    }

    /// Returns an attempt's verdict with the decision of others about it, and keeps it open to
    /// revision.
    pub(super) fn open(
        &mut self,
        alone: Box<Verdict>,
        if_intercepted: Option<Box<Judged>>,
        marks: Marks,
        decision: Option<&Decision>,
    ) -> Arc<Verdict> {
        let alone = Arc::from(alone);
        let mut given = decided(&alone, decision);
        self.strengthen(&mut given);
        if self.open.len() >= OPEN_VERDICTS {
            self.open.remove(0);
        }
        // Most have one.
        self.open.reserve_exact(1);
        self.open.push(Open {
            given: (given.cause, given.confidence),
            alone,
            if_intercepted: if_intercepted.and_then(refusal),
            before: Vec::new(),
            marks,
            withheld: false,
        });
        given
    }

    /// Marks the verdict opened last as not given.
    pub(super) fn withhold_last(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.withheld = true;
        }
    }

    /// Whether a verdict of a connection with this status is open to revision.
    pub(super) fn has_open(&self, status: Intercepted) -> bool {
        self.open
            .iter()
            .any(|open| open.alone.intercepted == status && open.before.len() < REVISIONS_MAX)
    }

    /// Returns the latest verdict of a connection with this status, as it was by itself.
    pub(super) fn last_open(&self, status: Intercepted) -> Option<Arc<Verdict>> {
        let mut open = self.open.iter().rev();
        let open = open.find(|open| open.alone.intercepted == status)?;
        Some(Arc::clone(&open.alone))
    }

    /// Revises the verdicts that `decisions`, by status, change, and appends them to `verdicts`.
    /// Returns the number of those that had not been given before.
    pub(super) fn revise(
        &mut self,
        decisions: &[(Intercepted, Option<Decision>)],
        verdicts: &mut Vec<Arc<Verdict>>,
    ) -> u64 {
        let mut new = 0;
        for open in &mut self.open {
            let decision = decisions
                .iter()
                .find(|(status, _)| *status == open.alone.intercepted)
                .and_then(|(_, decision)| decision.as_ref());
            if let Some(verdict) = open.revise(decision) {
                new += u64::from(verdict.revises.is_none());
                verdicts.push(verdict);
            }
        }
        new
    }

    /// Marks open verdicts of connections with this mark as intercepted.
    pub(super) fn recognize(&mut self, mark: Mark) {
        for open in &mut self.open {
            if open.marks.contains(&Some(mark))
                && let Some((verdict, probability)) = open.if_intercepted.take()
            {
                open.alone = Arc::from(verdict);
                self.probability = self.probability.max(probability);
            }
        }
    }

    /// Strengthens a verdict by repetition: refusing again and again, and never anything else, is
    /// no accident.
    fn strengthen(&self, verdict: &mut Arc<Verdict>) {
        let sureness = self.sureness() * 0.95;
        if verdict.cause != Cause::CertificateRejected
            || self.attempts < REPEATED
            || verdict.confidence >= sureness
        {
            return;
        }
        let verdict = Arc::make_mut(verdict);
        verdict.confidence = sureness;
        verdict.evidence.push(Evidence {
            name: "repeated".to_owned(),
            detail: format!(
                "{} attempts of this app ended so, and none succeeded",
                self.attempts
            ),
            weight: 1.0,
        });
    }
}

impl Open {
    /// Returns the new verdict if a decision changes it: once another cause is likely or its own has
    /// become unlikely, never with a cause it had before, at most twice.
    fn revise(&mut self, decision: Option<&Decision>) -> Option<Arc<Verdict>> {
        if self.before.len() >= REVISIONS_MAX {
            return None;
        }
        let (cause, confidence) = self.given;
        let now = outcome(&self.alone, decision);
        let left = left_of(cause, decision);
        let mut decision = decision;
        if now.0 == cause {
            if now.1 < SURE || confidence >= SURE {
                return None;
            }
        } else if now.1.max(likelihood(decision)) < SURE && left >= REFUTED {
            return None;
        } else if self.before.contains(&now.0) {
            // It does not waver back: what is unlikely becomes the refusal alone, or stays.
            let alone = self.alone.cause;
            if left >= REFUTED || alone == cause || self.before.contains(&alone) {
                return None;
            }
            decision = None;
        }
        let mut verdict = decided(&self.alone, decision);
        let revised = Arc::make_mut(&mut verdict);
        if !std::mem::take(&mut self.withheld) {
            // The name of the one it revises: a connection's verdicts share time and Community ID.
            revised.revises = Some(format!("{} {}", revised.time, revised.community_id));
            self.before.push(cause);
        }
        self.given = (revised.cause, revised.confidence);
        revised.set_revision(self.before.len() as u32);
        Some(verdict)
    }
}

/// Returns the verdict of a refusal, and how sure that is.
fn refusal(judged: Box<Judged>) -> Option<(Box<Verdict>, f64)> {
    match (judged.judgement, judged.subject.outcome) {
        (Judgement::Failed(verdict), Outcome::Refused { probability }) => {
            Some((verdict, probability))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::history::decide::Reasons;
    use crate::cause::history::likelihoods::PRIOR;
    use crate::verdict::tests::pinning;

    /// Numbers below `below`, the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self, below: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) % below
        }
    }

    /// A decision as the facts may turn it.
    fn decision(numbers: &mut Numbers) -> Option<Decision> {
        let weights = [0, 1, 2].map(|_| (1 + numbers.next(1000)).pow(3) as f64);
        let all = weights.iter().sum::<f64>() + numbers.next(1000).pow(3) as f64;
        let causes = [
            Cause::Pinning,
            Cause::CaNotTrusted,
            Cause::ServerCertInvalid,
        ];
        let mut shares = causes.map(|cause| (cause, 0.0));
        for ((_, share), weight) in shares.iter_mut().zip(weights) {
            *share = weight / all;
        }
        let (cause, confidence) = shares.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (numbers.next(10) > 0).then(|| of_shares(cause, confidence, shares))
    }

    fn of_shares(cause: Cause, confidence: f64, shares: [(Cause, f64); 3]) -> Decision {
        Decision {
            cause,
            confidence,
            told: confidence >= 0.7,
            shares,
            by_others: true,
            interceptor_unseen: false,
            direct: false,
            fleet: None,
            origin: None,
            other_apps_accept: false,
            reasons: Reasons::new(Vec::new(), 1.0, &PRIOR),
        }
    }

    fn alone() -> Box<Verdict> {
        let mut verdict = pinning();
        verdict.cause = Cause::CertificateRejected;
        verdict.confidence = 0.9;
        verdict.set_revision(0);
        Box::new(verdict)
    }

    #[test]
    fn a_verdict_never_wavers_back_nor_loses_all_confidence() {
        let mut numbers = Numbers(1);
        let mut revised = 0;
        for _ in 0..2000 {
            let mut refusals = Refusals::default();
            let first = decision(&mut numbers);
            let mut given = vec![refusals.open(alone(), None, [None; 3], first.as_ref())];
            for _ in 0..30 {
                let now = decision(&mut numbers);
                refusals.revise(&[(Intercepted::Yes, now)], &mut given);
            }
            assert!(given.len() <= 1 + REVISIONS_MAX);
            revised += given.len() - 1;
            for (at, verdict) in given.iter().enumerate() {
                assert!(verdict.confidence >= 0.5, "{verdict:?}");
                assert_eq!(verdict.revision as usize, at);
                let before = at.checked_sub(1).map(|before| &given[before]);
                assert_eq!(verdict.supersedes.as_ref(), before.map(|it| &it.id));
                let is_new = before.is_some_and(|it| it.cause != verdict.cause);
                let mut earlier = given.iter().take(at);
                let was_told = earlier.any(|it| it.cause == verdict.cause);
                assert!(!is_new || !was_told, "{given:?}");
            }
        }
        assert!(revised > 1000, "{revised}");
    }

    /// A cause that was told becomes improbable, and the other one was told before.
    #[test]
    fn a_cause_that_falls_and_cannot_become_another_is_the_refusal_alone() {
        let (pin, lacks) = (Cause::Pinning, Cause::CaNotTrusted);
        let likely = |cause, other| {
            let shares = [
                (cause, 0.95),
                (other, 0.03),
                (Cause::ServerCertInvalid, 0.02),
            ];
            of_shares(cause, 0.95, shares)
        };
        let mut refusals = Refusals::default();
        let first = likely(pin, lacks);
        let mut given = vec![refusals.open(alone(), None, [None; 3], Some(&first))];
        for now in [likely(lacks, pin), likely(pin, lacks)] {
            refusals.revise(&[(Intercepted::Yes, Some(now))], &mut given);
        }
        let said: Vec<_> = given.iter().map(|it| (it.cause, it.confidence)).collect();
        let alone = (Cause::CertificateRejected, 0.9);
        assert_eq!(said, [(pin, 0.95), (lacks, 0.95), alone]);
    }
}
