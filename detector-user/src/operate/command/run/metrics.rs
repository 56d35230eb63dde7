//! The agent's numbers, put where they are served.

use detector_common::counter::Counter;

use super::watch::Watch;
use crate::outlet::metrics::{MetricsAddress, Snapshot, TapState};
use crate::source::tap::attach::Tapped;
use crate::source::tap::counters::forgotten;
use crate::source::tap::hook::Hook;

impl Watch {
    /// Serves metrics on another address from now on, or on none.
    pub(super) fn serve_metrics(&mut self, wanted: Option<MetricsAddress>) {
        self.endpoint.listen(wanted);
        self.put_numbers();
    }

    /// Publishes the current numbers, if the kernel's counters can be read.
    pub(super) fn put_numbers(&mut self) {
        if let Ok(counters) = self.counters.read() {
            self.publish(&counters);
        }
    }

    /// Publishes the current numbers as metrics and as the status, if they are served.
    pub(super) fn publish(&mut self, counters: &[(Counter, u64)]) {
        let is_status_wanted = self.status.is_wanted() || self.page.is_serving();
        if !self.endpoint.is_serving() && !is_status_wanted {
            return;
        }
        let snapshot = self.snapshot(counters);
        if is_status_wanted {
            self.put_status(&snapshot);
        }
        self.endpoint.put(snapshot);
    }

    fn snapshot(&self, counters: &[(Counter, u64)]) -> Snapshot {
        let last = &self.endpoint.last;
        Snapshot {
            counters: counters.to_vec(),
            // Settled flows that are resumed make room, and do not bring back evicted ones.
            forgotten: forgotten(counters, self.settled_max).max(last.forgotten),
            observations: self.rings.taken(),
            chunks: self.rings.chunks(),
            malformed: self.rings.malformed(),
            shed: self.rings.shed().clone(),
            tally: self.pipeline.tally(),
            verdicts: self.pipeline.verdicts(),
            connections: self.pipeline.tap_connections(),
            sinks: self.pipeline.sinks(),
            unkept: self.pipeline.unkept(),
            fleet: self.pipeline.fleet_counts(),
            taps: self.taps.tap.tapped.iter().map(state).collect(),
            ..last.clone()
        }
    }
}

fn state(tapped: &Tapped) -> TapState {
    TapState {
        name: tapped.name.clone(),
        ingress: tapped.ingress.name(),
        egress: tapped.egress.map(Hook::name),
    }
}
