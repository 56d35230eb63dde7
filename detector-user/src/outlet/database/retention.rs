//! Limits of the database's size and age.

use std::time::Duration;

/// Limits beyond which the oldest verdicts and groups are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Maximum age of a verdict, and of a group since its last connection.
    pub age: Duration,
    /// Maximum size of the file, bytes.
    pub bytes: u64,
}
