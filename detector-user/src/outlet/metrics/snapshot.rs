//! The agent's numbers at one moment, as they are served.

use std::ops::Deref;

use detector_common::counter::Counter;

use super::meter::VerdictCounts;
use super::process::Process;
use crate::outlet::sink::SinkStatus;
use crate::outlet::tally::Tally;

/// What the agent has to say at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The kernel's counters.
    pub counters: Vec<(Counter, u64)>,
    /// Settled flows that made room for others.
    pub forgotten: u64,
    /// Flows the table of watched flows holds.
    pub watched_max: u64,
    /// Flows the table of settled flows holds.
    pub settled_max: u64,
    /// Observations taken off their ring.
    pub observations: u64,
    /// Pieces of handshakes taken off theirs.
    pub chunks: u64,
    /// Items of a wrong size.
    pub malformed: u64,
    /// What was judged.
    pub tally: Tally,
    /// Verdicts by tap and cause.
    pub verdicts: VerdictCounts,
    /// How sinks are doing.
    pub sinks: Vec<SinkStatus>,
    /// Facts that were to be kept and were not.
    pub unkept: u64,
    /// Interfaces that are tapped.
    pub taps: Vec<TapState>,
    /// Bytes of kernel memory.
    pub kernel_memory: u64,
}

/// How an interface is tapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapState {
    /// Its name.
    pub name: String,
    /// Where incoming frames are seen.
    pub ingress: &'static str,
    /// Where outgoing ones are.
    pub egress: Option<&'static str>,
}

impl Snapshot {
    pub(super) fn counters(&self) -> impl Iterator<Item = (Counter, u64)> {
        self.counters.iter().copied()
    }

    pub(super) fn of(&self, wanted: Counter) -> u64 {
        self.counters()
            .find(|(counter, _)| *counter == wanted)
            .map_or(0, |(_, number)| number)
    }

    /// Settled flows there are: what went in and neither came out nor made room.
    pub(super) fn settled(&self) -> u64 {
        self.of(Counter::Settled)
            .saturating_sub(self.of(Counter::Resumed))
            .saturating_sub(self.forgotten)
    }
}

/// What one scrape shows.
pub(super) struct Scrape<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) process: Process,
    pub(super) is_ready: bool,
    pub(super) started_s: f64,
}

impl Deref for Scrape<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        self.snapshot
    }
}
