//! The command line.

mod knowledge;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::cause::inspection_ca::InspectionCa;
use crate::cause::knowledge::InterceptedWhen;
use crate::host::service_manager::connected_to_journal;
use crate::operate::config::DEFAULT_PINS;
use crate::outlet::metrics::MetricsAddress;
use crate::outlet::sink::Output;
use crate::source::tap::selection::Wanted;

pub use knowledge::KnowledgeArgs;

/// Exit code: it did what it was asked to.
pub const EXIT_DONE: u8 = 0;
/// Exit code: it failed, and one line on standard error says why.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: wrong usage; of `tlswhy run` also a wrong configuration.
pub const EXIT_USAGE: u8 = 2;

/// Connections followed at once unless told otherwise.
pub(crate) const DEFAULT_FLOWS: u32 = 262_144;

const RUN_EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed; one line on standard error says why
  2  wrong usage, or a wrong configuration file; each mistake is a line on standard error";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed; one line on standard error says why
  2  wrong usage";

const EXAMPLES: &str = "\
Examples:
  tlswhy doctor                              what this machine can do
  tlswhy run --interface lan0                watch one interface until Ctrl-C
  tlswhy pcap incident.pcapng                why the connections in a capture failed
  tlswhy pcap --output json a.pcap | jq .cause";

const RUN_EXAMPLES: &str = "\
Examples:
  tlswhy run
  tlswhy run --interface lan0 --interface wan0
  tlswhy run --inspection-ca /etc/ssl/inspection-ca.pem --output json
  tlswhy run --inspection-ca \"CN=Inspection CA\" --output journald --output text
  tlswhy run --config ./tlswhy.toml --print-config

It needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; `tlswhy doctor` says what is missing.
Packets are never changed, delayed or dropped. Ctrl-C or SIGTERM ends it with a summary.";

const PCAP_EXAMPLES: &str = "\
Examples:
  tlswhy pcap incident.pcapng
  tlswhy pcap monday.pcap.gz tuesday.pcap.zst
  tcpdump -i lan0 -w - tcp port 443 | tlswhy pcap -
  tlswhy pcap --output json --inspection-ca inspection-ca.pem incident.pcap

A damaged capture gives all verdicts up to the damage, a warning that says where, and exit code 1.";

const CHECK_EXAMPLES: &str = "\
Examples:
  tlswhy check-config
  tlswhy check-config ./tlswhy.toml && cp ./tlswhy.toml /etc/tlswhy/ && systemctl reload tlswhy";

const DETACH_EXAMPLES: &str = "\
Examples:
  systemctl stop tlswhy && tlswhy detach

An agent that still runs must be stopped first: until then nothing is taken off.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  tlswhy doctor
  tlswhy doctor --interface lan0
  tlswhy doctor --config ./tlswhy.toml
  tlswhy doctor --output json

Exit codes:
  0  everything `tlswhy run` needs is there (there may be warnings)
  1  there is a problem; each is shown with the command that mends it
  2  wrong usage";

/// Tells why TLS connections through a gateway broke.
///
/// Watches the gateway's interfaces with eBPF, or reads captures, and writes one verdict for each
/// TLS connection that failed: the cause, how sure it is, the evidence, and what to do about it.
#[derive(Debug, Parser)]
#[command(name = "tlswhy", version, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch interfaces and write verdicts as connections fail
    #[command(after_help = format!("{RUN_EXAMPLES}\n\n{RUN_EXIT_CODES}"))]
    Run(Box<RunArgs>),
    /// Check a configuration file: all that is wrong in it, with line and column
    #[command(after_help = format!("{CHECK_EXAMPLES}\n\n{EXIT_CODES}"))]
    CheckConfig(CheckConfigArgs),
    /// Take away what `tlswhy run` pinned: no program stays on any interface
    #[command(after_help = format!("{DETACH_EXAMPLES}\n\n{EXIT_CODES}"))]
    Detach(DetachArgs),
    /// Read captures and write verdicts; needs neither root nor kernel support
    #[command(after_help = format!("{PCAP_EXAMPLES}\n\n{EXIT_CODES}"))]
    Pcap(PcapArgs),
    /// Check what this machine can and cannot do, and say what mends it
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
}

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

