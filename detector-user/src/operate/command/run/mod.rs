//! `tlswhy run`: taps interfaces and streams verdicts.

mod catch_up;
mod metrics;
mod reload;
mod taps;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use detector_common::observation::POLL_INTERVAL_NS;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

use super::messages;
use super::show;
use crate::host::clock::{kernel_now_ns, unix_offset_ns};
use crate::host::interfaces::Interface;
use crate::host::namespace;
use crate::host::privileges::{give_up_loading, keep_for_tapping};
use crate::host::service_manager::ServiceManager;
use crate::operate::cli::{EXIT_DONE, LogLevel, RunArgs, run_outputs};
use crate::operate::config::{Config, Origin, Settings};
use crate::operate::pipeline::Pipeline;
use crate::outlet::message_kind;
use crate::outlet::sink::{DEFAULT_SOCKET, SinkError, SinkOptions, Sinks};
use crate::outlet::summary::Summary;
use crate::source::tap::attach::Abilities;
use crate::source::tap::carry::Carry;
use crate::source::tap::counters::{Counters, Losses, forgotten, meaning};
use crate::source::tap::diagnostics::Diagnostics;
use crate::source::tap::link_notices::LinkNotices;
use crate::source::tap::object::{ObjectOptions, lift_memory_limit};
use crate::source::tap::pins::Root;
use crate::source::tap::rings::Rings;
use catch_up::CatchUp;
use metrics::Endpoint;
use taps::Taps;

/// When rings are looked at again that had something: the kernel wakes nobody so soon.
const LOOK_AGAIN: Duration = Duration::from_nanos(POLL_INTERVAL_NS);
/// How often losses and the clock are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// How long default routes may change before somebody looks again.
const ROUTES: Duration = Duration::from_secs(1);
/// What two readings of the clocks may differ by without anybody having set one.
const READINGS_DIFFER_NS: u64 = 1_000_000;
/// Of so many connections followed at once, one may be in its handshake or at its end. A connection
/// there takes three times the memory of an established one.
const FLOWS_PER_WATCHED: u32 = 16;
/// Handshakes at once that there is room for, however few connections are followed.
const WATCHED_MIN: u32 = 16_384;
/// Sets of tags for each watched flow: with two, hardly any set is ever full.
const TAG_SETS_PER_WATCHED: u32 = 2;
/// How long sinks may take at the end for what waits; the unit allows 30 seconds.
const SINKS_PATIENCE: Duration = Duration::from_secs(10);
/// A wait without an end, as far as anybody will see.
const NO_DEADLINE: Duration = Duration::from_secs(86_400);

/// Watches until a signal.
///
/// # Errors
/// If the configuration is wrong, no interface can be tapped or no output opened.
pub fn run(arguments: RunArgs) -> anyhow::Result<u8> {
    let config = Config::load(&arguments)?;
    if arguments.print_config {
        show(&config.to_string())?;
        return Ok(EXIT_DONE);
    }
    messages::start(arguments.log);
    // Before anything looks at interfaces, and while there is one thread.
    if let Some(name) = &config.settings.netns {
        namespace::enter(name)?;
    }
    lift_memory_limit();
    keep_for_tapping();
    // Before the sinks, which go on with what an agent left for them.
    let root = taps::lock(&config)?;
    let is_service = arguments.runs_as_service();
    let (sinks, warnings) = Sinks::start(&sink_options(&config.settings, is_service))?;
    for warning in warnings {
        warn!(target: message_kind::STATE_UNUSABLE, "{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        // From here on a signal ends this in order, so that it never leaves a filter behind.
        let signals = Signals::catch()?;
        let watch = Watch::start(arguments, config, root, sinks)?;
        watch.until(signals).await
    })
}

/// The signals it listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?,
            hang_up: signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?,
        })
    }

    /// Waits for the next; `true` if it is to end.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = self.hang_up.recv() => false,
        }
    }
}

