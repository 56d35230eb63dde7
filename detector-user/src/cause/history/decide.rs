//! The decision between pinning, a missing CA and a bad certificate, by the evidence of
//! connections.
//!
//! The [`table`](super::likelihoods) of priors and likelihoods gives the posterior of each
//! explanation, and of each two that hold at once; a cause is as likely as the explanations of it that
//! hold. How sure it is that the client refused at all decides how likely reasons of its own are.

use super::case::Case;
use super::decision::Decision;
use super::fact::Triple;
use super::facts::Facts;
use super::likelihoods::{HYPOTHESES, Hypothesis, Kind, Q, Row, Sign};
use super::origins::Origins;
use super::refusals::Refusals;
use super::signs::{Finding, findings};
use crate::verdict::{Cause, Evidence, Intercepted};

/// Posterior of a refusal's cause from which on it is told: the others together are below a
/// revision's threshold.
const DECIDES: f64 = 0.7;
/// A cause that is less likely than this is told by none, however likely it is of a refusal.
const TOLD_LEAST: f64 = 0.4;
/// Pinning is told with at most this unless other connections rule out all else that could explain a refusal.
const UNCHECKED_PINNING_MAX: f64 = 0.79;
/// Posterior of pinning from which on that may be so, where others accept the name and where none was seen to.
const CHECKED: [f64; 2] = [0.95, 0.97];
/// An app that refuses so many other domains may be two programs with one hello.
const REFUSED_TOO: u32 = 2;
/// Other clients on which an app refuses the name and accepts others.
const PINNED_ELSEWHERE: usize = 3;
/// Of these there are so many to one on which it refuses the name and accepts nothing: a program without the CA
/// that shares its hello with another runs alone on some.
const BESIDE_TO_ALONE: usize = 3;
/// Causes that are told from each other.
const CAUSES: [Cause; 3] = [
    Cause::Pinning,
    Cause::CaNotTrusted,
    Cause::ServerCertInvalid,
];
/// Signs that move the odds by at least this factor's logarithm are evidence.
const MOVES: f64 = 0.15;
/// A refusal so sure is told by more than silence.
const SURE: f64 = 0.85;
/// Share of the doubt about such a refusal that is a connection merely dropped, rather than another failure.
const DROPPED_SURELY: f64 = 0.2;
/// An origin is worth asking if its answer will decide with this probability.
const WORTH_ASKING: f64 = 0.5;
/// Least likelihood: nothing is impossible.
const LEAST: f64 = 1e-12;

