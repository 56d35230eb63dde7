//! From a connection to a verdict about it alone.
//!
//! In: a [`Connection`] and its [`Interception`]. Out: [`Judged`]: a verdict if it failed, and the
//! [`Subject`] that the history records. [`facts`] reads the timeline, [`resets`] the tells of its
//! resets, [`rules`] find typed [`evidence`] for causes. The weights are added up per cause: the
//! heaviest wins, and its confidence follows from its lead over the others. One connection alone never
//! shows `pinning` or `ca-not-trusted`: both look like `certificate-rejected` until the history of
//! others tells.
//!
//! Not here: state, other connections, and words for connections that worked: evidence is put into
//! words only for a verdict.

pub mod evidence;
pub mod facts;
pub mod hang_up;
mod ladder;
pub mod offer;
pub mod resets;
pub mod rules;
mod server_leg;
pub mod subject;
mod verdict;
mod weigh;

#[cfg(test)]
mod tests;

use crate::cause::interception::{Interception, InterceptionEvidence};
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Facts;
use crate::cause::judge::offer::Offer;
use crate::cause::judge::rules::{Case, Finding, ServerLeg, findings};
use crate::cause::judge::subject::{Outcome, Subject};
use crate::cause::judge::verdict::Grounds;
use crate::flow::legs::{Connection, Passage};
use crate::flow::timeline::{Ending, Timeline};
use crate::verdict::{Cause, Intercepted, Verdict};

/// Factor of the confidence where segments are missing.
const WITH_GAPS: f64 = 0.85;
/// The same where only one direction was seen, or not the beginning.
const HALF_SEEN: f64 = 0.8;
/// Log-odds of refused ECH by the connection alone.
const ECH_REFUSED: f64 = 0.7;
/// Confidence from which on a connection alone is called a refusal of the certificate.
const REFUSED_ALONE: f64 = 0.5;

/// The judge's output on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It worked.
    Established,
    /// The handshake went through, and the client closed without having had a use for it.
    Unused,
    /// It did not end, or not in a way that says anything.
    Unfinished,
    /// It failed, with the verdict.
    Failed(Box<Verdict>),
}

/// A judgement, and its contribution to the history.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The judgement.
    pub judgement: Judgement,
    /// The parties it concerns.
    pub subject: Subject,
    /// Resets that had no effect on it.
    pub resets_without_effect: u64,
    /// Of a refusal that is not yet known to be intercepted: the same, if it was.
    pub if_intercepted: Option<Box<Judged>>,
    /// Of one that ends as if the client's ECH was refused: what it is then, and otherwise.
    pub ech_refused: Option<Box<EchRefused>>,
    /// The offer of its ClientHello, if the server answered it or closed without a word.
    pub offer: Option<Offer>,
    /// Of an unused connection: the verdict to give if others show that its client refused the
    /// certificate.
    pub possible: Option<Box<Verdict>>,
}

/// The two readings of a connection that ends as if the client's ECH was refused.
#[derive(Clone, Debug)]
pub struct EchRefused {
    /// The verdict if it was.
    pub verdict: Verdict,
    /// The judgement if its offer was GREASE.
    pub if_grease: Judged,
}

impl Judged {
    /// Returns the verdict on a connection that failed, or may have.
    fn verdict(&self) -> Option<&Verdict> {
        match &self.judgement {
            Judgement::Failed(verdict) => Some(verdict),
            _ => self.possible.as_deref(),
        }
    }
}

