//! Outlets: the ways of verdicts and numbers out of the agent.
//!
//! In: [`crate::verdict::Verdict`], and the run's numbers as a [`tally::Tally`] or a
//! [`metrics::Snapshot`]. Out: text, JSON lines, journal entries, files, syslog ([`sink`]), Prometheus metrics
//! ([`metrics`]), lists for interceptors ([`exclusions`]), and the summary of a run ([`summary`]). `message_kind` names the kinds of messages about
//! the agent, for the journal and its catalog. An outlet knows the rooms verdict and host, and the counts
//! of the tracker, but nothing of how a verdict came about.
//!
//! Not here: judging, changing a verdict, or anything that makes the agent wait for a reader. Each sink
//! of `tlswhy run` has a thread behind a bounded queue; the metrics' server has a thread of its own.

pub mod client_tls;
pub mod database;
pub mod edl;
pub mod exclusions;
pub mod failure_rates;
pub mod http;
pub mod live_page;
pub(crate) mod message_kind;
pub mod metrics;
pub mod recent_groups;
pub mod report;
pub mod sink;
pub mod status;
pub mod steady_time;
pub mod stories;
pub mod story;
pub mod summary;
pub mod tally;
mod worker;
