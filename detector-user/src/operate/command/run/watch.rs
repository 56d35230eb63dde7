//! The event loop: from the kernel's rings to the pipeline, until a signal.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use detector_common::observation::POLL_INTERVAL_NS;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tracing::info;

use super::calendar::follow_calendar;
use super::catch_up::CatchUp;
use super::endpoint::Endpoint;
use super::resume::{carry_over, keep_history};
use super::served::Served;
use super::setup::{collector, is_strict, pipeline};
use super::signals::Signals;
use super::sizes::options;
use super::status::StatusSocket;
use super::taps::{self, Taps};
use super::wakeups::{noticed, noticed_after, readable, waiting};
use crate::fleet::Fleet;
use crate::fleet::collector::Collector;
use crate::flow::receiver::TimedReceiver;
use crate::host::clock::kernel_now_ns;
use crate::host::interfaces::Interface;
use crate::host::privileges::give_up_loading;
use crate::host::service_manager::ServiceManager;
use crate::operate::cli::{EXIT_DONE, LogLevel, RunArgs, run_outputs};
use crate::operate::config::Config;
use crate::operate::firewall_log::FirewallLog;
use crate::operate::pipeline::Pipeline;
use crate::outlet::database::Acceptances;
use crate::outlet::edl::ServedLists;
use crate::outlet::live_page::LivePage;
use crate::outlet::sink::Sinks;
use crate::outlet::summary::{CutFrames, Summary};
use crate::source::tap::counters::{Counters, Losses, forgotten};
use crate::source::tap::diagnostics::Diagnostics;
use crate::source::tap::link_notices::LinkNotices;
use crate::source::tap::object::ObjectOptions;
use crate::source::tap::pins::Root;
use crate::source::tap::rings::Rings;

/// Time until rings that had items are read again: the kernel sends no wake-up so soon.
const LOOK_AGAIN: Duration = Duration::from_nanos(POLL_INTERVAL_NS);
/// Interval of housekeeping.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// Minimum interval between two looks at the default routes.
const ROUTES: Duration = Duration::from_secs(1);
/// Time that sinks have at the end for queued verdicts; the unit allows 30 seconds.
const SINKS_PATIENCE: Duration = Duration::from_secs(10);
/// A wait that is practically endless.
const NO_DEADLINE: Duration = Duration::from_secs(86_400);

/// A run of `tlswhy run` with everything it holds.
pub(super) struct Watch {
    pub(super) arguments: RunArgs,
    pub(super) config: Config,
    pub(super) taps: Taps,
    pub(super) rings: Rings,
    /// The only ring that wakes the agent: handshake bytes are read when an observation needs them,
    /// and with every turn of housekeeping.
    pub(super) observations: AsyncFd<OwnedFd>,
    pub(super) notices: AsyncFd<LinkNotices>,
    pub(super) routes: AsyncFd<LinkNotices>,
    pub(super) diagnostics: Diagnostics,
    pub(super) counters: Counters,
    pub(super) losses: Losses,
    /// Maximum settled flows.
    pub(super) settled_max: u64,
    /// Whether connections in progress are left to the next agent when this one ends.
    pub(super) carries_over: bool,
    pub(super) housekeeping: Interval,
    pub(super) service_manager: ServiceManager,
    pub(super) endpoint: Endpoint,
    /// Keeps the fleet's database, if there is a fleet.
    _collector: Option<Collector>,
    pub(super) lists: Served<ServedLists>,
    pub(super) page: Served<LivePage>,
    pub(super) status: StatusSocket,
    /// Other gateways' facts wait for the pipeline.
    arrived: Arc<Notify>,
    pub(super) pipeline: Pipeline,
}