/// Judges one connection by itself.
pub fn judge(connection: &Connection, interception: Interception) -> Judged {
    let (elsewhere, behind) = match &connection.server_leg {
        // A mirror of several VLANs may lose segments: segments missing on one say nothing about
        // the other.
        Some((Passage::Forwarded, leg)) if is_same_tap(&connection.client_leg, leg) => (None, None),
        Some((Passage::Forwarded, leg)) => (Some(&**leg), None),
        Some((Passage::Intercepted, leg)) => (None, Some(Facts::of(leg, None))),
        None => (None, None),
    };
    let facts = Facts::of(&connection.client_leg, elsewhere);
    let answered_ns = facts.answered_ns();
    let server_leg = behind.as_ref();
    let server_leg = server_leg.map(|leg| ServerLeg::judged(leg, answered_ns));
    let case = Case {
        facts: &facts,
        server_leg: server_leg.as_ref(),
        intercepted: interception.status,
        client_is_interceptor: interception
            .evidence
            .as_ref()
            .is_some_and(InterceptionEvidence::is_own_connection),
        ech_is_grease: false,
    };
    let other_leg = connection.server_leg.as_ref().map(|(_, leg)| &**leg);
    let offer = Offer::of(&facts);
    if !facts.ends_as_refused_ech() {
        let mut judged = judge_open(case, other_leg, interception);
        judged.offer = offer;
        return judged;
    }
    let grease = Case {
        ech_is_grease: true,
        ..case
    };
    let verdict = refused_ech(case, other_leg, &interception);
    let if_grease = judge_open(grease, other_leg, interception.clone());
    Judged {
        ech_refused: Some(Box::new(EchRefused { verdict, if_grease })),
        offer,
        ..judge_open(case, other_leg, interception)
    }
}

/// Returns the verdict on a connection whose client's ECH was refused.
fn refused_ech(
    case: Case<'_>,
    other_leg: Option<&Timeline>,
    interception: &Interception,
) -> Verdict {
    let findings = [Finding {
        cause: Cause::EchRefused,
        evidence: Evidence::EchRefused,
        weight: ECH_REFUSED,
    }];
    let grounds = Grounds {
        case,
        other_leg,
        interception,
        findings: &findings,
        like: None,
    };
    let confidence = weigh::share(&findings, Cause::EchRefused);
    grounds.verdict(Cause::EchRefused, confidence)
}

/// Judges a connection of which it may not be known yet whether it was intercepted.
fn judge_open(case: Case<'_>, other_leg: Option<&Timeline>, interception: Interception) -> Judged {
    let mut judged = judge_as(case, other_leg, interception, None);
    let open = case.intercepted == Intercepted::Unknown;
    if open && matches!(judged.subject.outcome, Outcome::Refused { .. }) {
        let known = recognized_later(&judged.subject.interception);
        let case = Case {
            intercepted: known.status,
            ..case
        };
        let like = judged.verdict();
        judged.if_intercepted = Some(Box::new(judge_as(case, other_leg, known, like)));
    }
    judged
}

fn is_same_tap(one: &Timeline, other: &Timeline) -> bool {
    one.flow.key.interface == other.flow.key.interface
}

fn recognized_later(interception: &Interception) -> Interception {
    Interception {
        status: Intercepted::Yes,
        evidence: Some(InterceptionEvidence::RecognizedLater),
        ..interception.clone()
    }
}

/// Judges a connection; `like` is another verdict on it.
fn judge_as(
    case: Case<'_>,
    other_leg: Option<&Timeline>,
    interception: Interception,
    like: Option<&Verdict>,
) -> Judged {
    // Most connections work: no rule is asked about them.
    let (judgement, outcome, possible) = match without_failure(case) {
        Some(judgement) => (judgement, Outcome::Nothing, None),
        None => judge_failure(case, other_leg, &interception, like),
    };
    let works = judgement == Judgement::Established && !case.facts.client.unheard;
    let outcome = if works { Outcome::Accepted } else { outcome };
    Judged {
        judgement,
        subject: Subject::of(case.facts, interception, outcome),
        resets_without_effect: case.facts.resets_without_effect(),
        if_intercepted: None,
        ech_refused: None,
        offer: None,
        possible,
    }
}

/// Judges a connection that may have failed: the judgement, the client's answer to the certificate, and of an
/// unused one the verdict if the client refused.
fn judge_failure(
    case: Case<'_>,
    other_leg: Option<&Timeline>,
    interception: &Interception,
    like: Option<&Verdict>,
) -> (Judgement, Outcome, Option<Box<Verdict>>) {
    let findings = findings(case);
    let (cause, confidence) = match cause(case, &findings) {
        Ok(it) => it,
        Err(judgement) => return (judgement, Outcome::Nothing, None),
    };
    let grounds = Grounds {
        case,
        other_leg,
        interception,
        findings: &findings,
        like,
    };
    let (cause, confidence) = as_lone(&findings, cause, confidence);
    let used = case.facts.established
        && matches!(
            cause,
            Cause::Truncated | Cause::EndpointReset | Cause::DecryptError
        );
    let outcome = if used {
        Outcome::Accepted
    } else {
        refusal(cause, &findings)
    };
    let verdict = Box::new(grounds.verdict(cause, confidence));
    if case.facts.unused() && cause == Cause::Abandoned {
        (Judgement::Unused, outcome, Some(verdict))
    } else {
        (Judgement::Failed(verdict), outcome, None)
    }
}

