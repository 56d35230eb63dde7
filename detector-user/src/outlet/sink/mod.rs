//! Sinks of verdicts: a terminal, JSON lines, the journal, a file, a syslog server, an
//! OpenTelemetry collector.

mod delivered;
mod error;
mod escape;
mod eve;
mod fanout;
mod fields;
mod fold;
mod folding;
mod headline;
mod journald;
mod json;
mod json_file;
mod native_protocol;
mod otlp;
mod output;
mod queue;
mod spill;
mod stream;
mod syslog;
mod text;

pub use error::SinkError;
pub use escape::escaped;
pub use fanout::{Loss, Sinks};
pub use journald::{DEFAULT_SOCKET, Journald};
pub use json::{JsonLines, JsonShape};
pub use json_file::JsonFile;
pub(crate) use native_protocol::Entry;
pub use otlp::{Otlp, OtlpEndpoint, OtlpSettings};
pub use output::{DatabaseOptions, Folds, Output, SinkOptions};
pub use queue::SinkStatus;
pub use syslog::{Facility, Syslog, SyslogServer, SyslogSettings, is_sd_id};
pub(crate) use text::strength;
pub use text::{Text, stdout_takes_colour};

use crate::verdict::Verdict;

/// A destination of verdicts. A failure concerns one verdict only: the next may succeed.
pub trait Sink: Send {
    /// Returns its name on the command line.
    fn name(&self) -> &'static str;

    /// Writes one verdict: all of it or, as far as the other side allows, nothing.
    ///
    /// # Errors
    /// [`SinkError`]; the verdict is then lost to this sink.
    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError>;

    /// Writes out everything that is buffered.
    ///
    /// # Errors
    /// [`SinkError`] if the other side does not accept it.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Does periodic work. On a thread of its own a sink is called a second after it wrote, and every second
    /// for as long as it [has such work](Self::has_periodic_work).
    ///
    /// # Errors
    /// [`SinkError`] if the other side does not accept it.
    fn tick(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Whether there is work for [`tick`](Self::tick) without another verdict.
    fn has_periodic_work(&self) -> bool {
        false
    }

    /// Reopens a file that may have been moved.
    ///
    /// # Errors
    /// [`SinkError`] if it cannot be opened; the open file is kept.
    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Returns the number of verdicts that were counted as repeats instead of written.
    fn folded(&self) -> u64 {
        0
    }

    /// Returns how many of them are in no count that was written yet, or were written and not
    /// acknowledged.
    fn unreported(&self) -> u64 {
        0
    }

    /// Returns, and resets, how many of them never will be, for want of memory for their count.
    fn take_dropped(&mut self) -> u64 {
        0
    }
}
