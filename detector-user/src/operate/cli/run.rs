//! Arguments of `tlswhy run`.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::interface_name::interface_name;
use super::outputs::is_service;
use crate::cause::inspection_ca::InspectionCa;
use crate::cause::knowledge::InterceptedWhen;
use crate::outlet::metrics::MetricsAddress;
use crate::outlet::sink::Output;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed; one line on standard error says why
  2  wrong usage, or a wrong configuration file; each mistake is a line on standard error";

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy run
  tlswhy run --interface lan0 --interface wan0
  tlswhy run --inspection-ca /etc/ssl/inspection-ca.pem --output json
  tlswhy run --inspection-ca \"CN=Inspection CA\" --output journald --output text
  tlswhy run --config ./tlswhy.toml --print-config

It needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; `tlswhy doctor` says what is missing.
Packets are never changed, delayed or dropped. Ctrl-C or SIGTERM ends it with a summary.";

/// Arguments of `tlswhy run`. What is given here goes before the configuration file.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Interface to watch in both directions; repeatable. Without it: every Ethernet interface
    /// that is up and has a link
    #[arg(short, long = "interface", value_name = "IF", value_parser = interface_name)]
    pub interfaces: Vec<String>,

    /// Where verdicts go; repeatable. Default: journald when run as a service, else text
    #[arg(short, long = "output", value_name = "OUTPUT", value_enum)]
    pub outputs: Vec<Output>,

    /// Append verdicts to a file as JSON lines, beside the other outputs
    #[arg(long, value_name = "FILE")]
    pub json_file: Option<PathBuf>,

    /// Connections followed at once; beyond it the oldest are forgotten, and counted
    /// [default: 262144]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(64..=16_777_216))]
    pub flows: Option<u32>,

    /// Diagnostics from the eBPF programs, on standard error
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Off)]
    pub log: LogLevel,

    /// The CA that signs intercepted certificates: a PEM or DER file, or its name; repeatable
    #[arg(long = "inspection-ca", value_name = "FILE-OR-NAME", action = ArgAction::Append)]
    pub inspection_cas: Vec<InspectionCa>,

    /// Whether connections here are intercepted [default: auto]
    #[arg(long, value_name = "WHEN", value_enum)]
    pub intercepted: Option<InterceptedWhen>,

    /// Configuration file; without it /etc/tlswhy/tlswhy.toml if it is there
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Show the configuration in effect and where each value came from, and end
    #[arg(long)]
    pub print_config: bool,

    /// Watch the interfaces of a network namespace, by its name or path
    #[arg(long, value_name = "NAME")]
    pub netns: Option<PathBuf>,

    /// Serve metrics for Prometheus: a loopback address and port, or unix:PATH
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<MetricsAddress>,

    /// Where what was learned is kept, and verdicts that journald could not take yet
    #[arg(long, value_name = "DIR")]
    pub state_directory: Option<PathBuf>,

    /// Where connections that are not judged yet are kept, for the next start
    #[arg(long, value_name = "DIR")]
    pub runtime_directory: Option<PathBuf>,

    /// Pin programs and maps in a directory of a BPF file system: they go on without the agent, and
    /// the next one takes them over
    #[arg(long, value_name = "DIR")]
    pub pins: Option<PathBuf>,
}

/// How much the eBPF programs say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[expect(
    missing_docs,
    reason = "the names of log levels say it; docs would show in the help"
)]
pub enum LogLevel {
    #[default]
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl RunArgs {
    /// Whether systemd runs it, and nobody at a terminal.
    #[must_use]
    pub fn runs_as_service(&self) -> bool {
        is_service()
    }
}
