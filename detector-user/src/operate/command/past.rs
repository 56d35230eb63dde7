//! The past that `tlswhy verdicts`, `groups` and `why` ask: the agent's database, or captures.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, anyhow};

use super::{pcap, report};
use crate::cause::knowledge::Knowledge;
use crate::operate::cli::PastArgs;
use crate::operate::config::Config;
use crate::operate::config::defaults::STATE_DIRECTORY;
use crate::operate::pipeline::Pipeline;
use crate::outlet::database::{Acceptances, FILE, Past, Writer};
use crate::outlet::sink::{Sink, SinkError, Sinks};
use crate::source::capture_set::rounds;
use crate::verdict::Verdict;

/// Opens the past. Also returns whether all of it could be read.
///
/// # Errors
/// There is no database, or it cannot be read.
pub(super) fn open(arguments: &PastArgs) -> anyhow::Result<(Past, bool)> {
    if !arguments.captures.is_empty() {
        let knowledge = Knowledge::from(arguments.knowledge.clone());
        return judge(&arguments.captures, knowledge);
    }
    Ok((Past::open(&database(arguments)?)?, true))
}

/// Returns the agent's database.
///
/// # Errors
/// The configuration that is given cannot be read.
pub(super) fn database(arguments: &PastArgs) -> anyhow::Result<PathBuf> {
    if let Some(path) = &arguments.database {
        return Ok(path.clone());
    }
    let configured = Config::of_agent(arguments.config.as_deref())?;
    let directory = configured.and_then(|config| config.settings.state_directory);
    Ok(directory
        .unwrap_or_else(|| STATE_DIRECTORY.into())
        .join(FILE))
}

/// Judges captures into a database in memory.
fn judge(captures: &[PathBuf], knowledge: Knowledge) -> anyhow::Result<(Past, bool)> {
    let writer = Arc::new(Mutex::new(Writer::in_memory()?));
    let sink = InMemory(Arc::clone(&writer));
    let sinks = Sinks::new(vec![Box::new(sink)]);
    let acceptances = Acceptances::default();
    let mut pipeline = Pipeline::new(pcap::FLOWS, knowledge, sinks, report);
    pipeline.count_acceptances(acceptances.clone());
    let reading = pcap::read(&mut pipeline, &rounds(&[], captures), None, None, false)
        .context("cannot read the captures")?;
    pipeline.finish();
    drop(pipeline);
    let mut writer = Arc::into_inner(writer)
        .ok_or_else(|| anyhow!("the database is still written"))?
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    writer.take(&acceptances)?;
    writer.commit()?;
    Ok((Past::of(writer), reading.cut_captures == 0))
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
