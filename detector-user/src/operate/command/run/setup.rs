//! The parts of a run, made from its settings.

use tracing::warn;

use super::taps::Taps;
use crate::fleet::Muted;
use crate::fleet::collector::{Collector, CollectorSettings};
use crate::flow::receiver::TimedReceiver;
use crate::operate::cli::{RunArgs, run_outputs};
use crate::operate::config::{Config, Origin, Settings};
use crate::operate::pipeline::Pipeline;
use crate::outlet::database::{Acceptances, FILE, FLEET_FILE};
use crate::outlet::message_kind;
use crate::outlet::sink::{DEFAULT_SOCKET, DatabaseOptions, SinkError, SinkOptions, Sinks};
use crate::source::tap::object::ObjectOptions;

/// Whether all interfaces must exist at the start: they were named, or a person waits at a terminal.
pub(super) fn is_strict(arguments: &RunArgs, config: &Config) -> bool {
    match config.origin("watch.interfaces") {
        Origin::CommandLine => true,
        Origin::Default => !arguments.runs_as_service(),
        Origin::File { .. } | Origin::Service => false,
    }
}

pub(super) fn pipeline(
    settings: &Settings,
    options: &ObjectOptions,
    taps: &Taps,
    sinks: Sinks,
) -> Pipeline {
    let flows = options.watched_flows as usize + options.settled_flows as usize;
    let mut pipeline = Pipeline::new(flows, settings.knowledge.clone(), sinks, report);
    pipeline.set_knowledge(settings.knowledge.clone(), settings.scope());
    pipeline.set_filter(settings.filter.clone());
    warn_of(pipeline.set_asking(&settings.probe));
    pipeline.set_knows_direction();
    for tapped in &taps.tap.tapped {
        pipeline.name_tap(tapped.index, &tapped.name);
    }
    pipeline
}

/// Starts to keep the fleet's database, where there is a fleet and a place for it.
pub(super) fn collector(settings: &Settings, muted: Muted) -> Option<Collector> {
    let directory = settings.state_directory.as_ref()?;
    if !settings.fleet.is_wanted() || settings.database.age.is_zero() {
        return None;
    }
    let started = Collector::start(CollectorSettings {
        fleet: settings.fleet.clone(),
        database: directory.join(FLEET_FILE),
        retention: settings.database,
        muted,
        serves: false,
    });
    if let Err(error) = &started {
        warn!(target: message_kind::FLEET_UNAVAILABLE, "cannot keep the fleet's database: {error}");
    }
    started.ok()
}

/// Logs the reason why the configuration's probes are not made.
pub(super) fn warn_of(obstacle: Option<&str>) {
    if let Some(obstacle) = obstacle {
        warn!(target: message_kind::PROBE_FAILED, "{obstacle}");
    }
}

/// Logs a sink's failure, once per kind. A closed reader is not a failure.
fn report(error: &SinkError) {
    if !error.is_final() {
        warn!(target: message_kind::LOST, "{error}");
    }
}

/// Returns the options of the outputs. The database takes the connections that worked from
/// `acceptances`.
pub(super) fn sink_options(
    settings: &Settings,
    arguments: &RunArgs,
    acceptances: &Acceptances,
) -> SinkOptions {
    let directory = settings.state_directory.as_ref();
    let directory = directory.filter(|_| !settings.database.age.is_zero());
    let database = directory.map(|directory| DatabaseOptions {
        path: directory.join(FILE),
        retention: settings.database,
        acceptances: acceptances.clone(),
    });
    SinkOptions {
        outputs: run_outputs(&settings.outputs),
        json_file: settings.json_file.clone(),
        json_shape: settings.json_shape,
        syslog: settings.syslog.clone(),
        otlp: settings.otlp.clone(),
        waits_for_file: arguments.runs_as_service(),
        queue: settings.queue,
        fold: settings.fold,
        folds: arguments.writing.folds(),
        state_directory: settings.state_directory.clone(),
        spill_max: settings.spill_max,
        runtime_directory: settings.runtime_directory.clone(),
        journal_socket: DEFAULT_SOCKET.into(),
        database,
    }
}
