//! The database as a sink: in batches, on the thread of its queue.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::acceptances::{Acceptances, Pending};
use super::retention::Retention;
use super::{DatabaseError, Writer, schema};
use crate::outlet::sink::{Sink, SinkError};
use crate::outlet::steady_time::{SteadyTime, calendar_ns};
use crate::verdict::Verdict;

const NAME: &str = "database";
/// Maximum verdicts in one transaction.
const BATCH: usize = 256;
/// Verdicts that come slower than this are in the database at once.
const BATCH_PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks for rows that are too old or too many.
const CLEANING: Duration = Duration::from_secs(60);

/// Writes verdicts and connections that worked to a database.
pub struct DatabaseSink {
    path: PathBuf,
    retention: Retention,
    acceptances: Acceptances,
    writer: Writer,
    /// Verdicts in the open transaction.
    uncommitted: Vec<Verdict>,
    /// Whether the transaction was begun again, and may not have all of them.
    is_partial: bool,
    /// Connections that worked and that the database has not taken.
    pending: Pending,
    committed: Instant,
    clean_at: Instant,
    /// The time by which rows are old.
    clock: SteadyTime,
    is_ahead: bool,
    /// A notice that loses no verdict.
    notice: Option<SinkError>,
}

impl DatabaseSink {
    /// Opens the database in `path`. A damaged one is set aside, and a new one is begun.
    ///
    /// # Errors
    /// [`SinkError::Database`].
    pub fn open(
        path: &Path,
        retention: Retention,
        acceptances: Acceptances,
    ) -> Result<Self, SinkError> {
        let (writer, aside) = Writer::open(path)?;
        let now = Instant::now();
        // Damage is found when something is written.
        let latest_ns = writer.latest_ns().ok().flatten();
        let clock = SteadyTime::new(latest_ns, calendar_ns(), now);
        Ok(Self {
            path: path.to_owned(),
            retention,
            acceptances,
            writer,
            uncommitted: Vec::new(),
            is_partial: false,
            pending: Pending::default(),
            committed: now,
            clean_at: now,
            clock,
            is_ahead: false,
            notice: aside.map(|aside| SinkError::DatabaseDamaged { aside }),
        })
    }

    fn insert(&mut self, verdict: &Verdict) -> Result<(), DatabaseError> {
        self.writer.insert(verdict)?;
        self.uncommitted.push(verdict.clone());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DatabaseError> {
        self.complete()?;
        self.writer.commit()?;
        self.uncommitted.clear();
        self.committed = Instant::now();
        Ok(())
    }

    /// Begins the transaction again after a failure, in a new file if this one is damaged.
    fn recover(&mut self, error: &DatabaseError) -> Result<(), DatabaseError> {
        if error.is_damage() {
            // Closes it: another connection would find it locked.
            self.writer = Writer::in_memory()?;
            let aside = schema::set_aside(&self.path)?;
            (self.writer, _) = Writer::open(&self.path)?;
            self.notice = Some(SinkError::DatabaseDamaged { aside });
        } else {
            self.writer.roll_back();
        }
        self.is_partial = true;
        self.complete()
    }

    /// Inserts again the verdicts that the transaction has lost; those that it has stay as they are.
    fn complete(&mut self) -> Result<(), DatabaseError> {
        if self.is_partial {
            for verdict in &self.uncommitted {
                self.writer.insert(verdict)?;
            }
            self.is_partial = false;
        }
        Ok(())
    }

    /// Does something, and once more if the database was damaged.
    fn attempt(
        &mut self,
        act: impl Fn(&mut Self) -> Result<(), DatabaseError>,
    ) -> Result<(), SinkError> {
        let Err(error) = act(self) else {
            return Ok(());
        };
        self.recover(&error)?;
        if !error.is_damage() {
            return Err(error.into());
        }
        Ok(act(self)?)
    }

    fn add_acceptances(&mut self) -> Result<(), SinkError> {
        if self.pending.groups.is_empty() {
            self.pending = self.acceptances.take();
        }
        self.attempt(|sink| {
            sink.writer.add(&sink.pending)?;
            sink.commit()
        })?;
        let dropped = std::mem::take(&mut self.pending).dropped;
        if dropped > 0 {
            return Err(SinkError::AcceptancesDropped { dropped });
        }
        Ok(())
    }

    fn clean(&mut self) -> Result<(), SinkError> {
        let now = Instant::now();
        if now < self.clean_at {
            return Ok(());
        }
        let time = self.clock.read(calendar_ns(), now);
        let has_more = self.writer.remove_old(self.retention, time.time_ns)?;
        self.clean_at = if has_more { now } else { now + CLEANING };
        let was_ahead = std::mem::replace(&mut self.is_ahead, time.ahead.is_some());
        match time.ahead {
            Some(ahead) if !was_ahead => Err(SinkError::ClockAhead { ahead }),
            _ => Ok(()),
        }
    }
}

impl Sink for DatabaseSink {
    fn name(&self) -> &'static str {
        NAME
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        self.attempt(|sink| sink.insert(verdict))?;
        if self.uncommitted.len() >= BATCH || self.committed.elapsed() >= BATCH_PAUSE {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.attempt(Self::commit)
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        self.add_acceptances()?;
        self.clean()?;
        self.notice.take().map_or(Ok(()), Err)
    }

