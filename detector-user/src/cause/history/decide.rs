//! The decision between pinning, a missing CA and a bad certificate, by what connections show.
//!
//! The [`table`](super::likelihoods) of priors and likelihoods gives the posterior of each
//! explanation; explanations of one cause are added up. The confidence also depends on how sure it is
//! that the client refused at all.

use super::case::Case;
use super::decision::{Decision, Weighed};
use super::fact::Triple;
use super::facts::Facts;
use super::likelihoods::{HYPOTHESES, Hypothesis, PRIOR, Sign};
use super::refusals::Refusals;
use super::signs::{Finding, findings};
use crate::verdict::Cause;

/// Posterior from which on a cause is told: the others together are below what a revision asks of them.
const DECIDES: f64 = 0.7;
/// Pinning is told with at most this unless the certificate is known to be acceptable to others, or is
/// in order as far as one sees, and the address is one client's.
const UNCHECKED_PINNING_MAX: f64 = 0.78;
/// Causes that are told from each other.
const CAUSES: [Cause; 3] = [
    Cause::Pinning,
    Cause::CaNotTrusted,
    Cause::ServerCertInvalid,
];
/// Of the signs, evidence is what moves the odds by at least this factor's logarithm.
const MOVES: f64 = 0.1;

/// Weighs the causes of a refusal at `now_s`, seconds since the UNIX epoch. Returns the likeliest, which
/// is told only if it is likely enough.
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
    let findings = findings(&case);
    let posterior = posterior(&findings, None);
    let shares = CAUSES.map(|cause| (cause, of_cause(&posterior, cause)));
    let (cause, share) = shares.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let checked = cause != Cause::Pinning || is_checked(&findings);
    let told = share >= DECIDES;
    Some(Decision {
        cause,
        confidence: if checked {
            share
        } else {
            share.min(UNCHECKED_PINNING_MAX)
        },
        told,
        shares,
        refusal: refusals.sureness(),
        by_others: findings.iter().any(|finding| finding.sign.is_of_others()),
        evidence: if told {
            evidence(&findings, cause, share)
        } else {
            Vec::new()
        },
        interception_known: true,
        other_apps_accept: case.other_apps_here_accept() > 0.0,
    })
}

/// Whether nothing but a pin is left to explain a refusal: others accept the certificate, or it is in
/// order and this app accepts the interceptor.
fn is_checked(findings: &[Finding]) -> bool {
    let shows = |sign: Sign| findings.iter().any(|finding| finding.sign == sign);
    let accepts = shows(Sign::AppAcceptsOthers) || shows(Sign::AppAcceptsRelated);
    let acceptable = shows(Sign::OthersAcceptName) || shows(Sign::CertificateInOrder);
    let several = shows(Sign::AddressShared) || shows(Sign::AppRefusesOthers);
    accepts && acceptable && !several
}

/// Returns the probability of each hypothesis, by all findings but the one at `without`.
fn posterior(findings: &[Finding], without: Option<usize>) -> [f64; HYPOTHESES] {
    let mut logs = PRIOR.map(f64::ln);
    for (at, finding) in findings.iter().enumerate() {
        let Some(row) = finding.sign.row().filter(|_| Some(at) != without) else {
            continue;
        };
        for (log, likelihood) in logs.iter_mut().zip(row.likelihood) {
            *log += likelihood.ln() * finding.count;
        }
    }
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let odds = logs.map(|log| (log - most).exp());
    let all: f64 = odds.iter().sum();
    odds.map(|odds| odds / all)
}

fn of_cause(posterior: &[f64; HYPOTHESES], cause: Cause) -> f64 {
    Hypothesis::ALL
        .into_iter()
        .zip(posterior)
        .filter(|(hypothesis, _)| hypothesis.cause() == Some(cause))
        .map(|(_, share)| share)
        .sum()
}

/// Returns the findings that moved the odds of `cause`, each with the log-odds that it brought.
fn evidence(findings: &[Finding], cause: Cause, share: f64) -> Vec<Weighed> {
    let mut evidence = Vec::new();
    for (at, &finding) in findings.iter().enumerate() {
        let without = of_cause(&posterior(findings, Some(at)), cause);
        let weight = logit(share) - logit(without);
        if weight.abs() >= MOVES {
            evidence.push(Weighed { finding, weight });
        }
    }
    evidence
}

fn logit(share: f64) -> f64 {
    let share = share.clamp(1e-6, 1.0 - 1e-6);
    (share / (1.0 - share)).ln()
}
