//! The decision between pinning, a missing CA and the interceptor's own fault, by what other
//! connections show.
//!
//! Weights of the [`rules`](super::rules) are log-odds, added up per cause as the judge does for one
//! connection. The confidence also depends on how sure it is that the client refused at all.

use super::fact::Triple;
use super::facts::Facts;
use super::refusals::Refusals;
use super::rules::{Finding, findings};
use crate::verdict::{Cause, Evidence, When};

/// From this weight on the facts of others decide.
const DECIDES: f64 = 1.0;

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

/// A refusal that rules look at, and what others show.
pub(super) struct Case<'a> {
    pub(super) facts: &'a Facts,
    pub(super) triple: &'a Triple,
    pub(super) refusals: &'a Refusals,
    /// Seconds since the UNIX epoch.
    pub(super) now_s: u64,
}

/// Decides the cause of a refusal at `now_s`, seconds since the UNIX epoch; `None` where others do
/// not tell.
pub(super) fn decide(
    facts: &Facts,
    triple: &Triple,
    refusals: &Refusals,
    now_s: u64,
) -> Option<Decision> {
    let case = Case {
        facts,
        triple,
        refusals,
        now_s,
    };
    if case.accepted_it() {
        return None;
    }
    let findings: Vec<Finding> = findings(&case).collect();
    let total = |cause: Cause| -> f64 {
        findings
            .iter()
            .filter(|finding| finding.rule.cause == cause)
            .map(|finding| finding.weight)
            .sum()
    };
    let causes = [
        Cause::Pinning,
        Cause::CaNotTrusted,
        Cause::ServerCertInvalid,
    ];
    let cause = causes
        .into_iter()
        .max_by(|a, b| total(*a).total_cmp(&total(*b)))?;
    let own = total(cause);
    if own < DECIDES {
        return None;
    }
    let others: f64 = causes
        .into_iter()
        .filter(|other| *other != cause)
        .map(|other| total(other).max(0.0).exp() - 1.0)
        .sum();
    let evidence = findings
        .into_iter()
        .map(|finding| finding.evidence(cause))
        .collect();
    Some(Decision {
        cause,
        confidence: own.exp() / (own.exp() + others + 1.0),
        refusal: refusals.sureness(),
        evidence,
        advice: cause.advice("this name", |when| case.holds(when)),
        pan_os: cause.pan_os(|when| case.holds(when)),
    })
}

impl Case<'_> {
    /// Whether this app accepted this name here: then a refusal has another reason.
    fn accepted_it(&self) -> bool {
        let name = self.triple.name;
        self.facts
            .pair(self.triple)
            .is_some_and(|pair| pair.accepted.any(self.now_s, |it| it.host == name.host))
    }

    /// Names this app accepts on this client, old ones for less.
    pub(super) fn app_accepts(&self) -> f64 {
        self.facts
            .pair(self.triple)
            .map_or(0.0, |pair| pair.accepted.weight(self.now_s, |_| true))
    }

    /// Names this app refused on this client: hosts, and unrelated domains among them.
    pub(super) fn app_refuses(&self) -> (f64, f64) {
        self.facts
            .pair(self.triple)
            .map_or((0.0, 0.0), |pair| pair.refuses(self.now_s))
    }

    /// Others that accept the name: other apps, or this one on other clients.
    pub(super) fn accepted_by_other_apps(&self) -> f64 {
        let app = self.triple.app;
        self.facts.visitors(self.triple).map_or(0.0, |it| {
            it.accepted_by
                .weight(self.now_s, |(_, other, _)| *other != app)
        })
    }

    /// Apps other than this that refuse the name though they accept others.
    pub(super) fn discerning_refusers(&self) -> usize {
        let mut apps = Vec::new();
        let Some(visitors) = self.facts.visitors(self.triple) else {
            return 0;
        };
        for ((client, app, _), _) in visitors.refused_by.at(self.now_s) {
            let accepts_others = self
                .facts
                .pair_of(client, app)
                .is_some_and(|pair| pair.accepted.any(self.now_s, |_| true));
            if accepts_others && app != self.triple.app && !apps.contains(&app) {
                apps.push(app);
            }
        }
        apps.len()
    }

    /// Other apps that accept something on this client, old ones for less.
    pub(super) fn other_apps_here_accept(&self) -> f64 {
        let app = self.triple.app;
        self.facts.client(self.triple).map_or(0.0, |client| {
            client.accepting.weight(self.now_s, |other| *other != app)
        })
    }

    /// Whether a circumstance, on which the wording of advice depends, holds.
    fn holds(&self, when: When) -> bool {
        match when {
            When::Always | When::RefusedFromInterceptorOnly => true,
            When::OtherAppsAccept => self.other_apps_here_accept() > 0.0,
            When::NotIntercepted
            | When::ResetIsAllOfItsSender
            | When::ResetInClientsName
            | When::HandshakeFinished => false,
        }
    }
}
