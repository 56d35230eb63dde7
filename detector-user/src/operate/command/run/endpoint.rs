//! The endpoint that serves metrics, while one is configured.

use tracing::{info, warn};

use crate::outlet::http::Server;
use crate::outlet::message_kind;
use crate::outlet::metrics::{Meter, Metrics, MetricsAddress, Snapshot, server};
use crate::source::tap::object::ObjectOptions;

/// Metrics and their server, while an address is configured.
pub(super) struct Endpoint {
    metrics: Metrics,
    wanted: Option<MetricsAddress>,
    server: Option<Server>,
    /// Whether the failure to serve was reported.
    reported: bool,
    is_ending: bool,
    /// The values that do not change, and those that may only grow.
    pub(super) last: Snapshot,
}

impl Endpoint {
    pub(super) fn new(options: &ObjectOptions, kernel_memory: u64) -> Self {
        Self {
            metrics: Metrics::default(),
            wanted: None,
            server: None,
            reported: false,
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

    /// Serves on another address from now on, or on none.
    pub(super) fn listen(&mut self, wanted: Option<MetricsAddress>) {
        // The old one first: it may be the same port at another address.
        self.server = None;
        self.reported = false;
        self.wanted = wanted;
        self.try_to_serve();
    }

    /// Records a turn of the event loop, and retries to serve after a failure.
    pub(super) fn turn(&mut self) {
        self.metrics.record_turn();
        self.try_to_serve();
    }

    /// Marks the agent as not ready: nothing is watched any more.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
        self.metrics.set_unready(Some("stopping"));
    }

    fn try_to_serve(&mut self) {
        let Some(wanted) = &self.wanted else {
            return;
        };
        if self.server.as_ref().is_some_and(Server::is_running) {
            return;
        }
        self.server = None;
        match server::start(wanted, self.metrics.clone()) {
            Ok(server) => {
                info!("metrics are served on {wanted}");
                self.reported = false;
                self.server = Some(server);
            }
            Err(error) if !self.reported => {
                warn!(target: message_kind::METRICS_UNAVAILABLE, "{error}; running without metrics, retrying");
                self.reported = true;
            }
            Err(_) => {}
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.server.is_some()
    }

    pub(super) fn put(&mut self, snapshot: Snapshot) {
        if !self.is_ending {
            let nothing = snapshot.taps.is_empty();
            self.metrics
                .set_unready(nothing.then_some("no interface is tapped"));
        }
        self.last.forgotten = snapshot.forgotten;
        self.metrics.put(snapshot);
    }
}