/// Returns the cause to tell of a connection alone. A refusal that is less likely than not is only
/// possible: it is left to the history, and the connection was given up for no known reason.
fn as_lone(findings: &[Finding<'_>], cause: Cause, confidence: f64) -> (Cause, f64) {
    let about_certificate = matches!(cause, Cause::CertificateRejected | Cause::ServerCertInvalid);
    if !about_certificate || confidence >= REFUSED_ALONE {
        return (cause, confidence);
    }
    let reset = weigh::share(findings, Cause::EndpointReset);
    let abandoned = weigh::share(findings, Cause::Abandoned);
    let cause = match abandoned {
        // The verdict says that much for certain: the client closed.
        _ if abandoned > 0.0 => Cause::Abandoned,
        _ if reset > 0.0 => Cause::EndpointReset,
        _ => return (cause, confidence),
    };
    (cause, 1.0 - confidence)
}

/// Whether too little was seen for most rules.
fn is_half_seen(facts: &Facts<'_>) -> bool {
    // A proxy that refused left nothing else to see.
    let refused_by_proxy = facts.timeline.refusal().is_some();
    let said_nothing = refused_by_proxy || facts.timeline.refused;
    !said_nothing && (facts.is_one_sided() || facts.misses_hello())
}

/// Returns the judgement on a connection that worked as far as it was seen, or of which too little was; `None`
/// if it may have failed.
fn without_failure(case: Case<'_>) -> Option<Judgement> {
    let facts = case.facts;
    // An alert in the clear says why by itself; the rest is read from how both sides went on.
    if !facts.is_tls() || (facts.failure_alert().is_none() && is_half_seen(facts)) {
        let works = facts.is_tls() && facts.established;
        return Some(if works {
            Judgement::Established
        } else {
            Judgement::Unfinished
        });
    }
    let cut_off = facts.resets.injected() && !facts.outlived_reset && !facts.reset_after_farewell();
    let broke_off = cut_off
        || facts.left_unfinished().is_some()
        || facts.alert_amid_data.is_some()
        || facts.unreachable().is_some();
    if facts.established && !broke_off && facts.failure_alert().is_none() {
        let broken_behind = |leg: &ServerLeg<'_>| leg.broke_the_connection(facts);
        if !case.server_leg.is_some_and(broken_behind) {
            return Some(Judgement::Established);
        }
    }
    None
}

/// Returns the cause of a failure and its confidence, or the judgement on a connection without one.
fn cause(case: Case<'_>, findings: &[Finding<'_>]) -> Result<(Cause, f64), Judgement> {
    let facts = case.facts;
    let half_seen = is_half_seen(facts);
    let certainty = if facts.gaps { WITH_GAPS } else { 1.0 };
    let certainty = certainty * if half_seen { HALF_SEEN } else { 1.0 };
    match weigh::heaviest(findings) {
        Some((cause, confidence)) => Ok((cause, confidence * certainty)),
        None if facts.established => Err(Judgement::Established),
        None if facts.unused() || facts.closed_unused_by_server() => Err(Judgement::Unused),
        None if facts.timeline.ending == Ending::Closed && facts.client.used => {
            Err(Judgement::Established)
        }
        None => Err(Judgement::Unfinished),
    }
}

/// Returns the client's answer to the certificate, as far as a failure of this cause shows it.
fn refusal(cause: Cause, findings: &[Finding<'_>]) -> Outcome {
    // Beside these causes the client may still have refused the certificate.
    let is_about_it = matches!(
        cause,
        Cause::CertificateRejected | Cause::Abandoned | Cause::EndpointReset
    );
    match weigh::share(findings, Cause::CertificateRejected) {
        probability if is_about_it && probability > 0.0 => Outcome::Refused { probability },
        _ => Outcome::Nothing,
    }
}
