//! `tlswhy run`: taps interfaces and streams verdicts.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::Context;
use detector_common::observation::LOOK_AGAIN_NS;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

use super::messages;
use crate::cli::{EXIT_DONE, EXIT_FAILED, LogLevel, RunArgs};
use crate::interfaces::{self, Interface};
use crate::pipeline::Pipeline;
use crate::sink::{SinkError, Sinks};
use crate::summary::Summary;
use crate::tap::attach::{Abilities, Hook, KernelTap, Tapped};
use crate::tap::clock::{kernel_now_ns, unix_offset_ns};
use crate::tap::counters::{Counters, Losses, forgotten, meaning};
use crate::tap::diagnostics::Diagnostics;
use crate::tap::link_notices::LinkNotices;
use crate::tap::object::{ObjectOptions, kernel_memory, lift_memory_limit};
use crate::tap::rings::Rings;

/// When rings are looked at again that had something: the kernel wakes nobody so soon.
const LOOK_AGAIN: Duration = Duration::from_nanos(LOOK_AGAIN_NS);
/// How often losses and the clock are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// Of so many connections followed at once, one may be in its handshake or at its end. A connection
/// there takes three times the memory of an established one.
const FLOWS_PER_WATCHED: u32 = 16;
/// Handshakes at once that there is room for, however few connections are followed.
const WATCHED_MIN: u32 = 16_384;
/// Sets of tags for each watched flow: with two, hardly any set is ever full.
const TAG_SETS_PER_WATCHED: u32 = 2;
/// A wait without an end, as far as anybody will see.
const NO_DEADLINE: Duration = Duration::from_secs(86_400);

/// Watches until a signal, or until nothing is left to watch.
///
/// # Errors
/// If no interface can be tapped or no output opened.
pub fn run(arguments: RunArgs) -> anyhow::Result<u8> {
    messages::start(arguments.log);
    let sinks = Sinks::open(&arguments.outputs())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        // From here on a signal ends this in order, so that it never leaves a filter behind.
        let signals = Signals::catch()?;
        let watch = Watch::start(arguments, sinks)?;
        watch.until(signals).await
    })
}

/// The signals that end it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Everything that runs.
struct Watch {
    tap: KernelTap,
    rings: Rings,
    /// The one ring that wakes: handshake bytes are read when an observation stands on them, and
    /// with every turn of the house.
    observations: AsyncFd<OwnedFd>,
    notices: AsyncFd<LinkNotices>,
    diagnostics: Diagnostics,
    counters: Counters,
    losses: Losses,
    /// Settled flows that there is room for.
    settled_max: u64,
    housekeeping: Interval,
    pipeline: Pipeline,
}

impl Watch {
    fn start(arguments: RunArgs, sinks: Sinks) -> anyhow::Result<Self> {
        // Before the interfaces are listed: one that goes meanwhile is noticed.
        let notices = LinkNotices::subscribe().context("cannot watch for interfaces that go")?;
        let interfaces = interfaces::choose(&arguments.interfaces)?;
        let abilities = Abilities::of_this_kernel();
        let options = options(&arguments, &interfaces, abilities);
        lift_memory_limit();
        let mut tap = KernelTap::attach(&interfaces, &options, abilities)?;
        let memory = kernel_memory(&tap.ebpf);

        let flows = options.watched_flows as usize + options.settled_flows as usize;
        let outputs: Vec<_> = arguments.outputs().iter().map(|it| it.name()).collect();
        let mut pipeline = Pipeline::new(flows, arguments.knowledge, sinks, report);
        pipeline.set_unix_offset(unix_offset_ns());
        pipeline.set_knows_direction();
        for tapped in &tap.tapped {
            pipeline.name_tap(tapped.index, &tapped.name);
        }
        let rings = Rings::take(&mut tap.ebpf)?;
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watch = Self {
            observations: readable(&rings.observations)?,
            notices: waiting(notices)?,
            diagnostics: Diagnostics::start(&mut tap.ebpf, arguments.log != LogLevel::Off)
                .context("cannot read the eBPF programs' messages")?,
            counters: Counters::take(&mut tap.ebpf)?,
            losses: Losses::default(),
            settled_max: u64::from(options.settled_flows),
            tap,
            rings,
            housekeeping,
            pipeline,
        };
        watch.announce(&interfaces, &options);
        info!(
            "tables: {} watched and {} settled flows, {} MiB of kernel memory",
            options.watched_flows,
            options.settled_flows,
            memory.div_ceil(1 << 20),
        );
        info!("verdicts go to {}", outputs.join(" and "));
        info!("ready");
        Ok(watch)
    }

    /// Says what is watched and how.
    fn announce(&self, interfaces: &[Interface], options: &ObjectOptions) {
        for (interface, tapped) in interfaces.iter().zip(&self.tap.tapped) {
            info!("{}", description(tapped));
            if let Some(why) = &tapped.no_xdp {
                info!("tap {}: no XDP: {why}", tapped.name);
            }
            if !interface.is_up() {
                warn!("tap {}: the interface is down", tapped.name);
            }
        }
        if !options.vlan_in_key {
            info!(
                "VLAN tags are taken off before XDP on a tapped interface: flows are told apart by \
                 their addresses and ports alone"
            );
        }
    }

