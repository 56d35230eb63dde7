//! Arguments of `tlswhy verdicts`.

use clap::Args;

use super::past::{PastArgs, PastOutput, QueryArgs, VerdictQueryArgs};
use crate::outlet::database::Query;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy verdicts
  tlswhy verdicts --since 2h --client 10.0.1.0/24 --name '*.example.com'
  tlswhy verdicts --cause pinning --min-confidence 0.8 --output csv > pinning.csv
  tlswhy verdicts --follow --output json | jq .sni
  tlswhy verdicts --pcap incident.pcapng --cause injected-reset";

/// Arguments of `tlswhy verdicts`.
#[derive(Debug, Args)]
pub struct VerdictsArgs {
    /// The past that is asked.
    #[command(flatten)]
    pub past: PastArgs,

    /// Maximum number of verdicts; the latest are shown
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,

    /// Show verdicts that were replaced later, too
    #[arg(long)]
    pub all: bool,

    /// Go on showing verdicts as the agent writes them, until Ctrl-C
    #[arg(short, long, conflicts_with = "captures")]
    pub follow: bool,

    /// Format
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t)]
    pub output: PastOutput,

    /// Filters of verdicts and groups.
    #[command(flatten)]
    pub filters: QueryArgs,

    /// Filters of verdicts.
    #[command(flatten)]
    pub of_verdicts: VerdictQueryArgs,
}

impl VerdictsArgs {
    /// Returns the query.
    #[must_use]
    pub fn query(&self) -> Query {
        Query {
            servers: self.of_verdicts.servers.clone(),
            ports: self.of_verdicts.ports.clone(),
            taps: self.of_verdicts.taps.clone(),
            ..self.filters.query(self.all, self.limit)
        }
    }
}