/// Everything that runs.
struct Watch {
    arguments: RunArgs,
    config: Config,
    taps: Taps,
    rings: Rings,
    /// The one ring that wakes: handshake bytes are read when an observation stands on them, and
    /// with every turn of the house.
    observations: AsyncFd<OwnedFd>,
    notices: AsyncFd<LinkNotices>,
    routes: AsyncFd<LinkNotices>,
    diagnostics: Diagnostics,
    counters: Counters,
    losses: Losses,
    /// Settled flows that there is room for.
    settled_max: u64,
    /// Whether what is under way is left to the next agent when this one ends.
    carries_over: bool,
    housekeeping: Interval,
    service_manager: ServiceManager,
    endpoint: Endpoint,
    pipeline: Pipeline,
}

impl Watch {
    fn start(
        arguments: RunArgs,
        config: Config,
        root: Option<Root>,
        sinks: Sinks,
    ) -> anyhow::Result<Self> {
        let settings = &config.settings;
        // Before the interfaces are listed: one that goes meanwhile is noticed.
        let notices = LinkNotices::subscribe().context("cannot watch for interfaces that go")?;
        let routes = LinkNotices::subscribe_default_routes()
            .context("cannot watch for default routes that come")?;
        let interfaces = taps::choose(&settings.interfaces, is_strict(&arguments, &config))?;
        let options = options(settings, arguments.log, &interfaces);
        let mut taps = Taps::start(settings.interfaces.clone(), &interfaces, &options, root)?;
        // All programs are loaded, also those for interfaces that are still to come.
        give_up_loading();
        let memory = taps.tap.kernel.memory();
        let mut pipeline = pipeline(settings, &options, &taps, sinks);
        let endpoint = Endpoint::new(&options, memory);
        keep_history(settings, &mut pipeline);
        let mut rings = Rings::take(&mut taps.tap.kernel)?;
        let carries_over = taps.tap.is_pinned() && carry_over(settings, &mut rings, &mut pipeline);
        // What was gone through again, an earlier agent had counted.
        pipeline.begin_counting(endpoint.meter());
        follow_calendar(&mut pipeline, &mut rings);
        let service_manager = ServiceManager::find();
        let turn = service_manager.alive_every().unwrap_or(HOUSEKEEPING);
        let mut housekeeping = interval(turn.min(HOUSEKEEPING));
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Self {
            observations: readable(&rings.observations)?,
            notices: waiting(notices)?,
            routes: waiting(routes)?,
            diagnostics: Diagnostics::start(&mut taps.tap.kernel, arguments.log != LogLevel::Off)
                .context("cannot read the eBPF programs' messages")?,
            counters: Counters::take(&mut taps.tap.kernel)?,
            losses: Losses::default(),
            settled_max: u64::from(options.settled_flows),
            carries_over,
            taps,
            rings,
            housekeeping,
            service_manager,
            endpoint,
            pipeline,
            arguments,
            config,
        };
        let address = watch.config.settings.metrics.clone();
        watch.endpoint.listen(address);
        watch.announce(&interfaces, &options, memory);
        watch.service_manager.ready();
        Ok(watch)
    }

    /// Says what is watched and how.
    fn announce(&self, interfaces: &[Interface], options: &ObjectOptions, memory: u64) {
        self.taps.announce(interfaces);
        if !options.vlan_in_key {
            info!(
                "VLAN tags are taken off before XDP on a tapped interface: flows are told apart by \
                 their addresses and ports alone"
            );
        }
        info!(
            "tables: {} watched and {} settled flows, {} MiB of kernel memory",
            options.watched_flows,
            options.settled_flows,
            memory.div_ceil(1 << 20),
        );
        let outputs = run_outputs(&self.config.settings.outputs);
        let outputs: Vec<_> = outputs.iter().map(|it| it.name()).collect();
        info!("verdicts go to {}", outputs.join(" and "));
        info!("ready");
    }

