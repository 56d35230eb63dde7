//! The verdict on a connection that failed.

use std::sync::Arc;

use detector_common::flow::Sender;
use detector_common::tunnel::TunnelTag;
use jiff::Timestamp;

use crate::cause::interception::Interception;
use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::{AlertFact, Facts};
use crate::cause::judge::ladder::ladder;
use crate::cause::judge::resets::Stage;
use crate::cause::judge::rules::{Case, Finding, ServerLeg};
use crate::cause::runtime::with_setting;
use crate::flow::halves::is_joined;
use crate::flow::timeline::Timeline;
use crate::flow::tls::ja4::ja4;
use crate::verdict::community_id::community_id_v1;
use crate::verdict::{self, Alert, Cause, Party, Reset, Verdict, When};

/// Sources of a verdict's fields, beside the cause.
pub(super) struct Grounds<'f> {
    /// The connection as the rules saw it.
    pub(super) case: Case<'f>,
    /// The leg nearer to the server, if another tap saw it.
    pub(super) other_leg: Option<&'f Timeline>,
    /// Whether it was intercepted, and the evidence of that.
    pub(super) interception: &'f Interception,
    /// Rules that hold.
    pub(super) findings: &'f [Finding<'f>],
    /// Another verdict on the connection, whose fields that all of them share are taken over.
    pub(super) like: Option<&'f Verdict>,
}

impl Grounds<'_> {
    /// Makes the verdict.
    pub(super) fn verdict(&self, cause: Cause, confidence: f64) -> Verdict {
        let facts = self.case.facts;
        let timeline = facts.timeline;
        let handshake = &timeline.handshake;
        let hello = handshake.client_hello.as_ref();
        let sni = hello.and_then(|hello| hello.server_name.as_deref());
        let sni = sni.map(str::to_owned);
        let address = || timeline.server.ip().to_string();
        let name = timeline.server_name().map_or_else(address, str::to_owned);
        let holds = |when| self.holds(when);
        let app = hello.and_then(ja4);
        let advice = cause.advice(&name, holds);
        let advice = advice.map(|it| with_setting(it, app.as_deref()));
        let mut verdict = Verdict {
            time: Timestamp::from_nanosecond(i128::from(timeline.last_ns)).unwrap_or_default(),
            tap: timeline.tap.to_string(),
            community_id: self.like.map_or_else(
                || community_id_v1(0, timeline.client, timeline.server),
                |like| like.community_id.clone(),
            ),
            client: timeline.client.into(),
            server: timeline.server.into(),
            vlan: timeline.vlan.clone(),
            sni,
            alpn: hello.map(|hello| hello.alpn.clone()),
            ja4: app,
            tls_version: handshake.version_name().map(str::to_owned),
            cause,
            confidence,
            intercepted: self.case.intercepted,
            issuer: facts.leaf().map(|leaf| leaf.issuer.to_string()),
            ended_by: ended_by(facts, self.case.server_leg, cause),
            alert: alert(facts),
            reset: reset(facts),
            duration_ms: Some(timeline.last_ns.saturating_sub(timeline.started_ns) as f64 / 1e6),
            pan_os: None,
            pan_os_beneath: None,
            evidence: self.evidence(cause),
            advice,
            revises: None,
            server_leg: self.other_leg.map(server_leg),
            tunnel: tunnel(timeline),
            id: String::new(),
            revision: 0,
            supersedes: None,
            target: timeline.target().map(ToString::to_string),
            ladder: self
                .like
                .map_or_else(|| Arc::new(ladder(facts)), |like| Arc::clone(&like.ladder)),
        };
        verdict.set_pan_os(holds);
        match self.like {
            Some(like) => verdict.id.clone_from(&like.id),
            None => verdict.set_revision(0),
        }
        verdict
    }

    /// Whether a circumstance, on which the wording of advice depends, holds for the connection alone.
    fn holds(&self, when: When) -> bool {
        let facts = self.case.facts;
        match when {
            When::Always => true,
            When::ClientIsInterceptor => self.case.client_is_interceptor,
            When::NotIntercepted | When::InterceptionUnknown => when.is_of(self.case.intercepted),
            When::ResetIsAllOfItsSender => !facts.resets.comparable,
            When::ResetInClientsName => facts.resets.in_name_of == Some(Sender::Client),
            When::RejectedByIcmp => facts.unreachable().is_some(),
            When::HandshakeFinished => facts.client.finished,
            // Other connections show these.
            When::RefusedFromInterceptorOnly | When::OtherAppsAccept => false,
        }
    }

    /// Returns the evidence for and against the cause, weightiest first, and the facts that stand
    /// beside it.
    fn evidence(&self, cause: Cause) -> Vec<verdict::Evidence> {
        let mut evidence = self.weighed(cause);
        evidence.extend(self.beside(cause).into_iter().map(|fact| (fact, 0.0)));
        evidence.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
        let written = evidence.iter();
        written
            .map(|(fact, weight)| fact.written(*weight))
            .collect()
    }

    fn weighed(&self, cause: Cause) -> Vec<(Evidence<'_>, f64)> {
        let injected = cause == Cause::InjectedReset;
        let sign = |finding: &Finding<'_>| if finding.cause == cause { 1.0 } else { -1.0 };
        let findings = self.findings.iter();
        let mut weighed: Vec<_> = findings
            .map(|finding| (finding.evidence, finding.weight * sign(finding)))
            // Told one by one below.
            .filter(|(fact, _)| !(injected && matches!(fact, Evidence::ResetTells(_))))
            .collect();
        weighed.extend(self.case.facts.resets.tells.iter().map(|tell| {
            let weight = if injected { tell.weight() } else { 0.0 };
            (Evidence::ResetTell(*tell), weight)
        }));
        weighed
    }

    fn beside(&self, cause: Cause) -> Vec<Evidence<'_>> {
        let facts = self.case.facts;
        let resets = &facts.resets;
        let mut beside = Vec::new();
        let preamble = facts.timeline.preamble.as_deref();
        if let Some(preamble) = preamble {
            beside.extend(preamble.target.as_ref().map(Evidence::Target));
            beside.extend(preamble.told_client.map(Evidence::ToldClient));
        }
        if matches!(cause, Cause::InjectedReset | Cause::EndpointReset) {
            beside.extend(resets.distance.map(Evidence::ResetDistance));
            let stage = if facts.established {
                Stage::Data
            } else {
                resets.stage
            };
            beside.extend(resets.any().then_some(Evidence::ResetStage(stage)));
        }
        let outlived = facts.timeline.resets_outlived;
        beside.extend((outlived > 0).then_some(Evidence::ResetsOutlived(outlived)));
        let encrypted = facts.encrypted_alerts().into_iter();
        beside.extend(encrypted.map(Evidence::EncryptedAlert));
        let interception = self.interception.evidence.as_ref();
        beside.extend(interception.map(Evidence::Interception));
        beside.extend(facts.gaps.then_some(Evidence::Gap));
        beside.extend(facts.is_one_sided().then_some(Evidence::OneDirection));
        let joined = is_joined(facts.timeline.flow.key.interface);
        beside.extend(joined.then_some(Evidence::Halves(&facts.timeline.tap)));
        beside.extend(facts.misses_hello().then_some(Evidence::HelloMissed));
        beside
    }
}

