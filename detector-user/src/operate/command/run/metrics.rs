//! Keeping what is served as metrics up to date.

use detector_common::counter::Counter;
use tracing::{info, warn};

use super::watch::Watch;
use crate::outlet::message_kind;
use crate::outlet::metrics::server::Server;
use crate::outlet::metrics::{Meter, Metrics, MetricsAddress, Snapshot, TapState};
use crate::source::tap::attach::{Hook, Tapped};
use crate::source::tap::counters::forgotten;
use crate::source::tap::object::ObjectOptions;

/// Metrics, and who serves them while somebody wants that.
pub(super) struct Endpoint {
    metrics: Metrics,
    wanted: Option<MetricsAddress>,
    server: Option<Server>,
    /// Whether it was told that nobody serves them.
    told: bool,
    is_ending: bool,
    /// What does not change, and what may only grow.
    last: Snapshot,
}

impl Endpoint {
    pub(super) fn new(options: &ObjectOptions, kernel_memory: u64) -> Self {
        Self {
            metrics: Metrics::default(),
            wanted: None,
            server: None,
            told: false,
            is_ending: false,
            last: Snapshot {
                watched_max: u64::from(options.watched_flows),
                settled_max: u64::from(options.settled_flows),
                kernel_memory,
                ..Snapshot::default()
            },
        }
    }

    pub(super) fn meter(&self) -> Meter {
        self.metrics.meter()
    }

    /// Serves on another address from now on, or nowhere.
    pub(super) fn listen(&mut self, wanted: Option<MetricsAddress>) {
        // The old one first: it may be the same port at another address.
        self.server = None;
        self.told = false;
        self.wanted = wanted;
        self.try_to_serve();
    }

    /// Notes that the event loop turned, and tries again to serve where that failed.
    pub(super) fn turn(&mut self) {
        self.metrics.turned();
        self.try_to_serve();
    }

    /// Says that nothing is watched any more.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
        self.metrics.set_unready(Some("ending"));
    }

    fn try_to_serve(&mut self) {
        let Some(wanted) = &self.wanted else {
            return;
        };
        if self.server.as_ref().is_some_and(Server::is_running) {
            return;
        }
        self.server = None;
        match Server::start(wanted, self.metrics.clone()) {
            Ok(server) => {
                info!("metrics are served on {wanted}");
                self.told = false;
                self.server = Some(server);
            }
            Err(error) if !self.told => {
                warn!(target: message_kind::METRICS_UNAVAILABLE, "{error}; goes on without metrics and keeps trying");
                self.told = true;
            }
            Err(_) => {}
        }
    }

    fn is_serving(&self) -> bool {
        self.server.is_some()
    }

    fn put(&mut self, snapshot: Snapshot) {
        if !self.is_ending {
            let nothing = snapshot.taps.is_empty();
            self.metrics
                .set_unready(nothing.then_some("no interface is tapped"));
        }
        self.last.forgotten = snapshot.forgotten;
        self.metrics.put(snapshot);
    }
}

impl Watch {
    /// Serves metrics on another address from now on, or nowhere.
    pub(super) fn serve_metrics(&mut self, wanted: Option<MetricsAddress>) {
        self.endpoint.listen(wanted);
        if let Ok(counters) = self.counters.read() {
            self.put_metrics(&counters);
        }
    }

    /// Shows how things are now, if anybody may look.
    pub(super) fn put_metrics(&mut self, counters: &[(Counter, u64)]) {
        if !self.endpoint.is_serving() {
            return;
        }
        let last = &self.endpoint.last;
        let snapshot = Snapshot {
            counters: counters.to_vec(),
            // Settled flows that are resumed make room, and do not bring back what was forgotten.
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