    /// Runs to the end and tells how it was. Packets pass in any case.
    async fn until(mut self, mut signals: Signals) -> anyhow::Result<u8> {
        let mut is_drained = false;
        // The kernel leaves it to the agent to look again for what comes soon after something else.
        let mut look_again: Option<Instant> = None;
        let mut look_at_routes = Instant::now();
        loop {
            let next = self.next_deadline();
            let wake = look_again.map_or(next, |again| again.min(next));
            let mut was_woken = false;
            tokio::select! {
                biased;
                is_over = signals.next() => {
                    if is_over {
                        break;
                    }
                    self.service_manager.reloading();
                    self.reload();
                    self.service_manager.ready();
                }
                () = noticed(&self.notices) => self.taps.refresh(&mut self.pipeline),
                () = noticed_after(look_at_routes, &self.routes) => {
                    look_at_routes = Instant::now() + ROUTES;
                    self.taps.follow_routes(&mut self.pipeline);
                }
                _ = self.housekeeping.tick() => self.keep_house(),
                () = std::future::ready(()), if !is_drained => {}
                guard = self.observations.readable() => {
                    guard?.clear_ready();
                    was_woken = true;
                }
                () = self.diagnostics.readable() => self.diagnostics.flush(),
                () = sleep_until(wake) => {}
            }
            let taken = self.rings.taken();
            is_drained = self.take_turn();
            if was_woken || self.rings.taken() != taken {
                look_again = Some(Instant::now() + LOOK_AGAIN);
            } else if look_again.is_some_and(|again| again <= Instant::now()) {
                look_again = None;
            }
            if self.pipeline.is_closed() {
                break;
            }
        }
        self.finish()?;
        Ok(EXIT_DONE)
    }

    /// Reads the rings and judges what is over; `false` if there may be more to read.
    fn take_turn(&mut self) -> bool {
        // What comes while they are read is not read yet.
        let now_ns = kernel_now_ns();
        let mut receiver = CatchUp::new(&mut self.pipeline, now_ns);
        let is_drained = self.rings.drain_some(&mut receiver);
        // What is still to be read may tell how a flow went on.
        let read_ns = if is_drained {
            now_ns
        } else {
            self.rings.handed_on_ns()
        };
        self.pipeline.advance(read_ns);
        is_drained
    }

    fn next_deadline(&self) -> Instant {
        let wait = self.pipeline.next_deadline().map_or(NO_DEADLINE, |at| {
            Duration::from_nanos(at.saturating_sub(kernel_now_ns()))
        });
        Instant::now() + wait.min(NO_DEADLINE)
    }

    /// Takes the programs off unless they are pinned, judges what there is, and sums up.
    fn finish(mut self) -> anyhow::Result<()> {
        self.service_manager.stopping();
        self.endpoint.end();
        let is_pinned = self.taps.tap.is_pinned();
        self.taps.tap.tapped.clear();
        if is_pinned {
            // What is added all the while is the next agent's.
            let _ = self.take_turn();
        } else {
            // Nothing is added any more: this comes to an end.
            self.rings.drain(&mut self.pipeline);
        }
        if self.carries_over {
            self.pipeline.flush();
        } else {
            self.pipeline.finish();
        }
        self.pipeline.close(SINKS_PATIENCE);
        self.diagnostics.flush();
        let summary = Summary {
            tally: self.pipeline.tally(),
            counters: self.counters.read()?,
            settled_max: self.settled_max,
        };
        for line in summary.to_string().lines() {
            info!("{line}");
        }
        if is_pinned {
            info!(
                "the programs stay on the interfaces for the next agent: `tlswhy detach` takes them off"
            );
        }
        Ok(())
    }

    /// What `systemctl status` shows.
    fn status(&self) -> String {
        let tapped = &self.taps.tap.tapped;
        let names: Vec<_> = tapped.iter().map(|it| it.name.as_str()).collect();
        let taps = match names.as_slice() {
            [] => "waiting for an interface".to_owned(),
            names => format!("watching {}", names.join(", ")),
        };
        let tally = self.pipeline.tally();
        let failed: u64 = tally.causes.values().sum();
        format!(
            "{taps}; {failed} connections failed, {} worked",
            tally.established
        )
    }

    /// Each sink tells of a kind of failure once; this, how many verdicts it cost.
    fn tell_lost_verdicts(&mut self, now: std::time::Instant) {
        for (sink, kind, total) in self.pipeline.tally().lost_verdicts {
            let reason = format!("{sink} {kind}");
            if let Some(more) = self.losses.grown(&reason, total, now) {
                warn!(target: message_kind::LOST, "lost {more} verdicts for {sink} ({total} in all): {kind}");
            }
        }
    }

