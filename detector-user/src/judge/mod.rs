//! From a flow's timeline to a verdict.
//!
//! [`facts`] says what the timeline shows, [`resets`] what its resets give away, [`rules`] what
//! that speaks for. Here the weights are added up per cause: the heaviest wins, and how sure that
//! is follows from how far the others lie behind. One flow alone never shows `pinning` or
//! `ca-not-trusted`: both look like `certificate-rejected`.

pub mod advice;
pub mod facts;
pub mod resets;
pub mod rules;

use detector_common::flow::Sender;
use jiff::Timestamp;

use crate::cli::{InterceptedWhen, Knowledge};
use crate::community_id::community_id_v1;
use crate::judge::facts::{AlertFact, Facts};
use crate::judge::rules::{RULES, describe};
use crate::timeline::{Ending, Timeline};
use crate::tls::ja4::ja4;
use crate::tls::names::alert_description;
use crate::verdict::{
    Alert, AlertLevel, Cause, Endpoint, Evidence, Intercepted, Party, Reset, Verdict,
};

/// What the judge makes of a flow.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It worked.
    Established,
    /// It did not end, or not in a way that says anything.
    Unfinished,
    /// It failed, and why.
    Failed(Box<Verdict>),
}

/// No verdict is surer than this: there is always what was not seen.
const CONFIDENCE_MAX: f64 = 0.98;

/// Judges one flow by itself.
pub fn judge(timeline: &Timeline, knowledge: &Knowledge) -> Judgement {
    let facts = Facts::of(timeline);
    let intercepted = intercepted(timeline, knowledge);
    let cut_off = facts.resets.injected() && !facts.outlived_reset;
    if facts.established && !cut_off && facts.failure_alert().is_none() {
        return Judgement::Established;
    }
    let findings: Vec<(&rules::Rule, String, f64)> = RULES
        .iter()
        .filter_map(|rule| {
            (rule.holds)(&facts, intercepted).map(|(detail, weight)| (rule, detail, weight))
        })
        .collect();
    match weigh(&findings) {
        Some((cause, confidence)) => {
            let confidence = if facts.gaps {
                confidence * 0.85
            } else {
                confidence
            };
            let verdict = verdict(&facts, knowledge, intercepted, cause, confidence, &findings);
            Judgement::Failed(Box::new(verdict))
        }
        None if facts.established => Judgement::Established,
        None if timeline.ending == Ending::Closed && facts.client.used => Judgement::Established,
        None => Judgement::Unfinished,
    }
}

/// The heaviest cause, and how sure it is: its odds against all others and against none.
fn weigh(findings: &[(&rules::Rule, String, f64)]) -> Option<(Cause, f64)> {
    let total = |cause: Cause| -> f64 {
        findings
            .iter()
            .filter(|(rule, _, _)| rule.cause == cause)
            .map(|(_, _, weight)| weight)
            .sum()
    };
    let totals: Vec<(Cause, f64)> = Cause::ALL
        .into_iter()
        .map(|cause| (cause, total(cause)))
        .filter(|(_, total)| *total > 0.0)
        .collect();
    let (cause, best) = totals
        .iter()
        .copied()
        .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let all: f64 = totals.iter().map(|(_, total)| total.exp()).sum::<f64>() + 1.0;
    Some((cause, (best.exp() / all).min(CONFIDENCE_MAX)))
}

fn intercepted(timeline: &Timeline, knowledge: &Knowledge) -> Intercepted {
    match knowledge.intercepted {
        InterceptedWhen::Always => return Intercepted::Yes,
        InterceptedWhen::Never => return Intercepted::No,
        InterceptedWhen::Auto => {}
    }
    match &timeline.handshake.certificate {
        Some(Ok(leaf))
            if knowledge
                .inspection_cas
                .iter()
                .any(|ca| ca.matches(&leaf.issuer)) =>
        {
            Intercepted::Yes
        }
        Some(Ok(_)) if !knowledge.inspection_cas.is_empty() => Intercepted::No,
        _ => Intercepted::Unknown,
    }
}

fn verdict(
    facts: &Facts<'_>,
    knowledge: &Knowledge,
    intercepted: Intercepted,
    cause: Cause,
    confidence: f64,
    findings: &[(&rules::Rule, String, f64)],
) -> Verdict {
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
        pan_os: Some(advice::pan_os(cause, facts).to_owned()),
        evidence: evidence(facts, knowledge, intercepted, cause, findings),
        advice: advice::advice(cause, &name, intercepted, facts),
        revises: None,
    }
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
        return Party::Middlebox;
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
    facts
        .encrypted_alerts
        .first()
        .or(facts.alerts.first())
        .map(clear)
}

fn reset(facts: &Facts<'_>) -> Option<Reset> {
    let sender = facts.resets.in_name_of?;
    let injected = facts.resets.injected();
    Some(Reset {
        from: if injected {
            Party::Middlebox
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
    knowledge: &Knowledge,
    intercepted: Intercepted,
    cause: Cause,
    findings: &[(&rules::Rule, String, f64)],
) -> Vec<Evidence> {
    let mut evidence: Vec<Evidence> = findings
        .iter()
        .map(|(rule, detail, weight)| Evidence {
            name: rule.name.to_owned(),
            detail: detail.clone(),
            weight: if rule.cause == cause {
                *weight
            } else {
                -weight
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
    evidence.extend(facts.encrypted_alerts.iter().map(|alert| Evidence {
        name: "encrypted-alert".to_owned(),
        detail: format!("{} sent {}", party(alert.from), describe(alert)),
        weight: 0.0,
    }));
    evidence.extend(interception(facts, knowledge, intercepted));
    if facts.gaps {
        evidence.push(Evidence {
            name: "gap".to_owned(),
            detail: "segments are missing here: records may have been overlooked".to_owned(),
            weight: 0.0,
        });
    }
    evidence.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    evidence
}

fn interception(
    facts: &Facts<'_>,
    knowledge: &Knowledge,
    intercepted: Intercepted,
) -> Option<Evidence> {
    let detail = match (intercepted, knowledge.intercepted, issuer(facts.timeline)) {
        (Intercepted::Unknown, ..) => return None,
        (_, InterceptedWhen::Always, _) => {
            "the operator says all connections are intercepted here".to_owned()
        }
        (_, InterceptedWhen::Never, _) => {
            "the operator says no connection is intercepted here".to_owned()
        }
        (Intercepted::Yes, _, Some(issuer)) => {
            format!("the certificate shown was issued by the inspection CA {issuer}")
        }
        (_, _, Some(issuer)) => {
            format!("the certificate shown was issued by {issuer}, not by an inspection CA")
        }
        _ => return None,
    };
    Some(Evidence {
        name: "interception".to_owned(),
        detail,
        weight: 0.0,
    })
}

#[cfg(test)]
mod tests;
