//! Arguments of `tlswhy groups`.

use clap::Args;

use super::past::{PastArgs, PastOutput, QueryArgs};

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy groups
  tlswhy groups --since 1d --cause pinning
  tlswhy groups --client 10.0.1.2 --all
  tlswhy groups --changes --since yesterday
  tlswhy groups --output json | jq 'select(.worked == 0) | .name'
  tlswhy groups --pcap incident.pcapng

A group is one client, one app, one server name and one interceptor. A filter by time selects groups with
connections in that time; their numbers are those of all their connections.

--changes compares the time since --since with as long a time before it, by names and apps.";

/// Arguments of `tlswhy groups`.
#[derive(Debug, Args)]
pub struct GroupsArgs {
    /// The past that is asked.
    #[command(flatten)]
    pub past: PastArgs,

    /// Maximum number of groups; those with the most failures are shown
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,

    /// Show groups without a failure, too
    #[arg(long)]
    pub all: bool,

    /// Show what changed since --since instead, compared with as long a time before: newly broken, worse and
    /// fixed [default time: 24h ago]
    #[arg(long, conflicts_with_all = ["all", "fleet"])]
    pub changes: bool,

    /// Format
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t)]
    pub output: PastOutput,

    /// Filters of verdicts and groups.
    #[command(flatten)]
    pub filters: QueryArgs,
}