    fn keep_house(&mut self) {
        let status = self.status();
        self.service_manager.alive(status);
        self.pipeline.flush();
        follow_calendar(&mut self.pipeline, &mut self.rings);
        let now = Instant::now().into_std();
        self.tell_lost_verdicts(now);
        self.endpoint.turn();
        let Ok(counters) = self.counters.read() else {
            warn!("cannot read the kernel's counters");
            return;
        };
        self.put_metrics(&counters);
        let forgotten = forgotten(&counters, self.settled_max);
        if let Some(more) = self.losses.grown("forgotten", forgotten, now) {
            warn!(
                target: message_kind::LOST,
                "forgot {more} established connections ({forgotten} in all) to make room for others: \
                 how they end is not told, see --flows"
            );
        }
        for (loss, total) in counters {
            if loss.is_loss()
                && let Some(more) = self.losses.grown(loss.name(), total, now)
            {
                warn!(target: message_kind::LOST, "lost {more} {} ({total} in all)", meaning(loss));
            }
        }
        let unkept = self.pipeline.unkept();
        if let Some(more) = self.losses.grown("unkept", unkept, now) {
            warn!(
                target: message_kind::STATE_UNUSABLE,
                "{more} facts learned did not get to the state directory ({unkept} in all): is it full?"
            );
        }
        let malformed = self.rings.malformed();
        if let Some(more) = self.losses.grown("malformed", malformed, now) {
            warn!(target: message_kind::LOST, "lost {more} items of a wrong size: agent and eBPF object do not fit together");
        }
    }
}

/// Takes over what to add to the kernel's clock to get UNIX time, the same for what is judged now and
/// for what will be gone through again.
fn follow_calendar(pipeline: &mut Pipeline, rings: &mut Rings) {
    let offset_ns = offset_to_use(unix_offset_ns(), pipeline.unix_offset());
    pipeline.set_unix_offset(offset_ns);
    rings.note_unix_offset(offset_ns);
}

/// The one that was read only if somebody has set a clock. Two readings are never the same, and a
/// verdict that comes again must have the time that it had.
fn offset_to_use(read_ns: i64, used_ns: i64) -> i64 {
    if read_ns.abs_diff(used_ns) > READINGS_DIFFER_NS {
        read_ns
    } else {
        used_ns
    }
}

/// Whether all interfaces must be there from the start: somebody named them, or waits at a terminal.
fn is_strict(arguments: &RunArgs, config: &Config) -> bool {
    match config.origin("watch.interfaces") {
        Origin::CommandLine => true,
        Origin::Default => !arguments.runs_as_service(),
        Origin::File { .. } | Origin::Service => false,
    }
}

fn pipeline(settings: &Settings, options: &ObjectOptions, taps: &Taps, sinks: Sinks) -> Pipeline {
    let flows = options.watched_flows as usize + options.settled_flows as usize;
    let mut pipeline = Pipeline::new(flows, settings.knowledge.clone(), sinks, report);
    pipeline.set_knowledge(settings.knowledge.clone(), settings.scope());
    pipeline.set_knows_direction();
    for tapped in &taps.tap.tapped {
        pipeline.name_tap(tapped.index, &tapped.name);
    }
    pipeline
}

/// Takes up what was learned before, and says what is wrong with it.
fn keep_history(settings: &Settings, pipeline: &mut Pipeline) {
    let Some(directory) = &settings.state_directory else {
        return;
    };
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = since_epoch.map_or(0, |time| time.as_secs());
    let remembered = pipeline.keep_history(directory, settings.retention, now_s);
    for warning in &remembered.warnings {
        warn!(target: message_kind::STATE_UNUSABLE, "{warning}");
    }
    if remembered.facts > 0 {
        info!("remembers {} facts from before", remembered.facts);
    }
}

