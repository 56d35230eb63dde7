//! The past that `tlswhy verdicts`, `groups` and `why` ask: the agent's database, or captures.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::collector::Collector;
use super::{NothingRead, pcap, report};
use crate::cause::knowledge::Knowledge;
use crate::operate::cli::PastArgs;
use crate::operate::config::Config;
use crate::operate::config::defaults::STATE_DIRECTORY;
use crate::operate::pipeline::Pipeline;
use crate::operate::progress::Progress;
use crate::outlet::database::{FILE, FLEET_FILE, Past};
use crate::outlet::sink::Sinks;
use crate::source::capture_set::{Round, rounds};

/// Opens the past. Also returns whether all of it could be read.
///
/// # Errors
/// There is no database, or it cannot be read.
pub(super) fn open(arguments: &PastArgs) -> anyhow::Result<(Past, bool)> {
    if !arguments.captures.is_empty() {
        let knowledge = Knowledge::from(arguments.knowledge.clone());
        let mut captures = arguments.captures.clone();
        pcap::leave_out_repeats(&mut Vec::new(), &mut captures);
        return judge(&rounds(&[], &captures, pcap::cores()), knowledge);
    }
    Ok((Past::open(&database(arguments)?)?, true))
}

/// Returns the agent's database.
///
/// # Errors
/// The configuration that is given cannot be read.
pub(super) fn database(arguments: &PastArgs) -> anyhow::Result<PathBuf> {
    let file = if arguments.fleet { FLEET_FILE } else { FILE };
    database_of(
        arguments.database.as_deref(),
        arguments.config.as_deref(),
        file,
    )
}

/// Returns a database of the agent: the one that is given, or the `file` in a configuration's state directory.
///
/// # Errors
/// The configuration cannot be read.
pub(super) fn database_of(
    given: Option<&Path>,
    config: Option<&Path>,
    file: &str,
) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let configured = Config::of_agent(config)?;
    let directory = configured.and_then(|config| config.settings.state_directory);
    Ok(directory
        .unwrap_or_else(|| STATE_DIRECTORY.into())
        .join(file))
}

/// Judges captures into a database in memory. Also returns whether all of them could be read.
///
/// # Errors
/// A thread cannot be started, or memory is wanting.
pub(super) fn judge(rounds: &[Round], knowledge: Knowledge) -> anyhow::Result<(Past, bool)> {
    let collector = Collector::new()?;
    let sinks = Sinks::new(vec![collector.sink()]);
    let mut pipeline = Pipeline::new(pcap::FLOWS, knowledge, sinks, report);
    pipeline.count_acceptances(collector.acceptances.clone());
    let progress = Progress::begin(true);
    let reading = pcap::read(&mut pipeline, rounds, None, None, &progress)
        .context("cannot read the captures")?;
    if reading.is_nothing() {
        return Err(NothingRead.into());
    }
    pcap::finish(&mut pipeline);
    drop(pipeline);
    let is_whole = reading.cut_captures == 0 && !progress.is_interrupted();
    Ok((collector.into_past()?, is_whole))
}
