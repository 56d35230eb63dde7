//! Outlets: verdicts and numbers on their way out.
//!
//! In: [`crate::verdict::Verdict`] and the run's [`tally::Tally`]. Out: text, JSON lines, journal
//! entries, files, Prometheus metrics. Not here: judging, or anything that could make the agent wait
//! for a reader: each outlet has a thread or a bounded queue of its own.

pub(crate) mod message_kind;
pub mod metrics;
pub mod sink;
pub mod summary;
pub mod tally;