    /// Runs to the end and tells how it was. Packets pass in any case.
    async fn until(mut self, mut signals: Signals) -> anyhow::Result<u8> {
        let mut is_drained = true;
        // The kernel leaves it to the agent to look again for what comes soon after something else.
        let mut look_again: Option<Instant> = None;
        let code = loop {
            let next = self.next_deadline();
            let wake = look_again.map_or(next, |again| again.min(next));
            let mut was_woken = false;
            tokio::select! {
                biased;
                () = signals.any() => break EXIT_DONE,
                () = noticed(&self.notices) => {
                    if !self.drop_vanished() {
                        break EXIT_FAILED;
                    }
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
            is_drained = self.rings.drain_some(&mut self.pipeline);
            if was_woken || self.rings.taken() != taken {
                look_again = Some(Instant::now() + LOOK_AGAIN);
            } else if look_again.is_some_and(|again| again <= Instant::now()) {
                look_again = None;
            }
            self.pipeline.advance(kernel_now_ns());
            if self.pipeline.is_closed() {
                break EXIT_DONE;
            }
        };
        self.finish()?;
        Ok(code)
    }

    fn next_deadline(&self) -> Instant {
        let wait = self.pipeline.next_deadline().map_or(NO_DEADLINE, |at| {
            Duration::from_nanos(at.saturating_sub(kernel_now_ns()))
        });
        Instant::now() + wait.min(NO_DEADLINE)
    }

    /// Takes the programs off, judges what there is, and sums up.
    fn finish(mut self) -> anyhow::Result<()> {
        self.tap.tapped.clear();
        // Nothing is added any more: this comes to an end.
        self.rings.drain(&mut self.pipeline);
        self.pipeline.finish();
        self.diagnostics.flush();
        let summary = Summary {
            tally: self.pipeline.tally(),
            counters: self.counters.read()?,
            settled_max: self.settled_max,
        };
        for line in summary.to_string().lines() {
            info!("{line}");
        }
        Ok(())
    }

    fn keep_house(&mut self) {
        self.pipeline.set_unix_offset(unix_offset_ns());
        let now = Instant::now().into_std();
        let Ok(counters) = self.counters.read() else {
            warn!("cannot read the kernel's counters");
            return;
        };
        let forgotten = forgotten(&counters, self.settled_max);
        if let Some(more) = self.losses.grown("forgotten", forgotten, now) {
            warn!(
                "forgot {more} established connections ({forgotten} in all) to make room for others: \
                 how they end is not told, see --flows"
            );
        }
        for (loss, total) in counters {
            if loss.is_loss()
                && let Some(more) = self.losses.grown(loss.name(), total, now)
            {
                warn!("lost {more} {} ({total} in all)", meaning(loss));
            }
        }
        let malformed = self.rings.malformed();
        if let Some(more) = self.losses.grown("malformed", malformed, now) {
            warn!("lost {more} items of a wrong size: agent and eBPF object do not fit together");
        }
    }

    /// Lets go of interfaces that vanished and says so; `false` if none is left.
    fn drop_vanished(&mut self) -> bool {
        // If the kernel does not answer, the next notice will do.
        let Ok(present) = interfaces::list() else {
            return true;
        };
        self.tap.tapped.retain(|tapped| {
            let is_there = present.iter().any(|it| it.index == tapped.index);
            if !is_there {
                warn!("tap {}: the interface is gone", tapped.name);
            }
            is_there
        });
        if self.tap.tapped.is_empty() {
            warn!("no tapped interface is left");
        }
        !self.tap.tapped.is_empty()
    }
}

/// Sizes of tables, and whether VLAN IDs can tell flows apart: only if all programs see them.
fn options(arguments: &RunArgs, interfaces: &[Interface], abilities: Abilities) -> ObjectOptions {
    let hides_vlan = |it: &Interface| abilities.xdp && it.takes_xdp() && it.strips_vlan_tags();
    let flows = arguments.flows;
    let watched_flows = (flows / FLOWS_PER_WATCHED).max(flows.min(WATCHED_MIN));
    ObjectOptions {
        watched_flows,
        settled_flows: flows - flows / FLOWS_PER_WATCHED,
        tag_sets: watched_flows.saturating_mul(TAG_SETS_PER_WATCHED),
        vlan_in_key: !interfaces.iter().any(hides_vlan),
        log_level: arguments.log as u8,
        ..ObjectOptions::default()
    }
}

fn description(tapped: &Tapped) -> String {
    let egress = tapped
        .egress
        .map_or("none, as every frame comes in again", Hook::name);
    format!(
        "tap {}: ingress {}, egress {egress}",
        tapped.name,
        tapped.ingress.name()
    )
}

/// Tells of a sink's failure, once per kind. A reader that closed its end is no failure.
fn report(error: &SinkError) {
    if !error.is_final() {
        warn!("{error}");
    }
}

async fn noticed(notices: &AsyncFd<LinkNotices>) {
    if let Ok(mut guard) = notices.readable().await {
        guard.clear_ready();
        guard.get_inner().drain();
    }
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
