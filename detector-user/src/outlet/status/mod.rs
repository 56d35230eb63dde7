//! The agent's status, for `tlswhy status`.
//!
//! In: a [`Report`] every two seconds. Out: the latest one as a line of JSON to everybody who connects to
//! a Unix socket, served by a thread of its own ([`server`]), for which the agent never waits. Nothing is
//! read from clients.

mod report;
pub mod server;
mod text;

pub use report::{
    Configured, FirewallLogCounts, FleetCounts, LastVerdict, Loss, Memory, Output, Rates, Refused,
    Report, Tap,
};

/// Name of the socket in the runtime directory.
pub const SOCKET: &str = "status.sock";
/// Maximum length of a report in bytes.
pub const REPORT_MAX: usize = 1 << 20;