impl Watch {
    pub(super) fn start(
        arguments: RunArgs,
        config: Config,
        root: Option<Root>,
        (sinks, fleet): (Sinks, Option<Fleet>),
        acceptances: Option<Acceptances>,
    ) -> anyhow::Result<Self> {
        let settings = &config.settings;
        // Before the interfaces are listed, so that none is missed that disappears meanwhile.
        let notices = LinkNotices::subscribe().context("cannot watch for interface changes")?;
        let routes =
            LinkNotices::subscribe_default_routes().context("cannot watch for default routes")?;
        let interfaces = taps::choose(&settings.interfaces, is_strict(&arguments, &config))?;
        let options = options(settings, arguments.log, &interfaces);
        let mut taps = Taps::start(settings.interfaces.clone(), &interfaces, &options, root)?;
        // All programs are loaded, also those for interfaces that are still to come.
        give_up_loading();
        let memory = taps.tap.kernel.memory();
        let mut pipeline = pipeline(settings, &options, &taps, sinks);
        let endpoint = Endpoint::new(&options, memory);
        if let Some(wait) = arguments.writing.settle {
            pipeline.settle_after(wait);
        }
        let arrived = fleet.as_ref().map(Fleet::arrived).unwrap_or_default();
        let muted = fleet.as_ref().map(Fleet::muted).unwrap_or_default();
        if let Some(fleet) = fleet {
            pipeline.join(fleet);
        }
        keep_history(settings, &mut pipeline);
        if let Some(acceptances) = acceptances {
            pipeline.count_acceptances(acceptances);
        }
        pipeline.keep_groups();
        pipeline.measure_by(endpoint.meter());
        let mut rings = Rings::take(&mut taps.tap.kernel)?;
        let carries_over = taps.tap.is_pinned() && carry_over(settings, &mut rings, &mut pipeline);
        let log = FirewallLog::start(&settings.explain);
        if let Some(log) = log.context("cannot receive the firewall's log")? {
            pipeline.explain_for(log);
        }
        follow_calendar(&mut pipeline, &mut rings);
        let service_manager = ServiceManager::find();
        let turn = service_manager.alive_every().unwrap_or(HOUSEKEEPING);
        let mut housekeeping = interval(turn.min(HOUSEKEEPING));
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let status = StatusSocket::new(&config);
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
            _collector: collector(&config.settings, muted),
            lists: Served::new(&config.settings, ()),
            page: Served::new(&config.settings, status.latest()),
            status,
            arrived,
            pipeline,
            arguments,
            config,
        };
        let address = watch.config.settings.metrics.clone();
        watch.endpoint.listen(address);
        watch.put_numbers();
        watch.announce(&interfaces, &options, memory);
        watch.service_manager.ready();
        Ok(watch)
    }

    /// Logs the taps, the size of tables, and the outputs.
    fn announce(&self, interfaces: &[Interface], options: &ObjectOptions, memory: u64) {
        self.taps.announce(interfaces);
        if !options.vlan_in_key {
            info!(
                "VLAN tags are stripped before XDP on a tapped interface: flows are identified by \
                 addresses and ports only"
            );
        }
        info!(
            "tables: {} watched and {} settled flows, {} MiB of kernel memory",
            options.watched_flows,
            options.settled_flows,
            memory.div_ceil(1 << 20),
        );
        let outputs = run_outputs(&self.config.settings.outputs);
        let mut outputs: Vec<_> = outputs.iter().map(|it| it.name().to_owned()).collect();
        let server = self.config.settings.syslog.server.as_ref();
        outputs.extend(server.map(ToString::to_string));
        let collector = self.config.settings.otlp.endpoint.as_ref();
        outputs.extend(collector.map(ToString::to_string));
        if let Some(fleet) = self.pipeline.fleet_counts() {
            let name = fleet.gateway;
            info!("facts are shared with the fleet as gateway {name}");
        }
        info!("verdicts go to {}", outputs.join(" and "));
        info!("ready");
    }

    /// Runs until a signal, then finishes. Packets pass in any case.
    pub(super) async fn until(mut self, mut signals: Signals) -> anyhow::Result<u8> {
        let mut is_drained = false;
        // The kernel leaves it to the agent to read items again that follow others closely.
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
                () = self.arrived.notified() => {}
                () = self.diagnostics.readable() => self.diagnostics.flush(),
                () = sleep_until(wake) => {}
            }
            let taken = self.rings.taken();
            is_drained = self.take_turn(!is_drained);
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

    /// Reads the rings and judges connections that ended. Returns `false` if more may be left: the agent is behind.
    fn take_turn(&mut self, is_behind: bool) -> bool {
        // Items that arrive during the read are not read yet.
        let now_ns = kernel_now_ns();
        let mut receiver = CatchUp::new(&mut self.pipeline, now_ns, is_behind);
        let is_drained = self.rings.drain_some(&mut receiver);
        // Unread items may show how a flow continued.
        let read_ns = if is_drained {
            now_ns
        } else {
            self.rings.passed_on_ns()
        };
        self.pipeline.advance(read_ns);
        self.rings.record_judged(read_ns);
        is_drained
    }

    fn next_deadline(&self) -> Instant {
        let wait = self.pipeline.next_deadline().map_or(NO_DEADLINE, |at| {
            Duration::from_nanos(at.saturating_sub(kernel_now_ns()))
        });
        Instant::now() + wait.min(NO_DEADLINE)
    }

    /// Detaches programs that are not pinned, judges the rest, and logs the summary.
    fn finish(mut self) -> anyhow::Result<()> {
        self.service_manager.stopping();
        self.endpoint.end();
        self.status.end();
        self.put_numbers();
        let is_pinned = self.taps.tap.is_pinned();
        self.taps.tap.tapped.clear();
        if is_pinned {
            // Later items are left to the next agent.
            let _ = self.take_turn(false);
        } else {
            // Nothing is added any more, so this ends.
            self.rings.drain(&mut self.pipeline);
        }
        if self.carries_over {
            self.pipeline.settle_rest(kernel_now_ns());
            self.pipeline.flush();
        } else {
            self.pipeline.finish();
        }
        self.pipeline.close(SINKS_PATIENCE);
        self.diagnostics.flush();
        let counters = self.counters.read()?;
        let summary = Summary {
            tally: self.pipeline.tally(),
            forgotten: forgotten(&counters, self.settled_max),
            shed: self.rings.shed().clone(),
            counters,
            unread: Vec::new(),
            rejected: 0,
            cut_captures: 0,
            cut_frames: CutFrames::default(),
        };
        for line in summary.to_string().lines() {
            info!("{line}");
        }
        if is_pinned {
            info!("the programs stay attached for the next agent; `tlswhy detach` detaches them");
        }
        Ok(())
    }
}
