//! `cargo xtask chaos`: floods against a gateway with the agent, while real clients refuse a real
//! interceptor's certificates beside them.
//!
//! In: an agent's binary, and the rates of the floods. Out: for each flood and rate the share of the failures
//! that got their verdict, the memory of the agent and of its tables, and the throughput beside that without
//! a tap. All of it happens in namespaces of its own: nothing leaves the machine.

mod flood;
mod measure;
mod sender;
mod site;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use xtask::commands::{ArgMatches, value};

use crate::build::{Profile, build_agent};
pub use flood::Flood;
pub use measure::{Measured, Watch};
pub use site::Site;

/// The agent's and its tables' memory together: the unit's `MemoryMax=`.
pub const MEMORY_MAX: u64 = 1 << 30;

/// Size of a run.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Packets a second.
    rates: [u32; 2],
    /// Time in which real connections fail, for each rate.
    failing: Duration,
    /// Rounds of throughput with and without the agent; 0 measures none.
    rounds: u32,
    /// Time of one such round.
    round: Duration,
}

impl Plan {
    /// The figures of docs/reliability.md: some minutes.
    const WHOLE: Self = Self {
        rates: [2_000, 20_000],
        failing: Duration::from_secs(4),
        rounds: 3,
        round: Duration::from_millis(800),
    };
}

/// Arguments of the command.
pub struct Arguments {
    agent: Option<PathBuf>,
    only: String,
}

impl Arguments {
    /// Reads them from the command line.
    #[must_use]
    pub fn of(matches: &ArgMatches) -> Self {
        Self {
            agent: value(matches, "tlswhy"),
            only: value(matches, "only").unwrap_or_default(),
        }
    }
}

/// Floods a gateway in every way, and prints a table.
///
/// # Errors
/// If something needed is missing, the agent ends, or memory exceeds its caps.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let agent = match &arguments.agent {
        Some(agent) => agent.clone(),
        None => build_agent(Profile::Release)?,
    };
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let site = Site::new("tw-chaos", folder.path())?;
    println!("{}", Measured::HEAD);
    let mut broken = Vec::new();
    let floods = Flood::ALL.into_iter();
    for flood in floods.filter(|it| it.name().contains(&arguments.only)) {
        for rate in Plan::WHOLE.rates {
            let measured = measure::measure(&site, &agent, flood, rate, &Plan::WHOLE);
            let measured =
                measured.with_context(|| format!("{}, {rate} packets/s", flood.name()))?;
            println!("{measured}");
            if let Err(error) = check(&measured) {
                broken.push(format!("{}, {rate} packets/s: {error:#}", flood.name()));
            }
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    Ok(())
}

/// Checks the promises that hold on any machine: memory within its caps, and every failure has its verdict or
/// is counted as lost.
///
/// # Errors
/// The promise that was broken.
pub fn check(measured: &Measured) -> anyhow::Result<()> {
    ensure!(measured.failed > 0, "no connection failed meanwhile");
    let memory = measured.agent_bytes + measured.kernel_bytes[1];
    ensure!(
        memory <= MEMORY_MAX,
        "the agent and its tables take {memory} bytes"
    );
    let [before, after] = measured.kernel_bytes;
    ensure!(
        after <= before,
        "tables in the kernel grew from {before} to {after} bytes"
    );
    ensure!(
        measured.judged == measured.failed || !measured.lost.is_empty(),
        "{} of {} failures have no verdict, and nothing is counted as lost",
        measured.failed - measured.judged,
        measured.failed
    );
    Ok(())
}
