//! Verdicts as journal entries, one field for each field of a verdict.
//!
//! Names are the ones of the JSON in capitals behind `TLSWHY_`, nested ones joined by `_`. What is
//! unknown is left out. Lists whose order says something (`TLSWHY_VLAN`, `TLSWHY_ALPN`) are one
//! JSON array, because the journal keeps no order among fields of one name; evidence and a reset's
//! tells are one field each, so that `journalctl TLSWHY_RESET_TELLS=…` finds them.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::fields::{add_connection, add_journal_fields, add_judgement, add_repeat_fields};
use super::fold::{Fold, Repeats};
use super::native_protocol::Entry;
use super::{Sink, SinkError};
use crate::verdict::Verdict;

/// Socket of systemd-journald.
pub const DEFAULT_SOCKET: &str = "/run/systemd/journal/socket";

const NAME: &str = "journald";
/// Time that a slow journald may delay a verdict.
const PATIENCE: Duration = Duration::from_millis(200);

/// Sends verdicts to systemd-journald by its native protocol.
pub struct Journald {
    path: PathBuf,
    socket: UnixDatagram,
    entry: Entry,
    stuck: bool,
    fold: Fold,
    folded: u64,
}

impl Journald {
    /// Sends to the journald that listens on `path`, [`DEFAULT_SOCKET`] on an ordinary system.
    ///
    /// # Errors
    /// [`SinkError::JournalMissing`] if none listens there, or another error of the socket.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SinkError> {
        let path = path.into();
        UnixDatagram::unbound()
            .and_then(|socket| socket.connect(&path))
            .map_err(|source| failure(&path, source))?;
        Self::at(&path)
    }

    /// Sends to the journald that listens on `path`, or will.
    ///
    /// # Errors
    /// [`SinkError::Journal`] if no socket can be created.
    pub fn at(path: &Path) -> Result<Self, SinkError> {
        // The sending socket stays unconnected, so that a restarted journald is found again.
        let prepare = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = prepare().map_err(|source| failure(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            socket,
            entry: Entry::default(),
            stuck: false,
            fold: Fold::new(Duration::ZERO),
            folded: 0,
        })
    }

    /// Counts repeats of a verdict for `interval` each, instead of writing them.
    #[must_use]
    pub fn folding(self, interval: Duration) -> Self {
        Self {
            fold: Fold::new(interval),
            ..self
        }
    }

    /// Writes the counts of repeats. Those that cannot be written now are deferred.
    fn write_repeats(&mut self, due: Vec<Repeats>) -> Result<(), SinkError> {
        let mut result = Ok(());
        let mut due = due.into_iter();
        while let Some(repeats) = due.next() {
            let filled = self.fill(&repeats.verdict, Some(&repeats));
            let Err(error) = filled.and_then(|()| self.send()) else {
                self.fold.confirm(&repeats);
                continue;
            };
            self.fold.defer([repeats]);
            if error.is_temporary() {
                self.fold.defer(due);
                return Err(error);
            }
            // It concerns this entry only, and does not delay the others.
            result = Err(error);
        }
        result
    }

    fn fill(&mut self, verdict: &Verdict, repeats: Option<&Repeats>) -> Result<(), SinkError> {
        self.entry.clear();
        match repeats {
            None => add_journal_fields(&mut self.entry, verdict),
            Some(repeats) => add_repeat_fields(&mut self.entry, repeats),
        }
        add_connection(&mut self.entry, verdict);
        add_judgement(&mut self.entry, verdict).map_err(|error| failure(&self.path, error.into()))
    }

    fn send(&mut self) -> Result<(), SinkError> {
        let sent = self
            .entry
            .send(&self.socket, &self.path)
            .map_err(|e| failure(&self.path, e));
        let stuck = matches!(sent, Err(SinkError::JournalBusy { .. }));
        if stuck != self.stuck {
            // After one timeout, journald is not waited for again until it accepts an entry: the
            // packets behind this verdict do not wait either.
            self.socket
                .set_nonblocking(stuck)
                .map_err(|e| failure(&self.path, e))?;
            self.stuck = stuck;
        }
        sent
    }
}

impl Sink for Journald {
    fn name(&self) -> &'static str {
        NAME
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let now = Instant::now();
        if self.fold.count(verdict, now) {
            self.folded += 1;
            return Ok(());
        }
        self.fill(verdict, None)?;
        self.send()?;
        self.fold.record_written(verdict, now);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        let due = self.fold.take_due(Instant::now());
        self.write_repeats(due)
    }

    fn has_periodic_work(&self) -> bool {
        self.fold.unreported() > 0
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let rest = self.fold.take_rest();
        self.write_repeats(rest)
    }

    fn folded(&self) -> u64 {
        self.folded
    }

    fn unreported(&self) -> u64 {
        self.fold.unreported()
    }

    fn take_dropped(&mut self) -> u64 {
        self.fold.take_dropped()
    }
}

fn failure(path: &Path, source: io::Error) -> SinkError {
    let socket = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            SinkError::JournalMissing { socket }
        }
        io::ErrorKind::PermissionDenied => SinkError::JournalForbidden { socket },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => SinkError::JournalBusy { socket },
        _ => SinkError::Journal { socket, source },
    }
}

#[cfg(test)]
mod tests;