/// Weighs the causes of a refusal at `now_s`, seconds since the UNIX epoch. Returns the likeliest, which
/// is told only if it is likely enough.
pub(super) fn decide(
    (facts, prior): (&Facts, &'static Column),
    origins: &Origins,
    triple: &Triple,
    refusals: &Refusals,
    now_s: u64,
) -> Option<Decision> {
    let case = Case {
        facts,
        origins,
        triple,
        refusals,
        now_s,
    };
    let reasons = Reasons::new(findings(&case), refusals.sureness(), prior);
    let (shares, own) = reasons.posterior(None);
    let (cause, share) = likeliest(&shares)?;
    let confidence = match cause {
        Cause::Pinning if !is_checked(&case, &reasons.findings, share) => {
            share.min(UNCHECKED_PINNING_MAX)
        }
        _ => share,
    };
    Some(Decision {
        cause,
        confidence,
        told: is_told(share, own),
        shares,
        by_others: reasons.findings.iter().any(|it| it.row.sign.is_of_others()),
        interceptor_unseen: false,
        direct: false,
        fleet: None,
        origin: case.origin(),
        other_apps_accept: case.other_apps_here_accept().0 > 0,
        reasons,
    })
}

fn likeliest(shares: &Shares) -> Option<(Cause, f64)> {
    shares
        .iter()
        .copied()
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// Whether a cause with this posterior is told, beside that of the client's own reasons.
fn is_told(share: f64, own: f64) -> bool {
    share >= TOLD_LEAST && share >= DECIDES * (1.0 - own)
}

/// Whether nothing but a pin is left to explain a refusal. This app refuses little else, and here and on other clients
/// it refuses the name while it accepts others: that is neither a store without the CA, nor two programs with one hello,
/// which seldom run together everywhere, nor a host behind a shared address. And the certificate is good: others accept
/// it; or it is signed as usual while the app refuses other names of its domain, too, and so does another app, as the
/// apps of a service do that pins.
fn is_checked(case: &Case<'_>, findings: &[Finding], share: f64) -> bool {
    let count = |signs: &[Sign]| {
        let of_these = findings.iter().filter(|it| signs.contains(&it.row.sign));
        of_these.map(|it| it.count).sum::<u32>()
    };
    let [accepted, never] = CHECKED;
    let is_good = if count(&[Sign::OthersAcceptName, Sign::GeneralAppAccepts]) > 0 {
        share >= accepted
    } else {
        let others_refuse = [Sign::SeveralAppsRefuse, Sign::AppsHereRefuseName];
        share >= never
            && count(&[Sign::AppRefusesRelated]) > 0
            && count(&[Sign::UsualIssuer]) > 0
            && count(&others_refuse) > 0
    };
    let accepts_here = [
        Sign::AppAcceptsOthers,
        Sign::AppAcceptsOthersSince,
        Sign::AppAcceptsRelated,
    ];
    let refuses = [
        Sign::AppRefusesAll,
        Sign::AppRefusesOthers,
        Sign::AppRefusesOthersElsewhere,
    ];
    let [beside, alone] = case.clients_refusing_elsewhere();
    is_good
        && count(&accepts_here) > 0
        && count(&refuses) < REFUSED_TOO
        && count(&[Sign::AddressShared]) == 0
        && beside >= PINNED_ELSEWHERE
        && beside >= BESIDE_TO_ALONE * alone
}

/// The likelihood of one finding under each hypothesis.
pub(super) type Column = [f64; HYPOTHESES];
/// The posterior of each cause.
pub(super) type Shares = [(Cause, f64); 3];

/// The findings about a refusal, with their likelihoods.
pub(super) struct Reasons {
    findings: Vec<Finding>,
    columns: Vec<(Kind, Column)>,
    /// Probability that the client refused, by its own connections.
    refused: f64,
    /// How often each hypothesis holds before anything is known.
    prior: &'static Column,
}

impl Reasons {
    pub(super) fn new(findings: Vec<Finding>, refused: f64, prior: &'static Column) -> Self {
        Self {
            columns: findings.iter().map(Finding::column).collect(),
            findings,
            refused,
            prior,
        }
    }

    /// Odds that the client gave up for reasons of its own: by itself, a connection is no refusal with the
    /// probability that the judge gives that, no matter which explanations acceptances leave.
    fn own(&self, odds: &Column) -> f64 {
        let dropped = if self.refused < SURE {
            1.0
        } else {
            DROPPED_SURELY
        };
        let is_other = |finding: &Finding| {
            let sign = finding.row.sign;
            finding.row.kind == Kind::Accepted
                && !matches!(sign, Sign::AppAcceptedIt | Sign::AppAcceptsItSince)
        };
        let mut left = *odds;
        for (finding, (_, likelihood)) in self.findings.iter().zip(&self.columns) {
            if is_other(finding) {
                for (odds, likelihood) in left.iter_mut().zip(likelihood) {
                    *odds *= likelihood;
                }
            }
        }
        left.iter().sum::<f64>() * dropped * (1.0 - self.refused) / self.refused.max(0.01)
    }

    /// Returns the probability of each cause, by all findings but the one at `without`.
    /// Also that of the client's own reasons.
    fn posterior(&self, without: Option<usize>) -> (Shares, f64) {
        let odds = self.prior.map(|prior| prior / (1.0 - prior));
        let mut own = self.own(&odds);
        let mut weights = [[0.0; CERTIFICATES]; CERTIFICATES];
        for (first, row) in weights.iter_mut().enumerate() {
            for (second, weight) in row.iter_mut().enumerate().skip(first) {
                *weight = if first == second {
                    odds[first]
                } else {
                    odds[first] * odds[second]
                };
            }
        }
        for (at, (kind, likelihood)) in self.columns.iter().enumerate() {
            if Some(at) != without {
                let [of @ .., of_own] = likelihood;
                weigh(&mut weights, *kind, of);
                own *= of_own;
            }
        }
        let mut all: f64 = 0.0;
        let mut of_causes = CAUSES.map(|cause| (cause, 0.0));
        for (first, row) in weights.iter().enumerate() {
            let one = PLACES[first];
            for (second, weight) in row.iter().enumerate().skip(first) {
                let other = PLACES[second];
                all += weight;
                of_causes[one].1 += weight;
                if other != one {
                    of_causes[other].1 += weight;
                }
            }
        }
        let all = (all + own).max(f64::MIN_POSITIVE);
        (
            of_causes.map(|(cause, share)| (cause, share / all)),
            own / all,
        )
    }

    /// Whether the origin's answer, valid or not, will probably decide: whichever comes, a cause is told.
    pub(super) fn origin_decides(&self, shares: &Shares) -> bool {
        let bad = shares
            .iter()
            .find(|(cause, _)| *cause == Cause::ServerCertInvalid);
        let bad = bad.map_or(0.0, |(_, share)| *share);
        let answers = [Sign::OriginValid, Sign::OriginInvalid];
        let decides = answers.into_iter().filter_map(|sign| {
            let row = sign.row()?;
            let [.., otherwise] = row.likelihood;
            let if_bad = row.likelihood[Hypothesis::CertificateBad as usize];
            let probability = bad * if_bad + (1.0 - bad) * otherwise;
            let (shares, own) = self.with(row).posterior(None);
            let (_, share) = likeliest(&shares)?;
            is_told(share, own).then_some(probability)
        });
        decides.sum::<f64>() >= WORTH_ASKING
    }

    /// Returns the same with a sign that holds, too.
    fn with(&self, row: &'static Row) -> Self {
        let more = Finding {
            row,
            count: 1,
            otherwise: 1.0,
        };
        let findings = self.findings.iter().cloned().chain([more]).collect();
        Self::new(findings, self.refused, self.prior)
    }

    /// Returns the findings that moved the odds of a cause, each with the log-odds that it brought, in the words
    /// for connections that were intercepted, or not, or perhaps.
    pub(super) fn evidence(&self, cause: Cause, intercepted: Intercepted) -> Vec<Evidence> {
        let share = |without| {
            let (shares, _) = self.posterior(without);
            shares
                .into_iter()
                .filter(|(other, _)| *other == cause)
                .map(|(_, share)| share)
                .sum()
        };
        let all = logit(share(None));
        let mut evidence = Vec::new();
        for (at, finding) in self.findings.iter().enumerate() {
            let weight = all - logit(share(Some(at)));
            if weight.abs() >= MOVES {
                evidence.push(Evidence {
                    name: finding.row.name.to_owned(),
                    detail: finding.detail(intercepted).to_string(),
                    weight,
                });
            }
        }
        evidence
    }
}

/// Hypotheses about the certificate, all but the last.
const CERTIFICATES: usize = HYPOTHESES - 1;

/// Weights of each two hypotheses that hold at once, the first in the order of checks first; of one alone
/// on the diagonal. The client's own reasons hold alone.
type Weights = [[f64; CERTIFICATES]; CERTIFICATES];

/// Multiplies the weights by a finding's likelihoods. It runs for each finding of each decision, and takes the
/// unused half of the table along: whole rows become vector instructions.
fn weigh(weights: &mut Weights, kind: Kind, likelihood: &[f64; CERTIFICATES]) {
    let rows = likelihood.iter().zip(weights);
    match kind {
        Kind::Accepted => rows.for_each(|(one, row)| {
            for (other, it) in likelihood.iter().zip(row) {
                *it *= if one < other { one } else { other };
            }
        }),
        Kind::Refused => rows.for_each(|(one, row)| {
            for (other, it) in likelihood.iter().zip(row) {
                *it *= if one > other { one } else { other };
            }
        }),
        Kind::Itself => rows.for_each(|(one, row)| row.iter_mut().for_each(|it| *it *= one)),
    }
}

/// The place of each hypothesis' cause among [`CAUSES`].
const PLACES: [usize; CERTIFICATES] = {
    let mut places = [0; CERTIFICATES];
    let mut at = 0;
    while at < CERTIFICATES {
        places[at] = match Hypothesis::ALL[at].cause() {
            Some(Cause::CaNotTrusted) => 1,
            Some(Cause::ServerCertInvalid) => 2,
            _ => 0,
        };
        at += 1;
    }
    places
};

impl Finding {
    /// Returns its likelihood under each hypothesis.
    fn column(&self) -> (Kind, Column) {
        let likelihood = self.row.likelihood.map(|likelihood| {
            if likelihood == Q {
                self.otherwise
            } else if self.count == 1 {
                likelihood
            } else {
                likelihood.powi(self.count as i32)
            }
        });
        (self.row.kind, likelihood.map(|it| it.max(LEAST)))
    }
}

fn logit(share: f64) -> f64 {
    let share = share.clamp(1e-6, 1.0 - 1e-6);
    (share / (1.0 - share)).ln()
}
