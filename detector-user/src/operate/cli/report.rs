//! Arguments of `tlswhy report`.

use std::path::PathBuf;

use clap::Args;

use super::past::{PastArgs, QueryArgs};

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy report --to report.html
  tlswhy report --since 7d --client 10.0.1.0/24 --to report.html
  tlswhy report --pcap incident.pcapng --inspection-ca ca.pem > report.html

The page has no script and loads nothing: it can be mailed, printed and opened anywhere. It names clients
and the servers they asked for.";

/// Failing groups that a report shows by default.
pub const GROUPS: usize = 200;
/// Groups that a report tells of in detail by default.
pub const STORIES: usize = 25;

/// Arguments of `tlswhy report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The past that is asked.
    #[command(flatten)]
    pub past: PastArgs,

    /// File that the page is written to [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,

    /// Maximum number of failing groups
    #[arg(long, value_name = "N", default_value_t = GROUPS)]
    pub limit: usize,

    /// Maximum number of groups that are told of in detail; those with the most failures
    #[arg(long, value_name = "N", default_value_t = STORIES)]
    pub stories: usize,

    /// Filters of verdicts and groups.
    #[command(flatten)]
    pub filters: QueryArgs,
}
