//! The past that `tlswhy verdicts`, `groups` and `why` ask: the agent's database, or captures.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, anyhow};

use super::{pcap, report};
use crate::cause::knowledge::Knowledge;
use crate::operate::cli::PastArgs;
use crate::operate::config::Config;
use crate::operate::config::defaults::STATE_DIRECTORY;
use crate::operate::pipeline::Pipeline;
use crate::operate::progress::Progress;
use crate::outlet::database::{Acceptances, FILE, Past, Writer};
use crate::outlet::sink::{Sink, SinkError, Sinks};
use crate::source::capture_set::{Round, rounds};
use crate::verdict::Verdict;

/// Opens the past. Also returns whether all of it could be read.
///
/// # Errors
/// There is no database, or it cannot be read.
pub(super) fn open(arguments: &PastArgs) -> anyhow::Result<(Past, bool)> {
    if !arguments.captures.is_empty() {
        let knowledge = Knowledge::from(arguments.knowledge.clone());
        return judge(&rounds(&[], &arguments.captures), knowledge);
    }
    Ok((Past::open(&database(arguments)?)?, true))
}

/// Returns the agent's database.
///
/// # Errors
/// The configuration that is given cannot be read.
pub(super) fn database(arguments: &PastArgs) -> anyhow::Result<PathBuf> {
    database_of(arguments.database.as_deref(), arguments.config.as_deref())
}

/// Returns the agent's database: the one that is given, or that of a configuration.
///
/// # Errors
/// The configuration cannot be read.
pub(super) fn database_of(given: Option<&Path>, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let configured = Config::of_agent(config)?;
    let directory = configured.and_then(|config| config.settings.state_directory);
    Ok(directory
        .unwrap_or_else(|| STATE_DIRECTORY.into())
        .join(FILE))
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
    pipeline.finish();
    drop(pipeline);
    let is_whole = reading.cut_captures == 0 && !progress.is_interrupted();
    Ok((collector.into_past()?, is_whole))
}

/// A database in memory that a pipeline fills.
pub(super) struct Collector {
    writer: Arc<Mutex<Writer>>,
    /// Connections that worked.
    pub(super) acceptances: Acceptances,
}

impl Collector {
    /// # Errors
    /// Memory is wanting.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            writer: Arc::new(Mutex::new(Writer::in_memory()?)),
            acceptances: Acceptances::default(),
        })
    }

    /// Returns the sink for its verdicts.
    pub(super) fn sink(&self) -> Box<dyn Sink> {
        Box::new(InMemory(Arc::clone(&self.writer)))
    }

    /// Returns the past, once the pipeline is gone.
    ///
    /// # Errors
    /// The pipeline still has the sink, or memory is wanting.
    pub(super) fn into_past(self) -> anyhow::Result<Past> {
        let mut writer = Arc::into_inner(self.writer)
            .ok_or_else(|| anyhow!("the database is still written"))?
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        writer.take(&self.acceptances)?;
        writer.commit()?;
        Ok(Past::of(writer))
    }
}

/// A sink that writes to a database in memory.
struct InMemory(Arc<Mutex<Writer>>);

impl InMemory {
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for InMemory {
    fn name(&self) -> &'static str {
        "database"
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        Ok(self.lock().insert(verdict)?)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(self.lock().commit()?)
    }
}
