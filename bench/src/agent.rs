//! The agent's verdicts per second of CPU time, and its memory, from rings' contents to verdicts.

mod allocations;
mod messages;
mod told;
mod traffic;

use std::hint::black_box;
use std::process::Command;

use anyhow::{Context, bail};
use detector_common::flow::side_flags;
use detector_common::observation::{ChunkHead, Observation, events};
use detector_user::cause::knowledge::Knowledge;
use detector_user::flow::receiver::{Receiver, TimedReceiver};
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::sink::{Sink, SinkError, Sinks};
use detector_user::verdict::Verdict;
use nix::time::{ClockId, clock_gettime};

use crate::table::{Goal, Row, Table};
use told::Told;
use traffic::{INSPECTION_CA, Traffic};

/// Flows followed at once, as by default: watched and settled ones.
const FLOWS: usize = 65_536 * 5;
/// Connections prepared at a time: about as many as the rings hold.
const ROUND: u32 = 1000;
/// Connections judged before anything is measured, so that tables are as full as they stay.
const WARM_UP: u32 = 200_000;
/// Connections that are measured.
const MEASURED: u32 = 200_000;
/// Connections whose allocations are counted.
const COUNTED: u32 = 20_000;
/// Connections judged before memory is looked at.
const REMEMBERED: u32 = 1_000_000;
/// Connections that should be judged in a second, and come in one.
const CONNECTIONS_A_SECOND: u32 = 200_000;
/// Connections per second where memory is looked at: those under way take memory, too.
const SUSTAINED: u64 = 50_000;
const MEMORY_MIB: f64 = 300.0;

/// Takes verdicts as a sink does that is never late.
struct Nowhere;

