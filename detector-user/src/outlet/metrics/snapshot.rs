//! The agent's numbers at one moment, as they are served.

use std::ops::Deref;

use detector_common::counter::Counter;

use super::meter::{TapConnections, VerdictCounts};
use super::process::Process;
use crate::flow::fair_share::Shed;
use crate::outlet::sink::SinkStatus;
use crate::outlet::status::FleetCounts;
use crate::outlet::tally::Tally;

/// The agent's numbers at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The kernel's counters.
    pub counters: Vec<(Counter, u64)>,
    /// Settled flows that were evicted.
    pub forgotten: u64,
    /// Maximum watched flows.
    pub watched_max: u64,
    /// Maximum settled flows.
    pub settled_max: u64,
    /// Observations read from their ring.
    pub observations: u64,
    /// Handshake fragments read from their ring.
    pub chunks: u64,
    /// Ring items of unexpected size.
    pub malformed: u64,
    /// Items dropped because their clients had more than their share.
    pub shed: Shed,
    /// Counts of the pipeline.
    pub tally: Tally,
    /// Verdicts by tap and cause.
    pub verdicts: VerdictCounts,
    /// Connections by tap.
    pub connections: TapConnections,
    /// Numbers of the sinks.
    pub sinks: Vec<SinkStatus>,
    /// Learned facts that could not be saved.
    pub unkept: u64,
    /// The fleet's numbers, if there is one.
    pub fleet: Option<FleetCounts>,
    /// Tapped interfaces.
    pub taps: Vec<TapState>,
    /// Kernel memory, bytes.
    pub kernel_memory: u64,
}

/// A tapped interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapState {
    /// Name of the interface.
    pub name: String,
    /// Hook for incoming frames.
    pub ingress: &'static str,
    /// Hook for outgoing frames, if any.
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

    /// Returns the number of settled flows: those that settled and neither resumed nor were evicted.
    pub(super) fn settled(&self) -> u64 {
        self.of(Counter::Settled)
            .saturating_sub(self.of(Counter::Resumed))
            .saturating_sub(self.forgotten)
    }
}

/// The values of one scrape.
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
