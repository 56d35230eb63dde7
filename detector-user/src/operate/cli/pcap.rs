//! Arguments of `tlswhy pcap`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::filter::FilterArgs;
use super::knowledge::KnowledgeArgs;
use super::outputs::{WritingArgs, each_once};
use crate::outlet::sink::Output;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy pcap incident.pcapng
  tlswhy pcap monday.pcap.gz tuesday.pcap.zst
  tlswhy pcap client-side.pcap server-side.pcap
  tlswhy pcap --tap lan=client-side.pcap --tap wan=server-side.pcap
  tcpdump -i lan0 -w - tcp port 443 | tlswhy pcap -
  tlswhy pcap --filter 'host 10.0.1.2 or (vlan and host 10.0.1.2)' large.pcap
  tlswhy pcap --client 10.0.1.0/24 --name '*.example.com' incident.pcapng
  tlswhy pcap --report incident.html incident.pcapng
  tlswhy pcap --output json --inspection-ca inspection-ca.pem incident.pcap

Several captures are taps of one gateway if they overlap in time and have a connection in common: the
same ClientHello, a ClientHello and its answer, or an interceptor's connection to the same name while the
client's is unanswered. They are read together, in the order of time. Others are read one after another, in
the order of their beginnings; a connection may continue in the next one, as in rotated captures.

A damaged capture yields all verdicts up to the damage, an error with its position, and exit code 1.";

/// Arguments of `tlswhy pcap`.
#[derive(Debug, Args)]
pub struct PcapArgs {
    /// Captures: pcap, pcapng, snoop or ERF, optionally compressed with gzip or zstd; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present = "taps")]
    pub files: Vec<PathBuf>,

    /// Capture of a named tap; all taps that are named so are of one gateway, and captures of the same
    /// name are of the same tap; repeatable [default: recognised by common connections]
    #[arg(long = "tap", id = "taps", value_name = "NAME=FILE", value_parser = tap)]
    pub taps: Vec<(String, PathBuf)>,

    /// Filter expression (pcap-filter(7)) for frames that are read; needs tcpdump [default: all frames]
    #[arg(long = "filter", value_name = "EXPRESSION")]
    pub expression: Option<String>,

    /// Output for verdicts; repeatable [default: text]
    #[arg(short, long = "output", value_name = "OUTPUT", value_enum)]
    pub(super) outputs: Vec<Output>,

    /// File for a report on the captures as one HTML page, see `tlswhy report`; all verdicts are written as well
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Suppress the progress bar
    #[arg(short, long)]
    pub quiet: bool,

    /// Maximum threads; with two or more, reading and judging run side by side, with the same verdicts
    /// [default: number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// The operator's knowledge about interception.
    #[command(flatten)]
    pub knowledge: KnowledgeArgs,

    /// Which of similar verdicts are written.
    #[command(flatten)]
    pub writing: WritingArgs,

    /// Filters of verdicts and connections.
    #[command(flatten)]
    pub filter: FilterArgs,
}

impl PcapArgs {
    /// Returns all captures, those of named taps first.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let named = self.taps.iter().map(|(_, path)| path);
        named.chain(&self.files).map(PathBuf::as_path)
    }

    /// Returns the outputs for verdicts, each once.
    #[must_use]
    pub fn outputs(&self) -> Vec<Output> {
        each_once(&self.outputs, Output::Text)
    }
}

fn tap(given: &str) -> Result<(String, PathBuf), String> {
    match given.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("not of the form NAME=FILE".to_owned()),
    }
}
