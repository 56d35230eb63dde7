//! The decision between pinning, a missing CA and the interceptor's own fault, by what other
//! connections show.
//!
//! Weights of the [`rules`](super::rules) are log-odds, added up per cause as the judge does for one
//! connection. The confidence also depends on how sure it is that the client refused at all.

use super::case::Case;
use super::decision::Decision;
use super::fact::Triple;
use super::facts::Facts;
use super::refusals::Refusals;
use super::rules::{Finding, findings};
use crate::verdict::Cause;

/// From this weight on the facts of others decide.
const DECIDES: f64 = 1.0;

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
