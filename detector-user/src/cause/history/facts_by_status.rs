//! Facts apart by their connections' status of interception.

use super::decide::decide;
use super::decision::Decision;
use super::fact::{Fact, Name, Triple};
use super::facts::{Change, Facts};
use super::likelihoods::{PRIOR, PRIOR_DIRECT};
use super::origins::{OriginAnswer, Origins};
use super::refusals::Refusals;
use crate::verdict::{Cause, Intercepted};

/// Factor on the confidence of a decision that does not know of an interceptor.
const UNSEEN_INTERCEPTOR: f64 = 0.8;

/// Facts by their connections' status of interception.
#[derive(Default)]
pub(super) struct FactsByStatus {
    /// Of connections that were intercepted.
    intercepted: Facts,
    /// Of connections that may have been: their evidence of a missing CA holds either way.
    perhaps: Facts,
    /// Of connections that were not.
    direct: Facts,
    /// Origins' own answers, no matter which connections were intercepted.
    pub(super) origins: Origins,
}

impl FactsByStatus {
    /// Records a fact, and returns which decisions it changes.
    pub(super) fn record(&mut self, fact: &Fact, status: Intercepted) -> Change {
        match status {
            Intercepted::Yes => self.intercepted.record(fact),
            Intercepted::Unknown => self.perhaps.record(fact),
            Intercepted::No => self.direct.record(fact),
        }
    }

    /// Returns the refusals whose decision a fact may change.
    pub(super) fn concerned(
        &self,
        fact: &Fact,
        status: Intercepted,
        change: Change,
    ) -> Vec<Triple> {
        let facts = match status {
            Intercepted::Yes => &self.intercepted,
            Intercepted::Unknown => &self.perhaps,
            Intercepted::No => &self.direct,
        };
        facts.concerned(fact, change)
    }

    /// Returns the refusals of a name, no matter which connections were intercepted.
    pub(super) fn of_name(&self, name: &Name, now_s: u64) -> Vec<Triple> {
        let mut triples = Vec::new();
        for facts in [&self.intercepted, &self.perhaps, &self.direct] {
            if let Some(visitors) = facts.visitors_of(name) {
                let new = visitors.triples.still(now_s);
                triples.extend(
                    new.filter(|it| !triples.contains(*it))
                        .copied()
                        .collect::<Vec<_>>(),
                );
            }
        }
        triples
    }

    /// Decides the cause of a refusal by the facts at `now_s`, seconds since the UNIX epoch.
    /// Pinning is only said of intercepted connections; a client that accepts no interceptor lacks
    /// the CA, no matter which CA signed, only less surely the inspection CA. Of a connection that was not
    /// intercepted only the origin's certificate is said to be invalid.
    pub(super) fn decide(
        &self,
        origins: &Origins,
        status: Intercepted,
        triple: &Triple,
        refusals: &Refusals,
        now_s: u64,
    ) -> Option<Decision> {
        let facts = match status {
            Intercepted::Yes => (&self.intercepted, &PRIOR),
            Intercepted::Unknown => (&self.perhaps, &PRIOR),
            Intercepted::No => (&self.direct, &PRIOR_DIRECT),
        };
        let mut decision = decide(facts, origins, triple, refusals, now_s)?;
        match status {
            Intercepted::Yes => {}
            Intercepted::No => {
                decision.told &= decision.cause == Cause::ServerCertInvalid;
                decision.direct = true;
            }
            Intercepted::Unknown => {
                let is_invalid = decision.origin == Some(OriginAnswer::Invalid);
                decision.told &= match decision.cause {
                    Cause::CaNotTrusted => decision.by_others,
                    // With or without an interceptor.
                    Cause::ServerCertInvalid => is_invalid,
                    _ => false,
                };
                decision.confidence *= UNSEEN_INTERCEPTOR;
                decision.interceptor_unseen = true;
            }
        }
        Some(decision)
    }
}
