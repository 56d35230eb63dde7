//! Where verdicts go: a terminal, JSON lines, the journal.

mod delivered;
mod error;
mod escape;
mod fanout;
mod fold;
mod headline;
mod journald;
mod json;
mod json_file;
mod native_protocol;
mod output;
mod queue;
mod spill;
mod stream;
mod text;

pub use error::SinkError;
pub use escape::escaped;
pub use fanout::{Loss, Sinks};
pub use journald::{DEFAULT_SOCKET, Journald};
pub use json::JsonLines;
pub use json_file::JsonFile;
pub(crate) use native_protocol::Entry;
pub use output::{Output, SinkOptions};
pub use queue::SinkStatus;
pub use text::{Text, stdout_takes_colour};

use crate::verdict::Verdict;

/// Takes verdicts. A failure concerns the verdict at hand only: the next one may be tried.
pub trait Sink: Send {
    /// What the command line calls it.
    fn name(&self) -> &'static str;

    /// Writes one verdict, all of it or, as far as the other side allows, nothing.
    ///
    /// # Errors
    /// [`SinkError`] says what failed and on what; the verdict is then lost to this sink.
    fn verdict(&mut self, verdict: &Verdict) -> Result<(), SinkError>;

    /// Pushes out what is still held back.
    ///
    /// # Errors
    /// [`SinkError`] when the other side does not take it.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Does what time alone calls for. On a thread of its own a sink is asked every second.
    ///
    /// # Errors
    /// [`SinkError`] when the other side does not take it.
    fn tick(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Opens anew what somebody may have moved away.
    ///
    /// # Errors
    /// [`SinkError`] when it cannot be opened; what was open stays.
    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Verdicts that were counted as repeats so far instead of written.
    fn folded(&self) -> u64 {
        0
    }

    /// How many of them stand in no count that was written yet.
    fn untold(&self) -> u64 {
        0
    }

    /// How many never will, because there was no room to keep their count; since this was asked last.
    fn take_forgotten(&mut self) -> u64 {
        0
    }
}
