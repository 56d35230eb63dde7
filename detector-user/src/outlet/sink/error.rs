//! Failures of sinks.

use std::io;
use std::path::PathBuf;

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
    /// A file could not be opened.
    #[error("cannot open {}: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More verdicts came than the output took.
    #[error("the {output} output does not keep up: its oldest verdicts are lost")]
    Overflow {
        /// The sink's name.
        output: &'static str,
    },
    /// The end came before the output took everything.
    #[error("verdicts were left when the {output} output ended")]
    Undelivered {
        /// The sink's name.
        output: &'static str,
    },
    /// Verdicts could not wait on disk.
    #[error("verdicts for the {output} output cannot wait on disk: {source}")]
    Spill {
        /// The sink's name.
        output: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room for more verdicts on disk.
    #[error("the file where verdicts wait for the {output} output is full: see output.spill_max")]
    SpillFull {
        /// The sink's name.
        output: &'static str,
    },
    /// What waits on disk cannot be read at the moment.
    #[error(
        "{bytes} bytes of verdicts for the {output} output cannot be read from disk: they stay for the \
         next start, and later ones go ahead: {source}"
    )]
    SpillUnreadable {
        /// The sink's name.
        output: &'static str,
        /// How much stays.
        bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Some verdicts that waited on disk cannot be read.
    #[error("some verdicts that waited on disk for the {output} output are damaged")]
    SpillDamaged {
        /// The sink's name.
        output: &'static str,
    },
    /// What got out cannot be noted.
    #[error("verdicts may be given twice by the {output} output after a restart: {source}")]
    Delivered {
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
    /// A short stable name of the kind of failure, to count by.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Write { .. } => "write",
            Self::Open { .. } => "open",
            Self::Overflow { .. } => "overflow",
            Self::Undelivered { .. } => "undelivered",
            Self::Spill { .. } => "spill",
            Self::SpillFull { .. } => "spill-full",
            Self::SpillUnreadable { .. } => "spill-unreadable",
            Self::SpillDamaged { .. } => "spill-damaged",
            Self::Delivered { .. } => "delivered",
            Self::JournalMissing { .. } => "journald-missing",
            Self::JournalForbidden { .. } => "journald-forbidden",
            Self::JournalBusy { .. } => "journald-busy",
            Self::Journal { .. } => "journald",
        }
    }

    /// Every kind that may cost verdicts.
    pub const LOSSES: [&str; 12] = [
        "write",
        "open",
        "overflow",
        "undelivered",
        "spill",
        "spill-full",
        "spill-damaged",
        "delivered",
        "journald-missing",
        "journald-forbidden",
        "journald-busy",
        "journald",
    ];

    /// Whether another attempt may succeed later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::JournalMissing { .. }
                | Self::JournalBusy { .. }
                | Self::JournalForbidden { .. }
                | Self::Open { .. }
        )
    }

    /// Whether this sink will never take anything again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}
