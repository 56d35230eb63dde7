//! Arguments of `tlswhy run`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::filter::FilterArgs;
use super::outputs::{WritingArgs, is_service};
use crate::cause::inspection_ca::InspectionCa;
use crate::cause::knowledge::InterceptedWhen;
use crate::outlet::metrics::MetricsAddress;
use crate::outlet::sink::Output;
use crate::source::tap::selection::Wanted;

/// Also those of `tlswhy check-config`.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  failure; one line on standard error names the cause
  2  usage error or invalid configuration file; each mistake is a line on standard error";

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy run
  tlswhy run --interface lan0 --interface wan0
  tlswhy run --interface auto --cause pinning --ignore-name '*.telemetry.example'
  tlswhy run --inspection-ca /etc/ssl/inspection-ca.pem --output json
  tlswhy run --inspection-ca \"CN=Inspection CA\" --output journald --output text
  tlswhy run --config ./tlswhy.toml --print-config

Requires root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; `tlswhy doctor` lists missing privileges.
Packets are never changed, delayed or dropped. Ctrl-C or SIGTERM ends the run with a summary.";

/// Arguments of `tlswhy run`; they take precedence over the configuration file.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Interface to watch in both directions: a name, a glob such as 'lan*', or auto, the interfaces of
    /// default routes and the ports of bridges; repeatable [default: every Ethernet interface that is up
    /// and has a link]
    #[arg(short, long = "interface", value_name = "IF", value_parser = Wanted::parse)]
    pub interfaces: Vec<Wanted>,

    /// Output for verdicts; repeatable [default: journald when run as a service, otherwise text]
    #[arg(short, long = "output", value_name = "OUTPUT", value_enum)]
    pub outputs: Vec<Output>,

    /// File to which verdicts are appended as JSON lines, in addition to the other outputs [default: none]
    #[arg(long, value_name = "FILE")]
    pub json_file: Option<PathBuf>,

    /// Maximum tracked connections; the oldest is evicted [default: 262144]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(64..=16_777_216))]
    pub flows: Option<u32>,

    /// Log level of the eBPF programs, on standard error
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Off)]
    pub log: LogLevel,

    /// CA that signs intercepted certificates: a PEM or DER file, or its name; repeatable [default: none]
    #[arg(long = "inspection-ca", value_name = "FILE-OR-NAME", action = ArgAction::Append)]
    pub inspection_cas: Vec<InspectionCa>,

    /// Whether connections are intercepted [default: auto]
    #[arg(long, value_name = "WHEN", value_enum)]
    pub intercepted: Option<InterceptedWhen>,

    /// Address of an explicit proxy, or from which an interceptor opens connections of its own; repeatable
    /// [default: none]
    #[arg(long = "interceptor", value_name = "ADDRESS", action = ArgAction::Append)]
    pub interceptors: Vec<IpAddr>,

    /// Configuration file [default: /etc/tlswhy/tlswhy.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print the effective configuration with the origin of each value, and exit
    #[arg(long)]
    pub print_config: bool,

    /// Network namespace whose interfaces are watched: a name or path [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub netns: Option<PathBuf>,

    /// Address that serves metrics for Prometheus: a loopback address and port, or unix:PATH
    /// [default: none]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<MetricsAddress>,

    /// Directory for state that survives a reboot: learned facts, and verdicts that journald has not
    /// accepted yet [default: systemd's when run as a service, otherwise none]
    #[arg(long, value_name = "DIR")]
    pub state_directory: Option<PathBuf>,

    /// Directory for state that survives a restart: connections that are not judged yet [default:
    /// systemd's when run as a service, otherwise none]
    #[arg(long, value_name = "DIR")]
    pub runtime_directory: Option<PathBuf>,

    /// Directory on a BPF filesystem where programs and maps are pinned: they keep running without
    /// the agent, and the next one adopts them [default: /sys/fs/bpf/tlswhy when run as a service,
    /// otherwise none]
    #[arg(long, value_name = "DIR")]
    pub pins: Option<PathBuf>,

    /// Which of similar verdicts are written.
    #[command(flatten)]
    pub writing: WritingArgs,

    /// Filters of verdicts and connections.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Log level of the eBPF programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[expect(missing_docs, reason = "the names say it; docs would show in the help")]
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
    /// Whether systemd runs it, rather than a person at a terminal.
    #[must_use]
    pub fn runs_as_service(&self) -> bool {
        is_service()
    }
}