/// Arguments of `tlswhy check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// The file; without it /etc/tlswhy/tlswhy.toml
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Arguments of `tlswhy detach`.
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// The directory where programs and maps are pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS)]
    pub pins: PathBuf,
}

/// Arguments of `tlswhy pcap`.
#[derive(Debug, Args)]
pub struct PcapArgs {
    /// Captures: pcap or pcapng, also compressed with gzip or zstd; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Where verdicts go; repeatable. Default: text
    #[arg(short, long = "output", value_name = "OUTPUT", value_enum)]
    outputs: Vec<Output>,

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

/// Arguments of `tlswhy doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Interface to check; repeatable. Without it: the ones `tlswhy run` would watch
    #[arg(short, long = "interface", value_name = "IF", value_parser = interface_name)]
    pub interfaces: Vec<String>,

    /// Configuration file; without it /etc/tlswhy/tlswhy.toml if it is there
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Look at the interfaces of a network namespace, by its name or path
    #[arg(long, value_name = "NAME")]
    pub netns: Option<PathBuf>,

    /// How to show what was found
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t = DoctorOutput::Text)]
    pub output: DoctorOutput,
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

/// How `tlswhy doctor` shows what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DoctorOutput {
    /// For people
    Text,
    /// One JSON object
    Json,
}

impl Cli {
    /// Parses `arguments`, the program's name first, and checks what concerns several at once.
    ///
    /// # Errors
    /// [`clap::Error`], also for `--help`; its `exit()` prints it and ends with the right code.
    pub fn parse_arguments<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let cli = Self::try_parse_from(arguments)?;
        match &cli.command {
            Command::Run(run) => check_outputs("run", &run.outputs)?,
            Command::Pcap(pcap) => {
                check_outputs("pcap", &pcap.outputs)?;
                check_files(&pcap.files)?;
            }
            Command::CheckConfig(_) | Command::Detach(_) | Command::Doctor(_) => {}
        }
        Ok(cli)
    }
}

impl RunArgs {
    /// Whether systemd runs it, and nobody at a terminal.
    #[must_use]
    pub fn runs_as_service(&self) -> bool {
        is_service()
    }
}

/// Where `tlswhy run` sends verdicts when it was told `outputs`, each output once.
#[must_use]
pub fn run_outputs(outputs: &[Output]) -> Vec<Output> {
    let default = if is_service() {
        Output::Journald
    } else {
        Output::Text
    };
    each_once(outputs, default)
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

/// Whether systemd started this very process, or its standard error is the journal. Variables
/// alone would not do: whatever a service starts inherits them.
fn is_service() -> bool {
    let own = std::process::id().to_string();
    connected_to_journal()
        || std::env::var_os("SYSTEMD_EXEC_PID").is_some_and(|pid| pid == own.as_str())
}

fn each_once(outputs: &[Output], default: Output) -> Vec<Output> {
    let mut once = Vec::new();
    for &output in outputs {
        if !once.contains(&output) {
            once.push(output);
        }
    }
    if once.is_empty() {
        once.push(default);
    }
    once
}

fn check_outputs(command: &str, outputs: &[Output]) -> Result<(), clap::Error> {
    let on_stdout = each_once(outputs, Output::Journald);
    if on_stdout
        .into_iter()
        .filter(|output| output.is_on_stdout())
        .count()
        > 1
    {
        let message = "text and json both go to standard output: choose one of them";
        return Err(usage(command, message));
    }
    Ok(())
}

fn check_files(files: &[PathBuf]) -> Result<(), clap::Error> {
    if files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
        return Err(usage("pcap", "standard input (-) can be read once only"));
    }
    Ok(())
}

fn usage(command: &str, message: &str) -> clap::Error {
    let mut all = Cli::command();
    all.build();
    let mut fallback = Cli::command();
    let command = all.find_subcommand_mut(command).unwrap_or(&mut fallback);
    command.error(ErrorKind::ArgumentConflict, message)
}

