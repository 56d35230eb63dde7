//! The endpoint that serves metrics, while one is configured.

use tracing::{info, warn};

use crate::outlet::message_kind;
use crate::outlet::metrics::server::Server;
use crate::outlet::metrics::{Meter, Metrics, MetricsAddress, Snapshot};
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
    pub(super) last: Snapshot,
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
