//! The command line.

mod check_config;
mod compare;
mod detach;
mod doctor;
mod exclusions;
mod explain;
mod filter;
mod fleet;
mod groups;
mod knowledge;
mod outputs;
mod past;
mod pcap;
mod probe;
mod report;
mod run;
mod status;
mod top;
mod verdicts;
mod why;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::outlet::sink::Output;
use outputs::each_once;

pub use check_config::CheckConfigArgs;
pub use compare::{CompareArgs, CompareOutput};
pub use detach::DetachArgs;
pub use doctor::{DoctorArgs, DoctorOutput};
pub use exclusions::{ExclusionsArgs, ListCause};
pub use explain::ExplainArgs;
pub use filter::FilterArgs;
pub use fleet::{FleetArgs, FleetCommand, FleetMuteArgs, FleetOutput, FleetServeArgs};
pub use groups::GroupsArgs;
pub use knowledge::KnowledgeArgs;
pub use outputs::{FoldWhen, WritingArgs, run_outputs};
pub use past::{PastArgs, PastOutput};
pub use pcap::PcapArgs;
pub use probe::{EXIT_INVALID, ProbeArgs, ProbeOutput};
pub use report::{GROUPS as REPORT_GROUPS, ReportArgs, STORIES as REPORT_STORIES};
pub use run::{LogLevel, RunArgs};
pub use status::StatusArgs;
pub use top::{TopArgs, TopBy};
pub use verdicts::VerdictsArgs;
pub use why::{Asked, WhyArgs};

/// Exit code of success.
pub const EXIT_DONE: u8 = 0;
/// Exit code of a failure; one line on standard error names its cause.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of a usage error and of an invalid configuration.
pub const EXIT_USAGE: u8 = 2;

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  failure; one line on standard error names the cause
  2  usage error";

const EXAMPLES: &str = "\
Examples:
  tlswhy doctor                              check this machine
  tlswhy run --interface lan0                watch one interface until Ctrl-C
  tlswhy pcap incident.pcapng                causes of the failures in a capture
  tlswhy pcap --output json a.pcap | jq .cause";

/// Tells why TLS connections through a gateway broke.
///
/// Watches the gateway's interfaces with eBPF, or reads captures, and writes one verdict for each
/// TLS connection that failed: the cause, its confidence, the evidence, and advice.
#[derive(Debug, Parser)]
#[command(name = "tlswhy", version, after_help = after(EXAMPLES, EXIT_CODES))]
#[command(
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// A command and its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch interfaces and write a verdict for each connection that fails
    #[command(after_help = after(run::EXAMPLES, run::EXIT_CODES))]
    Run(Box<RunArgs>),
    /// Check a configuration file; every mistake is listed with its line and column
    #[command(after_help = after(check_config::EXAMPLES, run::EXIT_CODES))]
    CheckConfig(CheckConfigArgs),
    /// Ask the running agent: taps, rates, losses, memory, the latest verdicts
    #[command(after_help = after(status::EXAMPLES, status::EXIT_CODES))]
    Status(StatusArgs),
    /// Watch failing groups live in the terminal: rates, causes, advice, what broke just now
    #[command(after_help = after(top::EXAMPLES, top::EXIT_CODES))]
    Top(Box<TopArgs>),
    /// Detach the pinned programs of `tlswhy run` from all interfaces
    #[command(after_help = after(detach::EXAMPLES, EXIT_CODES))]
    Detach(DetachArgs),
    /// Read captures and write verdicts; needs neither root nor kernel support
    #[command(after_help = after(pcap::EXAMPLES, EXIT_CODES))]
    Pcap(Box<PcapArgs>),
    /// Show verdicts found so far, one by one
    #[command(after_help = after(verdicts::EXAMPLES, EXIT_CODES))]
    Verdicts(Box<VerdictsArgs>),
    /// Show who fails where: clients, apps and server names, with their failures' causes
    #[command(after_help = after(groups::EXAMPLES, EXIT_CODES))]
    Groups(Box<GroupsArgs>),
    /// Tell in plain words why connections of a name, a client or one connection fail
    #[command(after_help = after(why::EXAMPLES, why::EXIT_CODES))]
    Why(Box<WhyArgs>),
    /// Write a report as one self-contained HTML page
    #[command(after_help = after(report::EXAMPLES, EXIT_CODES))]
    Report(Box<ReportArgs>),
    /// Compare captures of two stages of one device: what it forwarded, inserted, dropped or rewrote
    #[command(after_help = after(compare::EXAMPLES, compare::EXIT_CODES))]
    Compare(Box<CompareArgs>),
    /// Explain the rows of a firewall's log by the verdicts on their connections
    #[command(after_help = after(explain::EXAMPLES, explain::EXIT_CODES))]
    Explain(Box<ExplainArgs>),
    /// Write a list of destinations that an interceptor should pass on uninspected
    #[command(after_help = after(exclusions::EXAMPLES, EXIT_CODES))]
    Exclusions(Box<ExclusionsArgs>),
    /// Show the gateways that share facts: their state, lag, losses, and doubts about them
    #[command(after_help = after(fleet::EXAMPLES, EXIT_CODES))]
    Fleet(Box<FleetArgs>),
    /// Ask an origin whether its own certificate is valid for its name
    #[command(after_help = after(probe::EXAMPLES, probe::EXIT_CODES))]
    Probe(Box<ProbeArgs>),
    /// Check whether `tlswhy run` works on this machine, with a fix for each problem
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(DoctorArgs),
}

impl Cli {
    /// Parses `arguments`, the program's name first, and checks combinations of them.
    ///
    /// # Errors
    /// [`clap::Error`], also for `--help`; its `exit()` prints it and exits with the matching code.
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
                check_files("pcap", pcap.paths())?;
            }
            Command::Compare(compare) => {
                let further = [&compare.firewall, &compare.drop];
                let files = [&compare.receive, &compare.transmit];
                let files = files.into_iter().chain(further.into_iter().flatten());
                check_files("compare", files.map(PathBuf::as_path))?;
            }
            Command::Exclusions(exclusions) => {
                let files = exclusions.files.iter().map(PathBuf::as_path);
                check_files("exclusions", files)?;
            }
            _ => {}
        }
        Ok(cli)
    }
}

/// Returns the text below the options: examples, then exit codes. A paragraph of prose is one line, which
/// is wrapped once, to the terminal's width.
fn after(examples: &str, exit_codes: &str) -> String {
    let paragraphs = examples.split("\n\n").chain([exit_codes]);
    let paragraphs = paragraphs.map(|paragraph| {
        if paragraph.contains("\n ") {
            paragraph.to_owned()
        } else {
            paragraph.replace('\n', " ")
        }
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

fn check_outputs(command: &str, outputs: &[Output]) -> Result<(), clap::Error> {
    let on_stdout = each_once(outputs, Output::Journald);
    if on_stdout
        .into_iter()
        .filter(|output| output.is_on_stdout())
        .count()
        > 1
    {
        let message =
            "conflicting outputs: text, json and eve all write to standard output; choose one";
        return Err(usage(command, message));
    }
    Ok(())
}

fn check_files<'a>(
    command: &str,
    files: impl Iterator<Item = &'a Path>,
) -> Result<(), clap::Error> {
    if files.filter(|file| file.as_os_str() == "-").count() > 1 {
        return Err(usage(
            command,
            "conflicting files: standard input (-) can be read only once",
        ));
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

#[cfg(test)]
mod tests;
