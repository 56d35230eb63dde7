//! The commands, each from its arguments to its exit code.

mod messages;
pub mod pcap;
pub mod run;

use crate::sink::SinkError;

/// Tells of a sink's failure, once per kind. A reader that closed its end is no failure.
fn report(error: &SinkError) {
    if !matches!(error, SinkError::Closed { .. }) {
        eprintln!("tlswhy: {error}");
    }
}
