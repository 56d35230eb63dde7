//! Judgement of the leg behind an interceptor by itself.

use detector_common::flow::Sender;

use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Facts;
use crate::cause::judge::rules::{Case, ServerLeg, findings};
use crate::cause::judge::weigh::heaviest;
use crate::verdict::{Cause, Intercepted};

/// Probability from which on the failure of the server leg is told of a connection whose client was
/// served.
const SURE_ALONE: f64 = 0.85;
/// Probability that an interceptor refused the origin which it left, before its client was answered, without
/// having asked it for anything (measured: squid 5 and an unknown issuer over TLS 1.3). It may also have
/// refused its client's request.
const LEFT_UNASKED: f64 = 0.65;

impl<'f> ServerLeg<'f> {
    /// Judges a leg as a connection of its own, whose client had its answer at `answered_ns`, nanoseconds
    /// since the UNIX epoch.
    pub(super) fn judged(facts: &'f Facts<'f>, answered_ns: Option<u64>) -> Self {
        let findings = findings(Case {
            facts,
            server_leg: None,
            intercepted: Intercepted::Yes,
            client_is_interceptor: false,
            ech_is_grease: false,
        });
        let (cause, confidence) = heaviest(&findings).unwrap_or((Cause::Established, 0.0));
        // The interceptor is the client there, and has no spare connections: a certificate that it
        // refuses, or turns away from, is the origin's.
        let cause = match cause {
            Cause::CertificateRejected => Cause::ServerCertInvalid,
            cause => cause,
        };
        let failed_ns = facts.failed_ns().unwrap_or(facts.timeline.last_ns);
        let evidence = findings
            .iter()
            .max_by(|a, b| a.weight.total_cmp(&b.weight))
            .map(|finding| finding.evidence);
        let judged = Self {
            facts,
            failed_ns,
            cause,
            confidence,
            evidence,
        };
        let left_unasked = facts.unused() && answered_ns.is_some_and(|at| failed_ns < at);
        if left_unasked && judged.confidence < LEFT_UNASKED && is_vague(cause) {
            return Self {
                cause: Cause::ServerCertInvalid,
                confidence: LEFT_UNASKED,
                evidence: Some(Evidence::LeftUnasked),
                ..judged
            };
        }
        judged
    }

    /// Whether its failure broke the connection of this client, which was answered.
    pub(super) fn broke_the_connection(&self, client: &Facts<'_>) -> bool {
        // Once the origin was gone the client's answer was the interceptor's.
        let gone = client.answered_ns().is_some_and(|at| self.failed_ns < at);
        let gone_or_unasked = gone || self.is_answered_without(client);
        let breaks = match self.cause {
            Cause::ServerCertInvalid
            | Cause::UnsupportedParameters
            | Cause::ClientAuth
            | Cause::DecryptError => self.confidence >= SURE_ALONE || gone_or_unasked,
            // By the origin, before the interceptor could ask it.
            Cause::EndpointReset => gone && !self.facts.client.used && self.is_left_by_origin(),
            _ => false,
        };
        breaks && !self.facts.established
    }

    /// Whether the client was answered although no handshake with the origin went through: by the interceptor,
    /// which may close that leg only later.
    pub(in crate::cause::judge) fn is_answered_without(&self, client: &Facts<'_>) -> bool {
        let began_ns = self.facts.timeline.started_ns;
        let answered = client.last_answered_ns().is_some_and(|at| began_ns < at);
        !self.facts.client.finished && client.client.used && answered
    }

    fn is_left_by_origin(&self) -> bool {
        self.facts.closed_by(Sender::Server)
    }
}

/// Whether nothing else than a closed connection was seen.
const fn is_vague(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Abandoned | Cause::Established | Cause::ServerCertInvalid
    )
}
