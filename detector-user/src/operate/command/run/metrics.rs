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
        if let Ok(counters) = self.counters.read() {
            self.put_metrics(&counters);
        }
    }

    /// Publishes the current numbers, if they are served.
    pub(super) fn put_metrics(&mut self, counters: &[(Counter, u64)]) {
        if !self.endpoint.is_serving() {
            return;
        }
        let last = &self.endpoint.last;
        let snapshot = Snapshot {
            counters: counters.to_vec(),
            // Settled flows that are resumed make room, and do not bring back evicted ones.
            forgotten: forgotten(counters, self.settled_max).max(last.forgotten),
            observations: self.rings.taken(),
            chunks: self.rings.chunks(),
            malformed: self.rings.malformed(),
            tally: self.pipeline.tally(),
            verdicts: self.pipeline.verdicts(),
            sinks: self.pipeline.sinks(),
            unkept: self.pipeline.unkept(),
            taps: self.taps.tap.tapped.iter().map(state).collect(),
            ..last.clone()
        };
        self.endpoint.put(snapshot);
    }
}

fn state(tapped: &Tapped) -> TapState {
    TapState {
        name: tapped.name.clone(),
        ingress: tapped.ingress.name(),
        egress: tapped.egress.map(Hook::name),
    }
}
