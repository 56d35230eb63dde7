//! Counts of everything a run did.

use std::collections::BTreeMap;

use crate::flow::tracker::TrackerCounts;

/// What a pipeline did.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Flows seen and given up.
    pub tracker: TrackerCounts,
    /// Flows under way.
    pub under_way: usize,
    /// Flows that worked.
    pub established: u64,
    /// Flows whose handshake went through and that nobody had a use for.
    pub unused: u64,
    /// Flows that did not end, or not in a way that says anything.
    pub unfinished: u64,
    /// Verdicts that replace earlier ones.
    pub revised: u64,
    /// TLS records in what was judged.
    pub records: u64,
    /// Verdicts by cause, those that replace others not counted.
    pub causes: BTreeMap<&'static str, u64>,
    /// Verdicts that did not get out: sink, why, how many.
    pub lost_verdicts: Vec<(&'static str, &'static str, u64)>,
}
