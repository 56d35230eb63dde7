//! From a connection to a verdict about it alone.
//!
//! [`facts`] says what the timeline shows, [`resets`] what its resets give away, [`rules`] what
//! that speaks for. Here the weights are added up per cause: the heaviest wins, and how sure that
//! is follows from how far the others lie behind. One connection alone never shows `pinning` or
//! `ca-not-trusted`: both look like `certificate-rejected` until the history of others tells.

pub mod advice;
pub mod facts;
pub mod resets;
pub mod rules;
pub mod subject;

use detector_common::flow::Sender;
use jiff::Timestamp;

use crate::cause::interception::Interception;
use crate::cause::judge::facts::{AlertFact, Facts, OtherLeg};
use crate::cause::judge::rules::{Finding, RULES, describe};
use crate::cause::judge::subject::{Outcome, Subject};
use crate::flow::legs::{Connection, Passage};
use crate::flow::timeline::{Ending, Timeline};
use crate::flow::tls::ja4::ja4;
use crate::flow::tls::names::alert_description;
use crate::verdict::community_id::community_id_v1;
use crate::verdict::{
    Alert, AlertLevel, Cause, Endpoint, Evidence, Intercepted, Party, Reset, ServerLeg, Verdict,
};

/// What the judge makes of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It worked.
    Established,
    /// The handshake went through, and the client closed without having had a use for it.
    Unused,
    /// It did not end, or not in a way that says anything.
    Unfinished,
    /// It failed, and why.
    Failed(Box<Verdict>),
}

/// A judgement, and what it tells of who accepts whom.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What became of it.
    pub judgement: Judgement,
    /// Whom it concerns.
    pub subject: Subject,
    /// Of a refusal of which nobody knows yet whether it was intercepted: the same, if it was.
    pub if_intercepted: Option<Box<Judged>>,
}

/// No verdict is surer than this: there is always what was not seen.
pub const CONFIDENCE_MAX: f64 = 0.98;
/// How sure it must be why the server leg failed, to say it of a connection whose client was served.
const SERVER_LEG_ALONE: f64 = 0.85;

/// Judges one connection by itself.
pub fn judge(connection: &Connection, interception: Interception) -> Judged {
    let mut judged = judge_as(connection, interception);
    let open = judged.subject.interception.status == Intercepted::Unknown;
    if open && matches!(judged.subject.outcome, Outcome::Refused { .. }) {
        let mut known = judged.subject.interception.clone();
        known.status = Intercepted::Yes;
        known.evidence = Some((
            "recognized-later",
            "later connections show that an interceptor answers here".to_owned(),
        ));
        judged.if_intercepted = Some(Box::new(judge_as(connection, known)));
    }
    judged
}

fn judge_as(connection: &Connection, interception: Interception) -> Judged {
    let facts = Facts::of(connection, other_leg(connection));
    let findings: Vec<Finding> = RULES
        .iter()
        .filter_map(|rule| rule.apply(&facts, interception.status))
        .collect();
    let judgement = judgement(&facts, &interception, &findings);
    let refusal = share(&findings, Cause::CertificateRejected);
    let outcome = match &judgement {
        Judgement::Established => Outcome::Accepted,
        Judgement::Failed(verdict) if is_about_the_certificate(verdict.cause) && refusal > 0.0 => {
            Outcome::Refused {
                probability: refusal,
            }
        }
        _ => Outcome::Nothing,
    };
    let subject = Subject::of(&facts, interception, outcome);
    Judged {
        judgement,
        subject,
        if_intercepted: None,
    }
}

/// Causes beside which the client may still have refused the certificate.
fn is_about_the_certificate(cause: Cause) -> bool {
    matches!(cause, Cause::CertificateRejected | Cause::Abandoned)
}

fn judgement(facts: &Facts<'_>, interception: &Interception, findings: &[Finding]) -> Judgement {
    if !facts.is_tls() || facts.is_one_sided() {
        return Judgement::Unfinished;
    }
    let cut_off = facts.resets.injected() && !facts.outlived_reset && !facts.reset_after_farewell;
    if facts.established && !cut_off && facts.failure_alert().is_none() {
        let broken_behind = facts.other_leg.as_ref().is_some_and(|leg| {
            // What answered the client once the origin was gone was the interceptor.
            let gone = facts.answered_ns().is_some_and(|at| leg.failed_ns < at);
            let sure = leg.confidence >= SERVER_LEG_ALONE || gone;
            leg.broke_the_connection && !leg.established && sure
        });
        if !broken_behind {
            return Judgement::Established;
        }
    }
    match weigh(findings) {
        Some((cause, confidence)) => {
            let confidence = if facts.gaps {
                confidence * 0.85
            } else {
                confidence
            };
            let verdict = verdict(facts, interception, cause, confidence, findings);
            Judgement::Failed(Box::new(verdict))
        }
        None if facts.established => Judgement::Established,
        None if facts.unused() => Judgement::Unused,
        None if facts.timeline.ending == Ending::Closed && facts.client.used => {
            Judgement::Established
        }
        None => Judgement::Unfinished,
    }
}

