//! Arguments of `tlswhy compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::knowledge::KnowledgeArgs;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy compare --receive rx.pcap --transmit tx.pcap
  tlswhy compare --receive rx.pcap --transmit tx.pcap --firewall fw.pcap --drop dr.pcap
  tlswhy compare --receive lan0.pcapng --transmit wan0.pcapng --inspection-ca 'CN=Inspection CA'
  tlswhy compare --receive rx.pcap --transmit tx.pcap --output json | jq 'select(.disturbed)'

The captures are the stages of PAN-OS's packet-diag, or those of a gateway's two interfaces: the clients'
first. Segments are aligned by their payload and their place in the stream, through address translation, other
TTLs, rewritten sequence numbers and other lengths; a proxy's own connection is recognised by its ends or its
server name.";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  the captures were compared
  1  they have no connection in common, or one of them cannot be read to its end
  2  usage error";

/// Arguments of `tlswhy compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Capture of what the device received, or of the clients' side; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub receive: PathBuf,

    /// Capture of what the device transmitted, or of the servers' side
    #[arg(long, value_name = "FILE")]
    pub transmit: PathBuf,

    /// Capture of the firewall stage: shows whether a lost segment got that far
    #[arg(long, value_name = "FILE")]
    pub firewall: Option<PathBuf>,

    /// Capture of the packets that the device dropped
    #[arg(long, value_name = "FILE")]
    pub drop: Option<PathBuf>,

    /// Show only connections of which something was inserted, dropped or rewritten
    #[arg(long)]
    pub disturbed: bool,

    /// Format
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t)]
    pub output: CompareOutput,

    /// Suppress the progress bar
    #[arg(short, long)]
    pub quiet: bool,

    /// The operator's knowledge about interception.
    #[command(flatten)]
    pub knowledge: KnowledgeArgs,
}

/// Format of a comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum CompareOutput {
    /// Text for people
    #[default]
    Text,
    /// JSON: a line on the captures, then one on each connection
    Json,
}
