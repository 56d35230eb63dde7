//! The agent's account of itself, put where `tlswhy status` gets it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use detector_common::counter::Counter;
use jiff::Timestamp;
use tracing::warn;

use super::watch::Watch;
use crate::operate::config::{Config, keys};
use crate::operate::pipeline::Pipeline;
use crate::outlet::message_kind;
use crate::outlet::metrics::{Process, Snapshot};
use crate::outlet::status::server::{Latest, Server};
use crate::outlet::status::{
    Configured, LastVerdict, Loss, Memory, Output, Rates, Report, SOCKET, Tap,
};
use crate::source::tap::counters::meaning;

/// Maximum groups, and maximum taps, apps and names with their rates, that are shown: a report is a mebibyte at most.
const GROUPS_MAX: usize = 100;
/// Time that rates are of.
const RATES_OF: Duration = Duration::from_secs(60);

/// The socket and what it serves, while a runtime directory is configured.
pub(super) struct StatusSocket {
    path: Option<PathBuf>,
    server: Option<Server>,
    /// Whether the failure to serve was reported.
    reported: bool,
    latest: Latest,
    started: Timestamp,
    /// Packets, flows and verdicts at earlier times, the oldest first.
    earlier: VecDeque<(Instant, [u64; 3])>,
    is_ending: bool,
}

impl StatusSocket {
    pub(super) fn new(config: &Config) -> Self {
        let directory = config.settings.runtime_directory.as_ref();
        Self {
            path: directory.map(|directory| directory.join(SOCKET)),
            server: None,
            reported: false,
            latest: Latest::default(),
            started: Timestamp::now(),
            earlier: VecDeque::new(),
            is_ending: false,
        }
    }

    /// Returns the place of the latest report.
    pub(super) fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// Marks the agent as ending.
    pub(super) const fn end(&mut self) {
        self.is_ending = true;
    }

    /// Whether there is a place for the socket.
    pub(super) const fn is_wanted(&self) -> bool {
        self.path.is_some()
    }

    /// Begins to serve, or retries after a failure. A report must have been put before.
    fn try_to_serve(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        if self.server.as_ref().is_some_and(Server::is_running) {
            return;
        }
        self.server = None;
        match Server::start(path, self.latest.clone()) {
            Ok(server) => {
                self.server = Some(server);
                self.reported = false;
            }
            Err(error) if !self.reported => {
                warn!(target: message_kind::STATE_UNUSABLE, "{error}; `tlswhy status` gets no answer, retrying");
                self.reported = true;
            }
            Err(_) => {}
        }
    }

    /// Returns the rates since the oldest time within the last minute.
    fn rates(&mut self, now: Instant, counts: [u64; 3]) -> Rates {
        while self.earlier.len() > 1
            && self
                .earlier
                .front()
                .is_some_and(|(at, _)| now.duration_since(*at) > RATES_OF)
        {
            self.earlier.pop_front();
        }
        self.earlier.push_back((now, counts));
        let Some((at, then)) = self.earlier.front() else {
            return Rates::default();
        };
        let seconds = now.duration_since(*at).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        let [packets, flows, verdicts] =
            [0, 1, 2].map(|it: usize| match (counts.get(it), then.get(it)) {
                (Some(now), Some(then)) => now.saturating_sub(*then) as f64 / seconds,
                _ => 0.0,
            });
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        Rates {
            seconds: rounded(seconds),
            packets_per_second: rounded(packets),
            flows_per_second: rounded(flows),
            verdicts_per_minute: rounded(verdicts * 60.0),
        }
    }
}

impl Watch {
    /// Publishes the current numbers for `tlswhy status`.
    pub(super) fn put_status(&mut self, snapshot: &Snapshot) {
        let counts = [
            packets(snapshot),
            snapshot.tally.tracker.flows,
            snapshot.tally.causes.values().sum(),
        ];
        let rates = self.status.rates(Instant::now(), counts);
        let mut report = report(snapshot, &self.pipeline);
        report.started = self.status.started;
        report.is_ending = self.status.is_ending;
        report.rates = rates;
        report.configuration = configuration(&self.config);
        self.status.latest.put(report);
        self.status.try_to_serve();
    }
}

