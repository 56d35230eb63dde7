//! Failures of sinks.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::outlet::database::DatabaseError;
use crate::verdict::counted;

/// Failure of a sink.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The reader of the output is gone, as `head` does: an end, not a failure.
    #[error("the reader of the {output} output is gone")]
    Closed {
        /// The sink's name.
        output: &'static str,
    },
    /// The output could not be written, for instance because a disk is full.
    #[error("cannot write the {output} output: {source}")]
    Write {
        /// The sink's name.
        output: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A file could not be opened.
    #[error("cannot open {}: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The queue is full: the output is too slow.
    #[error("the {output} output is too slow: its oldest verdicts are dropped")]
    Overflow {
        /// The sink's name.
        output: &'static str,
    },
    /// The run ended before the output accepted everything.
    #[error("the {output} output ended before all verdicts were written")]
    Undelivered {
        /// The sink's name.
        output: &'static str,
    },
    /// A verdict could not be spilled to disk.
    #[error("cannot spill verdicts for the {output} output to disk: {source}")]
    Spill {
        /// The sink's name.
        output: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The spill file is full.
    #[error(
        "cannot spill verdicts for the {output} output to disk: the file is full; raise output.spill_max"
    )]
    SpillFull {
        /// The sink's name.
        output: &'static str,
    },
    /// Spilled verdicts cannot be read at the moment.
    #[error(
        "cannot read {} of spilled verdicts for the {output} output: {source}; they stay for \
         the next start, and later verdicts are written first", counted(*.bytes, "byte", "bytes")
    )]
    SpillUnreadable {
        /// The sink's name.
        output: &'static str,
        /// Bytes that stay.
        bytes: u64,
        /// The system's error.
        source: io::Error,
    },
    /// Some spilled verdicts are damaged.
    #[error("some spilled verdicts for the {output} output are damaged")]
    SpillDamaged {
        /// The sink's name.
        output: &'static str,
    },
    /// Delivered verdicts cannot be recorded.
    #[error(
        "cannot record the delivered verdicts of the {output} output: {source}; some may be repeated after a restart"
    )]
    Delivered {
        /// The sink's name.
        output: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The database takes nothing, or not this verdict.
    #[error("{source}")]
    Database {
        /// The failure.
        #[from]
        source: DatabaseError,
    },
    /// The database was damaged.
    #[error("the database was damaged: it is set aside as {}, and a new one is begun", .aside.display())]
    DatabaseDamaged {
        /// Its new name.
        aside: PathBuf,
    },
    /// Connections that worked came from more groups than the database takes in a second.
    #[error("the database is too slow to count {}", counted(*.dropped, "connection that worked", "connections that worked"))]
    AcceptancesDropped {
        /// Their number.
        dropped: u64,
    },
    /// The calendar clock went forward.
    #[error(
        "the clock is {} hours ahead of the time that is expected: nothing is removed from the database by its \
         age for a day; correct the clock if it is wrong", .ahead.as_secs() / 3_600
    )]
    ClockAhead {
        /// Its advance.
        ahead: Duration,
    },
    /// A server over the network accepts nothing at the moment.
    #[error(
        "cannot send verdicts to {server}: {source}{}; they wait",
        hint(source)
    )]
    Unreachable {
        /// The sink's name.
        output: &'static str,
        /// The server's address.
        server: String,
        /// The system's error.
        source: io::Error,
    },
    /// A server over the network refused a verdict for good.
    #[error("{server} rejects verdicts: {reason}; they are lost to it")]
    Rejected {
        /// The server's address.
        server: String,
        /// Its answer.
        reason: String,
    },
    /// No journald listens.
    #[error(
        "cannot reach journald at {}; start systemd-journald or use --output text", .socket.display()
    )]
    JournalMissing {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// This process may not write to the journal's socket.
    #[error("permission denied writing to journald at {}; run as root or use --output text", .socket.display())]
    JournalForbidden {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// journald listens but accepts nothing.
    #[error("journald at {} accepts no entries at the moment", .socket.display())]
    JournalBusy {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// Any other failure to write to journald.
    #[error("cannot write to journald at {}: {source}", .socket.display())]
    Journal {
        /// The socket that was tried.
        socket: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl SinkError {
    /// Returns a short stable name of the kind of failure, for counters.
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
            Self::Database { .. } => "database",
            Self::DatabaseDamaged { .. } => "database-damaged",
            Self::AcceptancesDropped { .. } => "acceptances-dropped",
            Self::ClockAhead { .. } => "clock-ahead",
            Self::Unreachable { .. } => "unreachable",
            Self::Rejected { .. } => "rejected",
            Self::JournalMissing { .. } => "journald-missing",
            Self::JournalForbidden { .. } => "journald-forbidden",
            Self::JournalBusy { .. } => "journald-busy",
            Self::Journal { .. } => "journald",
        }
    }

    /// Every kind that may lose verdicts.
    pub const LOSSES: [&str; 14] = [
        "write",
        "open",
        "overflow",
        "undelivered",
        "spill",
        "spill-full",
        "spill-damaged",
        "delivered",
        "database",
        "rejected",
        "journald-missing",
        "journald-forbidden",
        "journald-busy",
        "journald",
    ];

    /// Whether another attempt may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Database { source } => source.is_temporary(),
            Self::Unreachable { .. }
            | Self::JournalMissing { .. }
            | Self::JournalBusy { .. }
            | Self::JournalForbidden { .. }
            | Self::Open { .. } => true,
            _ => false,
        }
    }

    /// Whether this sink will never accept a verdict again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

/// Returns a hint at a usual reason.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::TimedOut => {
            " (the packaged unit lets the service reach loopback only: see IPAddressAllow in operate.md)"
        }
        _ => "",
    }
}
