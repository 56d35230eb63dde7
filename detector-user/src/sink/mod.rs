//! Where verdicts go: a terminal, JSON lines, the journal.

mod escape;
mod fanout;
mod headline;
mod journald;
mod json;
mod native_protocol;
mod output;
mod text;

use std::io;
use std::path::PathBuf;

pub use escape::escaped;
pub use fanout::{Loss, Sinks};
pub use journald::{DEFAULT_SOCKET, Journald};
pub use json::JsonLines;
pub use output::Output;
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
}

/// Why a verdict did not get out.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Whoever read the output has stopped, as `head` does: an end, not a failure.
    #[error("nobody reads the {output} output any more")]
    Closed {
        /// The sink's name.
        output: &'static str,
    },
    /// The output could not be written, for instance because a disk is full.
    #[error("cannot write the {output} output: {source}")]
    Write {
        /// The sink's name.
        output: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No journald listens.
    #[error(
        "journald is not reachable at {}: start systemd-journald or use --output text", .socket.display()
    )]
    JournalMissing {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// This process may not write to the journal's socket.
    #[error("may not write to journald at {}: run as root or use --output text", .socket.display())]
    JournalForbidden {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// journald listens but does not take anything.
    #[error("journald at {} does not take entries at the moment", .socket.display())]
    JournalBusy {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// Anything else on the way to journald.
    #[error("cannot write to journald at {}: {source}", .socket.display())]
    Journal {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SinkError {
    /// Maps what a stream said; a broken pipe is an end, not a failure.
    fn on_stream(output: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed { output }
        } else {
            Self::Write { output, source }
        }
    }

    /// A short stable name of the kind of failure, to count by.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Write { .. } => "write",
            Self::JournalMissing { .. } => "journald-missing",
            Self::JournalForbidden { .. } => "journald-forbidden",
            Self::JournalBusy { .. } => "journald-busy",
            Self::Journal { .. } => "journald",
        }
    }

    /// Whether this sink will never take anything again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}
