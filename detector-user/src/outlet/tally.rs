//! Counts of a run.

use std::collections::BTreeMap;

use std::net::SocketAddr;

use crate::flow::tracker::{RefusalCounts, TrackerCounts};

/// Counts of a pipeline.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Flows seen and evicted.
    pub tracker: TrackerCounts,
    /// Flows in progress.
    pub under_way: usize,
    /// Established connections.
    pub established: u64,
    /// Connections that the client closed after the handshake before any use.
    pub unused: u64,
    /// Connections without an end that shows a cause.
    pub unfinished: u64,
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
    /// Verdicts that the filter kept from being written.
    pub filtered: u64,
    /// TLS records of judged connections.
    pub records: u64,
    /// Verdicts by cause, without those that replace earlier ones.
    pub causes: BTreeMap<&'static str, u64>,
    /// Lost verdicts: sink, reason, number.
    pub lost_verdicts: Vec<(&'static str, &'static str, u64)>,
}