fn tunnel(leg: &Timeline) -> Option<verdict::Tunnel> {
    let tag = TunnelTag(leg.flow.key.tunnel);
    Some(verdict::Tunnel {
        kind: tag.kind()?.name().to_owned(),
        id: tag.id(),
    })
}

fn server_leg(leg: &Timeline) -> verdict::ServerLeg {
    let leaf = leg.handshake.certificate.as_ref();
    let leaf = leaf.and_then(|leaf| leaf.as_ref().ok());
    verdict::ServerLeg {
        tap: leg.tap.to_string(),
        community_id: community_id_v1(0, leg.client, leg.server),
        client: leg.client.into(),
        server: leg.server.into(),
        tls_version: leg.handshake.version_name().map(str::to_owned),
        issuer: leaf.map(|leaf| leaf.issuer.to_string()),
    }
}

pub(super) const fn party(sender: Sender) -> Party {
    match sender {
        Sender::Client => Party::Client,
        Sender::Server => Party::Server,
    }
}

fn ended_by(facts: &Facts<'_>, server_leg: Option<&ServerLeg<'_>>, cause: Cause) -> Party {
    if cause == Cause::InjectedReset {
        return facts.resets.injector();
    }
    if cause == Cause::ProxyRefused {
        return Party::Server;
    }
    if let Some(error) = facts.unreachable() {
        return match cause {
            Cause::EndpointReset if error.about == Sender::Client => Party::Server,
            Cause::EndpointReset => Party::Client,
            _ => Party::Unknown,
        };
    }
    if let Some(leg) = server_leg.filter(|_| facts.established) {
        // The client was served; the leg behind broke, where the interceptor is the client.
        return match leg.facts.farewell {
            Some(Sender::Client) => Party::Gateway,
            Some(Sender::Server) => Party::Server,
            None => Party::Unknown,
        };
    }
    let first = facts
        .failure_alert()
        .map(|alert| alert.from)
        .or(facts.alert_amid_data.map(|alert| alert.by))
        .or(facts.farewell)
        .or(facts.first_close.map(|(sender, _)| sender));
    first.map_or(Party::Unknown, party)
}

/// Returns the most telling alert: one in the clear, or one known by its place.
fn alert(facts: &Facts<'_>) -> Option<Alert> {
    if let Some(fact) = facts.failure_alert() {
        return Some(as_read(fact));
    }
    if facts.client.alert_for_finished {
        return Some(by_place(Sender::Client));
    }
    if facts.server_alert_at_end && !facts.server_answered {
        return Some(by_place(Sender::Server));
    }
    if let Some(alert) = facts.alert_amid_data {
        return Some(by_place(alert.by));
    }
    // The alert that ends a connection that worked is close_notify.
    let encrypted = match facts.established {
        true => None,
        false => facts.encrypted_alerts().first().map(as_read),
    };
    encrypted.or_else(|| facts.alerts.first().map(as_read))
}

fn as_read(fact: &AlertFact) -> Alert {
    let description = fact.description;
    Alert {
        from: party(fact.from),
        level: fact.level,
        code: description.map(|it| it.code()),
        description: description.and_then(|it| it.name()).map(str::to_owned),
        encrypted: description.is_none(),
    }
}

const fn by_place(from: Sender) -> Alert {
    Alert {
        from: party(from),
        level: None,
        code: None,
        description: None,
        encrypted: true,
    }
}

fn reset(facts: &Facts<'_>) -> Option<Reset> {
    let resets = &facts.resets;
    let sender = resets.in_name_of?;
    let injected = resets.injected();
    let from = if injected {
        resets.injector()
    } else {
        party(sender)
    };
    let tells = resets.tells.iter().map(|tell| tell.name().to_owned());
    Some(Reset {
        from,
        injected,
        tells: tells.collect(),
    })
}
