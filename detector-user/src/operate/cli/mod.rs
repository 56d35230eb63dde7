//! The command line.

mod check_config;
mod detach;
mod doctor;
mod interface_name;
mod knowledge;
mod outputs;
mod pcap;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::outlet::sink::Output;
use outputs::each_once;

pub use check_config::CheckConfigArgs;
pub use detach::DetachArgs;
pub use doctor::{DoctorArgs, DoctorOutput};
pub use knowledge::KnowledgeArgs;
pub use outputs::run_outputs;
pub use pcap::PcapArgs;
pub use run::{LogLevel, RunArgs};

/// Exit code: it did what it was asked to.
pub const EXIT_DONE: u8 = 0;
/// Exit code: it failed, and one line on standard error says why.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: wrong usage; of `tlswhy run` also a wrong configuration.
pub const EXIT_USAGE: u8 = 2;

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

/// Tells why TLS connections through a gateway broke.
///
/// Watches the gateway's interfaces with eBPF, or reads captures, and writes one verdict for each
/// TLS connection that failed: the cause, how sure it is, the evidence, and what to do about it.
#[derive(Debug, Parser)]
#[command(name = "tlswhy", version, after_help = after(EXAMPLES, EXIT_CODES))]
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
    #[command(after_help = after(run::EXAMPLES, run::EXIT_CODES))]
    Run(Box<RunArgs>),
    /// Check a configuration file: all that is wrong in it, with line and column
    #[command(after_help = after(check_config::EXAMPLES, EXIT_CODES))]
    CheckConfig(CheckConfigArgs),
    /// Take away what `tlswhy run` pinned: no program stays on any interface
    #[command(after_help = after(detach::EXAMPLES, EXIT_CODES))]
    Detach(DetachArgs),
    /// Read captures and write verdicts; needs neither root nor kernel support
    #[command(after_help = after(pcap::EXAMPLES, EXIT_CODES))]
    Pcap(PcapArgs),
    /// Check what this machine can and cannot do, and say what mends it
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(DoctorArgs),
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

/// Text below the options: examples, then exit codes.
fn after(examples: &str, exit_codes: &str) -> String {
    format!("{examples}\n\n{exit_codes}")
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

#[cfg(test)]
mod tests;