/// Goes through what an earlier agent had taken off the rings and not finished with, and sees to it
/// that the next one can; whether it can.
fn carry_over(settings: &Settings, rings: &mut Rings, pipeline: &mut Pipeline) -> bool {
    let Some(directory) = &settings.runtime_directory else {
        return false;
    };
    let (carry, carried) = match Carry::open(directory) {
        Ok(opened) => opened,
        Err(error) => {
            warn!(target: message_kind::STATE_UNUSABLE, "{error}");
            return false;
        }
    };
    if !carried.is_empty() {
        let observations = rings.hand_on_again(&carried, pipeline);
        if observations > 0 {
            info!("went through {observations} observations that an earlier agent had taken");
        }
    }
    rings.carry_in(carry);
    true
}

fn sink_options(settings: &Settings, is_service: bool) -> SinkOptions {
    SinkOptions {
        outputs: run_outputs(&settings.outputs),
        json_file: settings.json_file.clone(),
        waits_for_file: is_service,
        queue: settings.queue,
        fold: settings.fold,
        state_directory: settings.state_directory.clone(),
        spill_max: settings.spill_max,
        runtime_directory: settings.runtime_directory.clone(),
        journal_socket: DEFAULT_SOCKET.into(),
    }
}

/// Sizes of tables, and whether VLAN IDs can tell flows apart: only if all programs see them. None of
/// it depends on what is on the interfaces now, or else a restart could not go on with its own.
fn options(settings: &Settings, log: LogLevel, interfaces: &[Interface]) -> ObjectOptions {
    let abilities = Abilities::of_this_kernel();
    let hides_vlan = |it: &Interface| abilities.xdp && it.takes_xdp() && it.strips_vlan_tags();
    let flows = settings.flows;
    let watched_flows = (flows / FLOWS_PER_WATCHED).max(flows.min(WATCHED_MIN));
    ObjectOptions {
        watched_flows,
        settled_flows: flows - flows / FLOWS_PER_WATCHED,
        tag_sets: watched_flows.saturating_mul(TAG_SETS_PER_WATCHED),
        observation_ring: settings.observation_ring,
        handshake_ring: settings.handshake_ring,
        vlan_in_key: !interfaces.iter().any(hides_vlan),
        log_level: log as u8,
    }
}

/// Tells of a sink's failure, once per kind. A reader that closed its end is no failure.
fn report(error: &SinkError) {
    if !error.is_final() {
        warn!(target: message_kind::LOST, "{error}");
    }
}

async fn noticed(notices: &AsyncFd<LinkNotices>) {
    if let Ok(mut guard) = notices.readable().await {
        guard.clear_ready();
        guard.get_inner().drain();
    }
}

async fn noticed_after(from: Instant, notices: &AsyncFd<LinkNotices>) {
    sleep_until(from).await;
    noticed(notices).await;
}

/// A handle of a ring's own descriptor, so that waiting does not hold the ring.
fn readable(ring: &impl AsFd) -> anyhow::Result<AsyncFd<OwnedFd>> {
    let descriptor = ring
        .as_fd()
        .try_clone_to_owned()
        .context("cannot watch a ring")?;
    waiting(descriptor)
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types that may lie about their descriptor; these own it"
)]
fn waiting<T: std::os::fd::AsRawFd>(descriptor: T) -> anyhow::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE).context("cannot wait for the kernel")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::interfaces::XdpProgram;
    use crate::host::interfaces::tests::ethernet;

    #[test]
    fn a_clock_that_nobody_set_keeps_its_offset() {
        assert_eq!(offset_to_use(5_000_000, 5_000_300), 5_000_300);
        assert_eq!(offset_to_use(5_000_000, 8_000_000), 5_000_000);
        assert_eq!(
            offset_to_use(1_700_000_000_000_000_000, 0),
            1_700_000_000_000_000_000
        );
    }

    #[test]
    fn a_program_on_an_interface_does_not_change_what_is_loaded() {
        let before = ethernet("nowhere0");
        let mut after = before.clone();
        after.xdp = Some(XdpProgram {
            mode: "native",
            id: Some(1),
        });
        let options = |it: &Interface| {
            let options = options(
                &Settings::default(),
                LogLevel::Off,
                std::slice::from_ref(it),
            );
            format!("{options:?}")
        };
        assert_eq!(options(&before), options(&after));
    }
}
