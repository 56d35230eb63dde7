//! Connections by outcome and cause: each counts once, in its latest.

use std::collections::BTreeMap;

use hashlink::LruCache;

use crate::cause::history::{Outcomes, Reclassified};
use crate::cause::judge::Judgement;
use crate::verdict::Verdict;

/// Connections whose verdict a later one may replace: the latest.
const LATEST_MAX: usize = 65_536;

/// The place where a connection with a verdict is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Cause(&'static str),
    Filtered,
}

/// Numbers of connections that were judged.
#[derive(Debug)]
pub(super) struct ConnectionCounts {
    outcomes: Outcomes,
    ever: Outcomes,
    /// Connections that failed, by cause.
    causes: BTreeMap<&'static str, u64>,
    /// Connections whose verdicts are not written.
    filtered: u64,
    /// Verdicts that replace earlier ones.
    revised: u64,
    /// Places by connection.
    latest: LruCache<u64, Place>,
}

impl Default for ConnectionCounts {
    fn default() -> Self {
        Self {
            outcomes: Outcomes::default(),
            ever: Outcomes::default(),
            causes: BTreeMap::new(),
            filtered: 0,
            revised: 0,
            latest: LruCache::new(LATEST_MAX),
        }
    }
}

impl ConnectionCounts {
    /// Counts a connection; one that failed counts once its verdict is written.
    pub(super) fn record(&mut self, judgement: &Judgement) {
        self.outcomes.count(judgement);
        self.ever.count(judgement);
    }

    /// Counts connections in their later outcome. Returns the number of those that an earlier agent has
    /// counted in the earlier one: they are counted here from now on.
    pub(super) fn reclassify(&mut self, Reclassified { from, to }: Reclassified) -> u64 {
        let mut counted_late = 0;
        let mut moved = |count: &mut u64, from: u64, to: u64| {
            let all = *count + to;
            counted_late += from.saturating_sub(all);
            *count = all.saturating_sub(from);
        };
        let Outcomes {
            established,
            unused,
            unfinished,
        } = &mut self.outcomes;
        moved(established, from.established, to.established);
        moved(unused, from.unused, to.unused);
        moved(unfinished, from.unfinished, to.unfinished);
        self.ever.established += to.established;
        self.ever.unused += to.unused;
        self.ever.unfinished += to.unfinished;
        counted_late
    }

    /// Counts a verdict that is written: its connection moves from the cause of an earlier one to its own.
    pub(super) fn record_verdict(&mut self, verdict: &Verdict) {
        self.revised += u64::from(verdict.revises.is_some());
        self.place(verdict, Place::Cause(verdict.cause.name()));
    }

    /// Counts a verdict that the filter rejects. Of a connection with a verdict that is written, that one
    /// stands.
    pub(super) fn record_filtered(&mut self, verdict: &Verdict) {
        if !self.latest.contains_key(&verdict.connection_id()) {
            self.place(verdict, Place::Filtered);
        }
    }

    fn place(&mut self, verdict: &Verdict, place: Place) {
        let connection = verdict.connection_id();
        match self.latest.remove(&connection) {
            Some(Place::Filtered) => self.filtered = self.filtered.saturating_sub(1),
            Some(Place::Cause(cause)) => self.leave(cause),
            // It was counted so long ago that its place is forgotten, or by an earlier agent.
            None if verdict.supersedes.is_some() => return,
            None => {}
        }
        match place {
            Place::Filtered => self.filtered += 1,
            Place::Cause(cause) => *self.causes.entry(cause).or_default() += 1,
        }
        self.latest.insert(connection, place);
    }

    fn leave(&mut self, cause: &'static str) {
        if let Some(count) = self.causes.get_mut(cause) {
            *count -= 1;
            if *count == 0 {
                self.causes.remove(cause);
            }
        }
    }

    /// Returns the connections without a verdict.
    pub(super) const fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    /// Returns the connections that had an outcome at some time.
    pub(super) const fn outcomes_ever(&self) -> Outcomes {
        self.ever
    }

    /// Returns the connections that failed, by cause.
    pub(super) const fn causes(&self) -> &BTreeMap<&'static str, u64> {
        &self.causes
    }

    /// Returns the connections whose verdicts are not written.
    pub(super) const fn filtered(&self) -> u64 {
        self.filtered
    }

    /// Returns the verdicts that replace earlier ones.
    pub(super) const fn revised(&self) -> u64 {
        self.revised
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Cause;
    use crate::verdict::tests::pinning;

    fn verdict(number: u32, cause: Cause, revision: u32) -> Verdict {
        let mut verdict = pinning();
        verdict.community_id = format!("1:{number}");
        verdict.cause = cause;
        verdict.set_revision(revision);
        verdict.revises = verdict.supersedes.clone();
        verdict
    }

    fn causes(counts: &ConnectionCounts) -> Vec<(&str, u64)> {
        counts
            .causes()
            .iter()
            .map(|(cause, n)| (*cause, *n))
            .collect()
    }

    #[test]
    fn a_connection_counts_with_the_cause_of_its_latest_verdict() {
        let mut counts = ConnectionCounts::default();
        for number in [1, 2] {
            counts.record_verdict(&verdict(number, Cause::CertificateRejected, 0));
        }
        counts.record_verdict(&verdict(1, Cause::Pinning, 1));
        let each = [("certificate-rejected", 1), ("pinning", 1)];
        assert_eq!((causes(&counts), counts.revised()), (each.to_vec(), 1));
        counts.record_verdict(&verdict(2, Cause::Pinning, 1));
        counts.record_verdict(&verdict(1, Cause::CaNotTrusted, 2));
        let each = [("ca-not-trusted", 1), ("pinning", 1)];
        assert_eq!((causes(&counts), counts.revised()), (each.to_vec(), 3));
    }

    #[test]
    fn a_revision_of_a_connection_that_was_not_counted_counts_none() {
        let mut counts = ConnectionCounts::default();
        counts.record_verdict(&verdict(1, Cause::Pinning, 1));
        counts.record_verdict(&verdict(1, Cause::CaNotTrusted, 2));
        assert_eq!((causes(&counts), counts.revised()), (vec![], 2));
    }

    #[test]
    fn a_filtered_connection_counts_once_until_a_verdict_on_it_is_written() {
        let mut counts = ConnectionCounts::default();
        counts.record_filtered(&verdict(1, Cause::Abandoned, 0));
        counts.record_filtered(&verdict(1, Cause::Pinning, 1));
        assert_eq!(counts.filtered(), 1);
        counts.record_verdict(&verdict(1, Cause::CaNotTrusted, 2));
        assert_eq!(
            (counts.filtered(), causes(&counts)),
            (0, vec![("ca-not-trusted", 1)])
        );
        // After a reload with another filter.
        counts.record_filtered(&verdict(1, Cause::Pinning, 3));
        assert_eq!(
            (counts.filtered(), causes(&counts)),
            (0, vec![("ca-not-trusted", 1)])
        );
    }

    #[test]
    fn an_unused_connection_that_proves_refused_counts_once() {
        let mut counts = ConnectionCounts::default();
        counts.record(&Judgement::Unused);
        let refused = Outcomes {
            unused: 1,
            ..Outcomes::default()
        };
        counts.reclassify(Reclassified {
            from: refused,
            to: Outcomes::default(),
        });
        counts.record_verdict(&verdict(1, Cause::Pinning, 0));
        assert_eq!(counts.outcomes(), Outcomes::default());
        assert_eq!(counts.outcomes_ever(), refused, "counters do not decrease");
    }
}
