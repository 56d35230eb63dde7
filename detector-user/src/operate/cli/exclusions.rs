//! Arguments of `tlswhy exclusions`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::knowledge::KnowledgeArgs;
use crate::operate::config::values::confidence;
use crate::outlet::exclusions::Format;
use crate::verdict::Cause;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy exclusions --min-clients 2
  tlswhy exclusions --format squid --write /etc/squid/tlswhy.list
  tlswhy exclusions --sources
  tlswhy exclusions verdicts.json
  journalctl --identifier tlswhy --output json | tlswhy exclusions --format squid -
  tlswhy exclusions --format panos-edl --min-clients 2 --never never.txt verdicts.json
  tlswhy exclusions --format mitmproxy --inspection-ca ca.pem incident.pcapng
  tlswhy exclusions --format squid --diff /etc/squid/tlswhy.list verdicts.json
  tlswhy exclusions --cause client-auth verdicts.json
  tlswhy exclusions --fleet --min-clients 3 --min-gateways 2

Without a FILE, the agent's database is asked. An excluded destination is not inspected: read a list before
an interceptor loads it. Entries that have not failed for --age, or whose verdicts are no longer in the
files, are gone from the next list. docs/exclusions.md has each format.";

/// Arguments of `tlswhy exclusions`.
#[derive(Debug, Args)]
pub struct ExclusionsArgs {
    /// Verdicts as JSON lines or arrays, of tlswhy or of journalctl, optionally compressed; or captures, which are
    /// judged as one run; `-` is standard input, as JSON [default: the agent's database]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Database of the agent, also beside files [default: verdicts.db in the state directory of the
    /// configuration, or in /var/lib/tlswhy]
    #[arg(long, value_name = "PATH")]
    pub database: Option<PathBuf>,

    /// Configuration file that names the state directory [default: /etc/tlswhy/tlswhy.toml if it exists]
    #[arg(short, long, value_name = "FILE", conflicts_with = "database")]
    pub config: Option<PathBuf>,

    /// Ask about all gateways of the fleet: fleet.db instead of verdicts.db
    #[arg(long)]
    pub fleet: bool,

    /// Format of the list
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Format,

    /// Cause for which destinations are listed: each has a list of its own
    #[arg(long, value_name = "CAUSE", value_enum, default_value_t)]
    pub cause: ListCause,

    /// Minimum confidence of a verdict that counts
    #[arg(long, value_name = "CONFIDENCE", default_value_t = 0.8, value_parser = confidence)]
    pub min_confidence: f64,

    /// Minimum failed connections of a destination
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_connections: usize,

    /// Minimum clients whose connections to a destination failed [default: 1; of the fleet 2]
    #[arg(long, value_name = "N")]
    pub min_clients: Option<usize>,

    /// Minimum gateways of the fleet behind which a destination failed [default: 2]
    #[arg(long, value_name = "N", requires = "fleet")]
    pub min_gateways: Option<usize>,

    /// File of hosts that are listed in any case, one a line: NAME, .NAME with its subdomains, or an address;
    /// # begins a comment
    #[arg(long, value_name = "FILE")]
    pub always: Option<PathBuf>,

    /// File of hosts that are never listed, in the same form
    #[arg(long, value_name = "FILE")]
    pub never: Option<PathBuf>,

    /// Maximum entries beside those of --always; destinations of most connections stay
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max: usize,

    /// Maximum age of a destination's last failure [default: 30d for those of the database, otherwise any]
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub age: Option<Duration>,

    /// List clients that refuse the interceptor for every name, such as devices that take no CA, instead of
    /// destinations: by the database, as plain, panos-edl (of type IP) or nftables-set
    #[arg(long, conflicts_with_all = ["files", "cause", "always", "never"])]
    pub sources: bool,

    /// File that the list replaces as a whole, instead of standard output. If nothing is to be listed and the
    /// file has several entries, it stays as it is for a day
    #[arg(long, value_name = "PATH", conflicts_with = "diff")]
    pub write: Option<PathBuf>,

    /// Earlier list in the same format: write the entries that differ from it instead of the list
    #[arg(long, value_name = "LAST")]
    pub diff: Option<PathBuf>,

    /// The operator's knowledge about interception, for captures.
    #[command(flatten)]
    pub knowledge: KnowledgeArgs,
}

fn age(given: &str) -> Result<Duration, String> {
    humantime::parse_duration(given).map_err(|_| "not a time such as 12h or 30d".to_owned())
}

/// Causes whose destinations are excluded from inspection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListCause {
    /// Apps there accept no certificate but their own.
    #[default]
    Pinning,
    /// The server wants a client certificate.
    ClientAuth,
}

impl From<ListCause> for Cause {
    fn from(cause: ListCause) -> Self {
        match cause {
            ListCause::Pinning => Self::Pinning,
            ListCause::ClientAuth => Self::ClientAuth,
        }
    }
}

impl ValueEnum for ListCause {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Pinning, Self::ClientAuth]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(Cause::from(*self).name()))
    }
}