    /// Connections that worked come without a verdict, and what is old goes without one.
    fn has_periodic_work(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::database::{FILE, Past, Query};
    use crate::verdict::tests::pinning;

    #[test]
    fn a_clock_that_steps_forward_removes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let retention = Retention {
            age: Duration::from_secs(86_400),
            bytes: u64::MAX,
        };
        let mut sink = DatabaseSink::open(&path, retention, Acceptances::default()).unwrap();
        // The calendar is far beyond the only row, which is from 2026: as when the clock was wrong until now.
        sink.insert(&pinning()).unwrap();
        sink.flush().unwrap();
        drop(sink);
        let mut sink = DatabaseSink::open(&path, retention, Acceptances::default()).unwrap();
        let beyond = pinning().time + jiff::SignedDuration::from_hours(24 * 400);
        let beyond_ns = i64::try_from(beyond.as_nanosecond()).unwrap();
        let now = Instant::now();
        let latest_ns = sink.writer.latest_ns().unwrap();
        sink.clock = SteadyTime::new(latest_ns, beyond_ns, now);
        let time = sink.clock.read(beyond_ns, now);
        sink.writer.remove_old(retention, time.time_ns).unwrap();
        let query = Query {
            limit: 1,
            ..Query::default()
        };
        let past = Past::open(&path).unwrap();
        assert_eq!(past.verdicts(&query).unwrap().len(), 1);
        let late = now + 2 * Duration::from_secs(86_400);
        let time = sink.clock.read(beyond_ns, late);
        sink.writer.remove_old(retention, time.time_ns).unwrap();
        assert_eq!(past.verdicts(&query).unwrap().len(), 0);
    }

    #[test]
    fn a_failure_while_the_transaction_begins_again_loses_no_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let retention = Retention {
            age: Duration::MAX,
            bytes: u64::MAX,
        };
        let mut sink = DatabaseSink::open(&path, retention, Acceptances::default()).unwrap();
        sink.insert(&pinning()).unwrap();
        // As SQLite does by itself when the disk is full.
        sink.writer.roll_back();
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let failure = DatabaseError::Row(String::new());
        assert!(sink.recover(&failure).is_err());
        other.execute_batch("ROLLBACK").unwrap();
        sink.flush().unwrap();
        let query = Query {
            limit: 1,
            ..Query::default()
        };
        let past = Past::open(&path).unwrap();
        assert_eq!(past.verdicts(&query).unwrap().len(), 1);
    }
}
