//! `tlswhy run`: taps interfaces and streams verdicts.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use detector_common::counter::Counter;
use detector_common::flow::{Flow, FlowKey, Watched};
use detector_common::observation::Observation;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::report;
use crate::cli::{EXIT_DONE, EXIT_FAILED, LogLevel, RunArgs};
use crate::interfaces::{self, Interface};
use crate::pipeline::Pipeline;
use crate::sink::Sinks;
use crate::summary::Summary;
use crate::tap::attach::{Classifier, KernelTap};
use crate::tap::clock::{kernel_now_ns, unix_offset_ns};
use crate::tap::counters::Counters;
use crate::tap::object::ObjectOptions;
use crate::tap::rings::Rings;

/// How often losses, interfaces and the clock are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// Settled flows remembered for each watched one.
const SETTLED_PER_WATCHED: u32 = 4;

/// Watches until a signal, or until nothing is left to watch.
///
/// # Errors
/// If no interface can be tapped or no output opened.
pub fn run(arguments: RunArgs) -> anyhow::Result<u8> {
    let outputs = arguments.outputs();
    let sinks = Sinks::open(&outputs)?;
    let interfaces = interfaces::choose(&arguments.interfaces)?;
    let options = ObjectOptions {
        watched_flows: arguments.flows,
        settled_flows: arguments.flows.saturating_mul(SETTLED_PER_WATCHED),
        vlan_in_key: !interfaces.iter().any(Interface::strips_vlan_tags),
        log_level: arguments.log as u8,
        ..ObjectOptions::default()
    };
    let tap = KernelTap::attach(&interfaces, &options, Classifier::ByKernel)?;
    for (interface, tapped) in interfaces.iter().zip(&tap.tapped) {
        let egress = tapped.egress.map_or("not tapped", |hook| hook.name());
        let down = if interface.is_up() {
            ""
        } else {
            "; it is down"
        };
        eprintln!(
            "tap {}: ingress {}, egress {egress}{down}",
            tapped.name,
            tapped.ingress.name()
        );
    }
    let flows = arguments.flows as usize + options.settled_flows as usize;
    let mut pipeline = Pipeline::new(flows, arguments.knowledge, sinks, report);
    for tapped in &tap.tapped {
        pipeline.name_tap(tapped.index, &tapped.name);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let memory = kernel_memory(&options) >> 20;
    eprintln!(
        "tables: {} watched and {} settled flows, up to {memory} MiB of kernel memory",
        options.watched_flows, options.settled_flows
    );
    runtime.block_on(watch(tap, pipeline, arguments.log))
}

/// Bytes of kernel memory that tables and rings of these sizes take, rounded up.
fn kernel_memory(options: &ObjectOptions) -> u64 {
    // The kernel adds a bucket and an element header to each entry of a hash table.
    const HASH_OVERHEAD: usize = 64;
    let entry = |value: usize| (size_of::<FlowKey>() + value + HASH_OVERHEAD) as u64;
    u64::from(options.watched_flows) * entry(size_of::<Watched>())
        + u64::from(options.settled_flows) * entry(size_of::<Flow>())
        + u64::from(options.observation_ring)
        + u64::from(options.handshake_ring)
}

async fn watch(mut tap: KernelTap, mut pipeline: Pipeline, log: LogLevel) -> anyhow::Result<u8> {
    let mut rings = Rings::take(&mut tap.ebpf)?;
    let counters = Counters::take(&mut tap.ebpf)?;
    let mut diagnostics = Diagnostics::start(&mut tap, log)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?;
    let observations = readable(&rings.observations)?;
    let handshakes = readable(&rings.handshakes)?;
    let mut housekeeping = interval(HOUSEKEEPING);
    housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pipeline.set_unix_offset(unix_offset_ns());
    let mut losses = Losses::default();
    let mut code = EXIT_DONE;
    eprintln!("ready");
    loop {
        let now_ns = kernel_now_ns();
        let wait = pipeline.next_deadline().map(|at| at.saturating_sub(now_ns));
        let wake = Instant::now() + Duration::from_nanos(wait.unwrap_or(u64::MAX / 4));
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            guard = observations.readable() => guard?.clear_ready(),
            guard = handshakes.readable() => guard?.clear_ready(),
            () = diagnostics.readable() => diagnostics.flush(),
            () = sleep_until(wake) => {}
            _ = housekeeping.tick() => {
                pipeline.set_unix_offset(unix_offset_ns());
                losses.tell(&counters.read()?, rings.malformed());
                if !still_there(&mut tap) {
                    eprintln!("tlswhy: no tapped interface is left");
                    code = EXIT_FAILED;
                    break;
                }
            }
        }
        rings.drain(&mut pipeline);
        pipeline.advance(kernel_now_ns());
        if pipeline.is_closed() {
            break;
        }
    }
    rings.drain(&mut pipeline);
    pipeline.finish();
    diagnostics.flush();
    let counters = counters.read()?;
    drop(tap);
    eprintln!(
        "{}",
        Summary {
            tally: pipeline.tally(),
            counters
        }
    );
    Ok(code)
}

