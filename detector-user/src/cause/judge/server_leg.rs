//! Judgement of the leg behind an interceptor by itself.

use crate::cause::judge::facts::Facts;
use crate::cause::judge::rules::{Case, ServerLeg, findings};
use crate::cause::judge::weigh::heaviest;
use crate::verdict::{Cause, Intercepted};

/// Probability from which on the failure of the server leg is told of a connection whose client was
/// served.
const SURE_ALONE: f64 = 0.85;

impl<'f> ServerLeg<'f> {
    /// Judges a leg as a connection of its own.
    pub(super) fn judged(facts: &'f Facts<'f>) -> Self {
        let findings = findings(Case {
            facts,
            server_leg: None,
            intercepted: Intercepted::Yes,
        });
        let (cause, confidence) = heaviest(&findings).unwrap_or((Cause::Established, 0.0));
        // The interceptor is the client there, and has no spare connections: a certificate that it
        // refuses, or turns away from, is the origin's.
        let cause = match cause {
            Cause::CertificateRejected => Cause::ServerCertInvalid,
            cause => cause,
        };
        Self {
            facts,
            failed_ns: facts.failed_ns().unwrap_or(facts.timeline.last_ns),
            cause,
            confidence,
            evidence: findings
                .iter()
                .max_by(|a, b| a.weight.total_cmp(&b.weight))
                .map(|finding| finding.evidence),
        }
    }

    /// Whether its failure broke a connection whose client had its answer at `answered_ns`,
    /// nanoseconds since the UNIX epoch.
    pub(super) fn broke_the_connection(&self, answered_ns: Option<u64>) -> bool {
        // Once the origin was gone the client's answer was the interceptor's.
        let gone = answered_ns.is_some_and(|at| self.failed_ns < at);
        let breaks = matches!(
            self.cause,
            Cause::ServerCertInvalid
                | Cause::UnsupportedParameters
                | Cause::ClientAuth
                | Cause::DecryptError
        );
        breaks && !self.facts.established && (self.confidence >= SURE_ALONE || gone)
    }
}