/// What the leg behind an interceptor says, judged as a connection of its own.
fn other_leg(connection: &Connection) -> Option<OtherLeg<'_>> {
    let (Passage::Intercepted, timeline) = connection.server_leg.as_ref()? else {
        return None;
    };
    let alone = Connection {
        client_leg: timeline.clone(),
        server_leg: None,
        goes_on: false,
    };
    let facts = Facts::of(&alone, None);
    let findings: Vec<Finding> = RULES
        .iter()
        .filter_map(|rule| rule.apply(&facts, Intercepted::Yes))
        .collect();
    let (cause, confidence) = weigh(&findings).unwrap_or((Cause::Established, 0.0));
    // The interceptor is the client there, and has no spare connections: what it refuses, or turns
    // away from, is the origin's certificate.
    let cause = match cause {
        Cause::CertificateRejected => Cause::ServerCertInvalid,
        Cause::DecryptError if gives_up_on_certificate(&facts) => Cause::ServerCertInvalid,
        cause => cause,
    };
    let detail = findings
        .iter()
        .max_by(|a, b| a.weight.total_cmp(&b.weight))
        .map(|finding| finding.detail.clone());
    Some(OtherLeg {
        timeline,
        failed_ns: facts.failed_ns().unwrap_or(timeline.last_ns),
        farewell: facts.farewell,
        established: facts.established,
        cause,
        confidence,
        detail: detail.unwrap_or_default(),
        broke_the_connection: matches!(
            cause,
            Cause::ServerCertInvalid
                | Cause::UnsupportedParameters
                | Cause::ClientAuth
                | Cause::DecryptError
        ),
    })
}

/// Whether an interceptor said internal_error once it had the origin's flight: its own check of the
/// certificate failed (measured: squid 5, a certificate for another name).
fn gives_up_on_certificate(facts: &Facts<'_>) -> bool {
    const INTERNAL_ERROR: u8 = 80;
    facts.server_flight
        && facts
            .failure_alert()
            .is_some_and(|alert| alert.from == Sender::Client && alert.code == Some(INTERNAL_ERROR))
}

fn total(findings: &[Finding], cause: Cause) -> f64 {
    findings
        .iter()
        .filter(|finding| finding.rule.cause == cause)
        .map(|finding| finding.weight)
        .sum()
}

/// A cause's odds against all others and against none.
fn share(findings: &[Finding], cause: Cause) -> f64 {
    let own = total(findings, cause);
    if own <= 0.0 {
        return 0.0;
    }
    let all: f64 = Cause::ALL
        .into_iter()
        .map(|cause| total(findings, cause))
        .filter(|total| *total > 0.0)
        .map(f64::exp)
        .sum();
    own.exp() / (all + 1.0)
}

/// The heaviest cause, and how sure it is.
fn weigh(findings: &[Finding]) -> Option<(Cause, f64)> {
    let best = Cause::ALL
        .into_iter()
        .max_by(|a, b| total(findings, *a).total_cmp(&total(findings, *b)))?;
    let share = share(findings, best);
    (share > 0.0).then(|| (best, share.min(CONFIDENCE_MAX)))
}

fn verdict(
    facts: &Facts<'_>,
    interception: &Interception,
    cause: Cause,
    confidence: f64,
    findings: &[Finding],
) -> Verdict {
    let intercepted = interception.status;
    let timeline = facts.timeline;
    let handshake = &timeline.handshake;
    let hello = handshake.client_hello.as_ref();
    let sni = hello.and_then(|hello| hello.server_name.clone());
    let name = sni
        .clone()
        .unwrap_or_else(|| timeline.server.ip().to_string());
    let endpoint = |address: std::net::SocketAddr| Endpoint {
        ip: address.ip(),
        port: address.port(),
    };
    let holds = |when| advice::holds(when, intercepted, facts);
    Verdict {
        time: Timestamp::from_nanosecond(i128::from(timeline.last_ns)).unwrap_or_default(),
        tap: timeline.tap.to_string(),
        community_id: community_id_v1(0, timeline.client, timeline.server),
        client: endpoint(timeline.client),
        server: endpoint(timeline.server),
        vlan: timeline.vlan.clone(),
        sni,
        alpn: hello.map(|hello| hello.alpn.clone()),
        ja4: hello.and_then(ja4),
        tls_version: handshake.version_name().map(str::to_owned),
        cause,
        confidence,
        intercepted,
        issuer: issuer(timeline),
        ended_by: ended_by(facts, cause),
        alert: alert(facts),
        reset: reset(facts),
        duration_ms: Some(timeline.last_ns.saturating_sub(timeline.started_ns) as f64 / 1e6),
        pan_os: cause.pan_os(holds).map(str::to_owned),
        evidence: evidence(facts, interception, cause, findings),
        advice: cause.advice(&name, holds),
        revises: None,
        server_leg: server_leg(facts),
    }
}

