//! Counts of a run.

use std::collections::BTreeMap;

use std::net::SocketAddr;

use crate::cause::history::Outcomes;
use crate::flow::tracker::{RefusalCounts, TrackerCounts};

/// Counts of a pipeline.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Flows seen and evicted.
    pub tracker: TrackerCounts,
    /// Flows in progress.
    pub under_way: usize,
    /// Connections without a verdict, each in its latest outcome.
    pub outcomes: Outcomes,
    /// All that had an outcome at some time, for counters that never decrease.
    pub outcomes_ever: Outcomes,
    /// Resets after which their receivers went on: of no connection's end.
    pub resets_without_effect: u64,
    /// Connections refused before their first byte.
    pub refused: RefusalCounts,
    /// The servers with most of them, most first.
    pub refused_by: Vec<(SocketAddr, RefusalCounts)>,
    /// Verdicts that replace earlier ones.
    pub revised: u64,
    /// Revisions that came after their verdict was settled, and were not written.
    pub settled_late: u64,
    /// Connections that are ignored.
    pub ignored: u64,
    /// Connections with two flows.
    pub joined: u64,
    /// Further flows of connections: copies, and an interceptor's further attempts for one client.
    pub further: u64,
    /// Connections whose verdicts the filter kept from being written.
    pub filtered: u64,
    /// TLS records of judged connections.
    pub records: u64,
    /// Connections that failed, by the cause of their latest verdict.
    pub causes: BTreeMap<&'static str, u64>,
    /// Origins that were asked.
    pub probes: ProbeCounts,
    /// Lost verdicts: sink, reason, number.
    pub lost_verdicts: Vec<(&'static str, &'static str, u64)>,
}

impl Tally {
    /// Returns the number of flows whose connections are counted: all but those under way, and those that wait
    /// for evidence.
    #[must_use]
    pub fn judged_flows(&self) -> u64 {
        let Outcomes {
            established,
            unused,
            unfinished,
        } = self.outcomes;
        let failed: u64 = self.causes.values().sum();
        let judged = established + unused + unfinished + failed;
        judged + self.filtered + self.ignored + self.joined + self.further
    }
}

/// Probes that the agent made by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeCounts {
    /// Origins asked.
    pub asked: u64,
    /// Answers with a valid certificate.
    pub valid: u64,
    /// Answers with another.
    pub invalid: u64,
    /// Answers of an interceptor.
    pub intercepted: u64,
    /// Probes without an answer.
    pub failed: u64,
    /// Questions about a name that was asked within a day.
    pub skipped_day: u64,
    /// Questions beyond the hour's limit.
    pub skipped_hour: u64,
    /// Questions about names that are never asked.
    pub skipped_never: u64,
    /// Questions while too many waited.
    pub skipped_busy: u64,
}