fn interface_name(name: &str) -> Result<String, String> {
    Wanted::parse(name).map(|_| name.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        Cli::parse_arguments(line.split_whitespace())
    }

    fn run(line: &str) -> RunArgs {
        match parsed(line).unwrap().command {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn is_sound() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case("tlswhy --help")]
    #[case("tlswhy run --help")]
    #[case("tlswhy pcap --help")]
    #[case("tlswhy doctor --help")]
    #[case("tlswhy check-config --help")]
    #[case("tlswhy detach --help")]
    fn helps(#[case] line: &str) {
        // Of a fixed width: the terminal this runs on must not decide.
        let command = Cli::command().term_width(100);
        let help = command
            .try_get_matches_from(line.split_whitespace())
            .unwrap_err();
        assert_eq!(help.exit_code(), i32::from(EXIT_DONE));
        let name = line.replace(" --", "_").replace(' ', "_");
        insta::assert_snapshot!(name, help.to_string());
    }

    #[test]
    fn run_takes_everything_it_documents() {
        let run = run(
            "tlswhy run --interface lan0 -i wan0 --output json --output journald \
             --output json --inspection-ca Proxy --inspection-ca CN=Other --intercepted always \
             --flows 1000000 --log debug",
        );
        assert_eq!(run.interfaces, ["lan0", "wan0"]);
        let outputs = run_outputs(&run.outputs);
        assert_eq!(outputs, [Output::Json, Output::Journald]);
        assert_eq!(run.inspection_cas.len(), 2);
        assert!(run.inspection_cas.iter().any(|ca| ca.matches("CN=Other")));
        assert_eq!(run.intercepted, Some(InterceptedWhen::Always));
        assert_eq!((run.flows, run.log), (Some(1_000_000), LogLevel::Debug));
    }

    #[test]
    fn run_alone_is_quiet_and_judges_by_evidence() {
        let run = run("tlswhy run");
        assert_eq!(
            run_outputs(&run.outputs),
            [Output::Text],
            "this test is no service"
        );
        assert_eq!(
            (run.intercepted, run.flows, run.log),
            (None, None, LogLevel::Off)
        );
        assert!(run.interfaces.is_empty());
    }

    #[test]
    fn pcap_takes_files_and_standard_input() {
        let Command::Pcap(pcap) = parsed("tlswhy pcap -q a.pcap - b.pcapng.gz")
            .unwrap()
            .command
        else {
            panic!("not pcap")
        };
        assert_eq!(
            pcap.files,
            ["a.pcap", "-", "b.pcapng.gz"].map(PathBuf::from)
        );
        assert_eq!(pcap.outputs(), [Output::Text]);
        assert!(!pcap.shows_progress());
    }

    #[rstest]
    #[case("tlswhy")]
    #[case("tlswhy walk")]
    #[case("tlswhy pcap")]
    #[case("tlswhy pcap - -")]
    #[case("tlswhy run --output xml")]
    #[case("tlswhy run --output text --output json")]
    #[case("tlswhy run --interface an-interface-name-too-long")]
    #[case("tlswhy run --interface eth0/../x")]
    #[case("tlswhy run --flows 0")]
    #[case("tlswhy run --flows many")]
    #[case("tlswhy run --intercepted perhaps")]
    #[case("tlswhy run --inspection-ca /nonexistent/ca.pem")]
    #[case("tlswhy doctor --output journald")]
    fn wrong_usage_ends_with_2(#[case] line: &str) {
        let error = parsed(line).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(EXIT_USAGE), "{error}");
        assert!(error.use_stderr());
    }

    #[test]
    fn a_conflict_says_what_to_do() {
        let error = parsed("tlswhy run --output text --output json")
            .unwrap_err()
            .to_string();
        assert!(error.contains("choose one of them"), "{error}");
        assert!(error.contains("Usage: tlswhy run"), "{error}");
    }
}