fn server_leg(facts: &Facts<'_>) -> Option<ServerLeg> {
    let (_, leg) = facts.connection.server_leg.as_ref()?;
    let endpoint = |address: std::net::SocketAddr| Endpoint {
        ip: address.ip(),
        port: address.port(),
    };
    Some(ServerLeg {
        tap: leg.tap.to_string(),
        community_id: community_id_v1(0, leg.client, leg.server),
        client: endpoint(leg.client),
        server: endpoint(leg.server),
        tls_version: leg.handshake.version_name().map(str::to_owned),
        issuer: issuer(leg),
    })
}

fn issuer(timeline: &Timeline) -> Option<String> {
    let leaf = timeline.handshake.certificate.as_ref()?.as_ref().ok()?;
    Some(leaf.issuer.clone())
}

fn party(sender: Sender) -> Party {
    match sender {
        Sender::Client => Party::Client,
        Sender::Server => Party::Server,
    }
}

fn ended_by(facts: &Facts<'_>, cause: Cause) -> Party {
    if cause == Cause::InjectedReset {
        return facts.resets.injector();
    }
    if let Some(leg) = facts.other_leg.as_ref().filter(|_| facts.established) {
        // The client was served; what broke is the leg behind, where the interceptor is the client.
        return match leg.farewell {
            Some(Sender::Client) => Party::Gateway,
            Some(Sender::Server) => Party::Server,
            None => Party::Unknown,
        };
    }
    let first = facts
        .failure_alert()
        .map(|alert| alert.from)
        .or(facts.farewell)
        .or(facts.first_close.map(|(sender, _)| sender));
    first.map_or(Party::Unknown, party)
}

/// The alert that tells most: one in the clear, or one known by its place.
fn alert(facts: &Facts<'_>) -> Option<Alert> {
    let clear = |fact: &AlertFact| Alert {
        from: party(fact.from),
        level: match fact.level {
            Some(1) => Some(AlertLevel::Warning),
            Some(2) => Some(AlertLevel::Fatal),
            _ => None,
        },
        code: fact.code,
        description: fact.code.and_then(alert_description).map(str::to_owned),
        encrypted: fact.code.is_none(),
    };
    let by_place = |from: Sender| Alert {
        from: party(from),
        level: None,
        code: None,
        description: None,
        encrypted: true,
    };
    if let Some(fact) = facts.failure_alert() {
        return Some(clear(fact));
    }
    if facts.client.alert_for_finished {
        return Some(by_place(Sender::Client));
    }
    if facts.server_alert_at_end && !facts.server_answered {
        return Some(by_place(Sender::Server));
    }
    // What ends a connection that worked is close_notify.
    facts
        .encrypted_alerts
        .first()
        .filter(|_| !facts.established)
        .or(facts.alerts.first())
        .map(clear)
}

fn reset(facts: &Facts<'_>) -> Option<Reset> {
    let sender = facts.resets.in_name_of?;
    let injected = facts.resets.injected();
    Some(Reset {
        from: if injected {
            facts.resets.injector()
        } else {
            party(sender)
        },
        injected,
        tells: facts
            .resets
            .tells
            .iter()
            .map(|tell| tell.name.to_owned())
            .collect(),
    })
}

/// What moved the verdict, for and against, heaviest first, and what stands beside it.
fn evidence(
    facts: &Facts<'_>,
    interception: &Interception,
    cause: Cause,
    findings: &[Finding],
) -> Vec<Evidence> {
    let mut evidence: Vec<Evidence> = findings
        .iter()
        // Told one by one below.
        .filter(|finding| cause != Cause::InjectedReset || finding.rule.name != "reset-tells")
        .map(|finding| Evidence {
            name: finding.rule.name.to_owned(),
            detail: finding.detail.clone(),
            weight: if finding.rule.cause == cause {
                finding.weight
            } else {
                -finding.weight
            },
        })
        .collect();
    if facts.resets.any() {
        let against = if cause == Cause::InjectedReset {
            1.0
        } else {
            0.0
        };
        evidence.extend(facts.resets.tells.iter().map(|tell| Evidence {
            name: format!("reset-{}", tell.name),
            detail: tell.detail.clone(),
            weight: tell.weight * against,
        }));
    }
    let beside = |name: &str, detail: String| Evidence {
        name: name.to_owned(),
        detail,
        weight: 0.0,
    };
    if matches!(cause, Cause::InjectedReset | Cause::EndpointReset) {
        let distance = facts.resets.distance();
        evidence.extend(distance.map(|detail| beside("reset-distance", detail)));
        let detail = format!("it came {}", facts.resets.stage);
        evidence.extend(facts.resets.any().then(|| beside("reset-stage", detail)));
    }
    evidence.extend(facts.encrypted_alerts.iter().map(|alert| {
        let detail = format!("{} sent {}", party(alert.from), describe(alert));
        beside("encrypted-alert", detail)
    }));
    evidence.extend(
        interception
            .evidence
            .iter()
            .map(|(name, detail)| beside(name, detail.clone())),
    );
    if facts.gaps {
        let detail = "segments are missing here: records may have been overlooked";
        evidence.push(beside("gap", detail.to_owned()));
    }
    evidence.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    evidence
}

#[cfg(test)]
mod tests;