/// A handle of a ring's own descriptor, so that waiting does not hold the ring.
#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of types that lie about their descriptor; ours owns it"
)]
fn readable(ring: &impl AsFd) -> anyhow::Result<AsyncFd<std::os::fd::OwnedFd>> {
    let descriptor = ring
        .as_fd()
        .try_clone_to_owned()
        .context("cannot watch a ring")?;
    AsyncFd::with_interest(descriptor, Interest::READABLE).context("cannot watch a ring")
}

/// Forgets interfaces that vanished and says so; `false` if none is left.
fn still_there(tap: &mut KernelTap) -> bool {
    let Ok(present) = interfaces::list() else {
        // The kernel did not answer this time; the links tell nothing either.
        return true;
    };
    tap.tapped.retain(|tapped| {
        let there = present
            .iter()
            .any(|interface| interface.index == tapped.index);
        if !there {
            eprintln!("tlswhy: interface {} is gone", tapped.name);
        }
        there
    });
    !tap.tapped.is_empty()
}

/// Losses told so far.
#[derive(Default)]
struct Losses {
    told: Vec<(Counter, u64)>,
    malformed: u64,
}

impl Losses {
    /// Says what was lost since the last time.
    fn tell(&mut self, counters: &[(Counter, u64)], malformed: u64) {
        for (counter, count) in counters.iter().filter(|(counter, _)| counter.is_loss()) {
            let told = self
                .told
                .iter()
                .find(|(known, _)| known == counter)
                .map_or(0, |(_, n)| *n);
            if *count > told {
                eprintln!("tlswhy: lost: {} {}", count - told, counter.name());
            }
        }
        if malformed > self.malformed {
            eprintln!(
                "tlswhy: {} items of {} bytes or more expected came short: rebuild the agent with its object",
                malformed - self.malformed,
                size_of::<Observation>(),
            );
        }
        self.told = counters.to_vec();
        self.malformed = malformed;
    }
}

/// The eBPF programs' own messages.
struct Diagnostics(Option<AsyncFd<aya_log::EbpfLogger<&'static dyn log::Log>>>);

impl Diagnostics {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types that lie about their descriptor; ours owns it"
    )]
    fn start(tap: &mut KernelTap, level: LogLevel) -> anyhow::Result<Self> {
        if level == LogLevel::Off {
            return Ok(Self(None));
        }
        let logger = aya_log::EbpfLogger::init(&mut tap.ebpf)
            .context("cannot read the eBPF programs' messages")?;
        Ok(Self(Some(AsyncFd::with_interest(
            logger,
            Interest::READABLE,
        )?)))
    }

    /// Waits until there are messages; for ever where they are off.
    async fn readable(&self) {
        match &self.0 {
            Some(logger) => {
                if let Ok(mut guard) = logger.readable().await {
                    guard.clear_ready();
                }
            }
            None => std::future::pending().await,
        }
    }

    fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.get_mut().flush();
        }
    }
}
