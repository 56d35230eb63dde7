//! Arguments of `tlswhy pcap`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::knowledge::KnowledgeArgs;
use super::outputs::each_once;
use crate::outlet::sink::Output;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy pcap incident.pcapng
  tlswhy pcap monday.pcap.gz tuesday.pcap.zst
  tcpdump -i lan0 -w - tcp port 443 | tlswhy pcap -
  tlswhy pcap --output json --inspection-ca inspection-ca.pem incident.pcap

A damaged capture gives all verdicts up to the damage, a warning that says where, and exit code 1.";

/// Arguments of `tlswhy pcap`.
#[derive(Debug, Args)]
pub struct PcapArgs {
    /// Captures: pcap or pcapng, also compressed with gzip or zstd; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Where verdicts go; repeatable. Default: text
    #[arg(short, long = "output", value_name = "OUTPUT", value_enum)]
    pub(super) outputs: Vec<Output>,

    /// Show no progress bar
    #[arg(short, long)]
    pub quiet: bool,

    /// Threads to read and judge with; verdicts do not depend on it. Default: as many as help
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// The operator's knowledge about interception.
    #[command(flatten)]
    pub knowledge: KnowledgeArgs,
}

impl PcapArgs {
    /// Where verdicts go, each output once.
    #[must_use]
    pub fn outputs(&self) -> Vec<Output> {
        each_once(&self.outputs, Output::Text)
    }

    /// Whether to show progress: only somebody at a terminal reads it.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}