impl Sink for Nowhere {
    fn name(&self) -> &'static str {
        "nowhere"
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        black_box(verdict);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Adds rows for speed, memory and allocations.
pub(crate) fn measure(table: &mut Table) -> anyhow::Result<()> {
    eprintln!("agent: {} connections", WARM_UP + MEASURED);
    let mut traffic = Traffic::new(u64::from(CONNECTIONS_A_SECOND))?;
    let mut told = Told::default();
    let mut pipeline = pipeline()?;
    run(&mut traffic, &mut told, &mut pipeline, WARM_UP)?;
    let (connections, seconds) = run(&mut traffic, &mut told, &mut pipeline, MEASURED)?;
    let rate = f64::from(connections) / seconds;
    eprintln!("agent: {rate:.0} connections a second");
    table.add(Row {
        what:
            "agent: connections judged per CPU-second, without draining rings and writing verdicts"
                .to_owned(),
        figure: format!("{:.0}, {:.2} µs each", rate, 1e6 / rate),
        reference: format!("{CONNECTIONS_A_SECOND} wanted"),
        ratio: Some(rate / f64::from(CONNECTIONS_A_SECOND)),
        goal: Some(Goal::AtLeast(1.0)),
    });
    count_allocations(table, &mut traffic, &mut told, pipeline)?;
    eprintln!("agent: memory after {REMEMBERED} connections");
    add_memory(table)
}

fn pipeline() -> anyhow::Result<Pipeline> {
    let knowledge = Knowledge {
        inspection_cas: vec![INSPECTION_CA.parse()?],
        ..Knowledge::default()
    };
    let sinks = Sinks::new(vec![Box::new(Nowhere)]);
    let mut pipeline = Pipeline::new(FLOWS, knowledge, sinks, |_| {});
    pipeline.name_tap(0, "lan0");
    Ok(pipeline)
}

/// Judges at least so many connections; returns their number and the CPU time.
fn run(
    traffic: &mut Traffic,
    told: &mut Told,
    pipeline: &mut Pipeline,
    wanted: u32,
) -> anyhow::Result<(u32, f64)> {
    let (mut connections, mut seconds) = (0, 0.0);
    while connections < wanted {
        connections += traffic.next(ROUND, told);
        let start = cpu_seconds()?;
        told.replay(pipeline, TimedReceiver::advance);
        seconds += cpu_seconds()? - start;
    }
    Ok((connections, seconds))
}

/// Returns the CPU time of this thread so far.
fn cpu_seconds() -> anyhow::Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

/// Whether the flow began, settled or ended with it: then it may be read and judged.
fn is_turning_point(observation: &Observation) -> bool {
    let [client, server] = &observation.watched.flow.sides;
    let ended = client.has(side_flags::FIN) && server.has(side_flags::FIN);
    observation.events & (events::HELLO | events::SETTLED | events::RESET) != 0 || ended
}

/// The pipeline, and the heap that observations of flows take which go on.
struct Watched {
    pipeline: Pipeline,
    observations: u64,
    allocations: u64,
}

impl Receiver for Watched {
    fn observation(&mut self, observation: &Observation) {
        let before = allocations::so_far();
        self.pipeline.observation(observation);
        if !is_turning_point(observation) {
            self.observations += 1;
            self.allocations += allocations::so_far() - before;
        }
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.pipeline.chunk(head, bytes);
    }
}

fn count_allocations(
    table: &mut Table,
    traffic: &mut Traffic,
    told: &mut Told,
    pipeline: Pipeline,
) -> anyhow::Result<()> {
    let mut watched = Watched {
        pipeline,
        observations: 0,
        allocations: 0,
    };
    let (mut connections, mut all) = (0, 0);
    while connections < COUNTED {
        connections += traffic.next(ROUND, told);
        let before = allocations::so_far();
        told.replay(&mut watched, |it, now_ns| it.pipeline.advance(now_ns));
        all += allocations::so_far() - before;
    }
    let each = watched.allocations as f64 / watched.observations as f64;
    table.add(Row {
        what: "agent: allocations per observation of a flow that goes on".to_owned(),
        figure: format!("{} for {}", watched.allocations, watched.observations),
        reference: format!(
            "{:.1} per whole connection",
            all as f64 / f64::from(connections)
        ),
        ratio: Some(each),
        goal: Some(Goal::AtMost(0.0)),
    });
    watched.pipeline.finish();
    let tally = watched.pipeline.tally();
    let failed: u64 = tally.causes.values().sum();
    let judged =
        failed + tally.outcomes.established + tally.outcomes.unused + tally.outcomes.unfinished;
    eprintln!("agent: {tally:?}");
    if judged != tally.tracker.flows {
        bail!("{judged} of {} flows were judged", tally.tracker.flows);
    }
    Ok(())
}

/// Measures memory in a process of its own, with a fresh heap.
fn add_memory(table: &mut Table) -> anyhow::Result<()> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--agent", "-", "--only", "memory"])
        .output()
        .context("cannot run this bench once more")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mib: f64 = match said.trim().parse() {
        Ok(mib) if output.status.success() => mib,
        _ => bail!("{}", String::from_utf8_lossy(&output.stderr)),
    };
    table.add(Row {
        what: format!(
            "agent: resident memory after {REMEMBERED} connections at {SUSTAINED} a second"
        ),
        figure: format!("{mib:.0} MiB"),
        reference: format!("{MEMORY_MIB:.0} MiB allowed"),
        ratio: Some(mib / MEMORY_MIB),
        goal: Some(Goal::AtMost(1.0)),
    });
    Ok(())
}

/// Prints by how many MiB the process has grown once it has judged a million connections.
pub(crate) fn print_memory() -> anyhow::Result<()> {
    let mut traffic = Traffic::new(SUSTAINED)?;
    let mut told = Told::default();
    traffic.next(ROUND, &mut told);
    let before = resident_mib()?;
    let mut pipeline = pipeline()?;
    run(&mut traffic, &mut told, &mut pipeline, REMEMBERED)?;
    println!("{:.1}", resident_mib()? - before);
    Ok(())
}

fn resident_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = kib.context("no VmRSS in /proc/self/status")?.parse()?;
    Ok(kib / 1024.0)
}
