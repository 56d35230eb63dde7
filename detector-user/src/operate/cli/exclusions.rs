//! Arguments of `tlswhy exclusions`.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::knowledge::KnowledgeArgs;
use crate::operate::config::values::confidence;
use crate::outlet::exclusions::Format;
use crate::verdict::Cause;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy exclusions verdicts.json
  journalctl --identifier tlswhy --output json | tlswhy exclusions --format squid -
  tlswhy exclusions --format panos-edl --min-clients 2 --never never.txt verdicts.json
  tlswhy exclusions --format mitmproxy --inspection-ca ca.pem incident.pcapng
  tlswhy exclusions --format squid --diff /etc/squid/tlswhy.list verdicts.json
  tlswhy exclusions --cause client-auth verdicts.json

An excluded destination is not inspected: read a list before an interceptor loads it. Entries whose
verdicts are no longer in the files are gone from the next list. docs/exclusions.md has each format.";

/// Arguments of `tlswhy exclusions`.
#[derive(Debug, Args)]
pub struct ExclusionsArgs {
    /// Verdicts as JSON lines or arrays, of tlswhy or of journalctl, optionally compressed; or captures, which are
    /// judged as one run; `-` is standard input, as JSON
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

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

    /// Minimum clients whose connections to a destination failed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_clients: usize,

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

    /// Earlier list in the same format: write the entries that differ from it instead of the list
    #[arg(long, value_name = "LAST")]
    pub diff: Option<PathBuf>,

    /// The operator's knowledge about interception, for captures.
    #[command(flatten)]
    pub knowledge: KnowledgeArgs,
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
