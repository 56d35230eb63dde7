//! Arguments of `tlswhy status`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy status
  tlswhy status --configuration
  tlswhy status --json | jq .losses
  tlswhy status --socket /run/other/status.sock

An agent with a runtime directory (state.runtime; the service has one) answers root, its
own user and that user's group, with numbers that are at most some seconds old.";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  an agent is running
  1  no agent is running, or it hangs; one line on standard error names the cause
  2  usage error";

/// Arguments of `tlswhy status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The agent's socket [default: status.sock in the runtime directory of the configuration, or
    /// /run/tlswhy/status.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Configuration file that names the runtime directory [default: /etc/tlswhy/tlswhy.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Show the configuration in force, too, with the origin of each value; JSON has it in any case
    #[arg(long)]
    pub configuration: bool,

    /// Format of the status
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t = StatusOutput::Text)]
    pub output: StatusOutput,

    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
}

/// Format of the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusOutput {
    /// Text for people
    Text,
    /// One JSON object
    Json,
}

impl StatusArgs {
    /// Whether JSON is wanted.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json || self.output == StatusOutput::Json
    }
}