fn packets(snapshot: &Snapshot) -> u64 {
    let outcomes = snapshot.counters.iter();
    let outcomes = outcomes.filter(|(counter, _)| counter.is_outcome());
    outcomes.map(|(_, count)| count).sum()
}

fn report(snapshot: &Snapshot, pipeline: &Pipeline) -> Report {
    Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        time: Timestamp::now(),
        taps: taps(snapshot),
        packets: packets(snapshot),
        losses: losses(snapshot),
        memory: Memory {
            agent_bytes: Process::now().resident_bytes,
            kernel_bytes: snapshot.kernel_memory,
        },
        outputs: outputs(snapshot),
        firewall_log: pipeline.firewall_log(),
        fleet: pipeline.fleet_counts(),
        groups: pipeline.failing_groups(Timestamp::now(), GROUPS_MAX),
        failure_rates: pipeline.failure_rates(GROUPS_MAX),
        last_verdicts: pipeline.recent().map(LastVerdict::from).collect(),
        ..Report::of(&snapshot.tally)
    }
}

fn taps(snapshot: &Snapshot) -> Vec<Tap> {
    let given = snapshot.verdicts.with(std::iter::empty());
    let of = |name: &str| {
        let own = given.iter().filter(|(tap, ..)| *tap == name);
        own.map(|(.., counted)| counted.given).sum()
    };
    let taps = snapshot.taps.iter().map(|tap| Tap {
        name: tap.name.clone(),
        ingress: tap.ingress.to_owned(),
        egress: tap.egress.map(str::to_owned),
        verdicts: of(&tap.name),
        established: {
            let (failed, all) = snapshot.connections.of(&tap.name).rate();
            all - failed
        },
    });
    taps.collect()
}

fn losses(snapshot: &Snapshot) -> Vec<Loss> {
    let loss = |reason: &str, meaning: &str, count: u64| Loss {
        reason: reason.to_owned(),
        meaning: meaning.to_owned(),
        count,
    };
    let kernel = snapshot
        .counters
        .iter()
        .filter(|(counter, _): &&(Counter, u64)| counter.is_loss());
    let mut losses: Vec<Loss> = kernel
        .map(|(counter, count)| loss(counter.name(), meaning(*counter, *count), *count))
        .collect();
    let shed = &snapshot.shed;
    let most = shed
        .heaviest()
        .map_or_else(String::new, |network| format!("; most of {network}"));
    losses.push(loss(
        "shed",
        &format!(
            "observations of clients that have more than their share while the agent is slower than the \
             traffic{most}"
        ),
        shed.observations,
    ));
    losses.push(loss(
        "handshakes_shed",
        "pieces of handshakes of such clients: their names and fingerprints may be missing",
        shed.chunks,
    ));
    losses.push(loss(
        "forgotten",
        "established connections, whose end is not judged; raise tables.flows",
        snapshot.forgotten,
    ));
    losses.push(loss(
        "evicted",
        "connections in progress, evicted from the agent's memory; raise tables.flows",
        snapshot.tally.tracker.evicted,
    ));
    losses.push(loss(
        "unkept",
        "learned facts that could not be saved to the state directory; check its free space",
        snapshot.unkept,
    ));
    losses.push(loss(
        "malformed",
        "ring items of unexpected size: agent and eBPF object do not match",
        snapshot.malformed,
    ));
    for (output, reason, count) in &snapshot.tally.lost_verdicts {
        let meaning = format!("verdicts for {output}: {reason}");
        losses.push(loss(&format!("{output}-{reason}"), &meaning, *count));
    }
    losses.retain(|loss| loss.count > 0);
    losses
}

fn outputs(snapshot: &Snapshot) -> Vec<Output> {
    let outputs = snapshot.sinks.iter().map(|sink| Output {
        name: sink.output.to_owned(),
        written: sink.written,
        folded: sink.folded,
        queued: sink.queued as u64,
        spilled_bytes: sink.spilled_bytes,
        lost: sink
            .lost
            .iter()
            .map(|(reason, count)| ((*reason).to_owned(), *count))
            .collect(),
    });
    outputs.collect()
}

fn configuration(config: &Config) -> std::collections::BTreeMap<String, Configured> {
    let settings = keys().map(|key| {
        let value = key.value(&config.settings);
        let origin = config.origin(key.path).to_string();
        (key.path.to_owned(), Configured { value, origin })
    });
    settings.collect()
}
