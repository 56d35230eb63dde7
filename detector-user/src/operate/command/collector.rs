//! Verdicts of captures, collected in a database that can be asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;

use crate::outlet::database::{Acceptances, Past, Writer};
use crate::outlet::sink::{Sink, SinkError};
use crate::verdict::Verdict;

/// A database in memory that a pipeline fills.
pub(super) struct Collector {
    writer: Arc<Mutex<Writer>>,
    /// Connections that worked.
    pub(super) acceptances: Acceptances,
}

impl Collector {
    /// Creates an empty one.
    ///
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
