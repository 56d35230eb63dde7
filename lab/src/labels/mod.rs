//! The tables of truths beside captures (docs/scoring.md).
//!
//! In: a folder's tables, or the scenarios played. Out: a [`Folder`] to score, or rows to write.
//! Not here: the contents of captures, and verdicts.

mod cause;
mod folder;
mod label;
mod table;

pub use cause::{Cause, PerCause, UnknownCause, parse_cause};
pub use folder::{Capture, Folder, LogLine, Truth};
pub use label::{COLUMNS, Label};
pub use table::{Record, Table};

/// The table of captures.
pub const LABELS: &str = "labels.tsv";
/// The table of connections, beside it.
pub const CONNECTIONS: &str = "connections.tsv";
/// The table of interceptors' own log lines, beside it.
pub const INTERCEPTOR_LOGS: &str = "interceptor-logs.tsv";
