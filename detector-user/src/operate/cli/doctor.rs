//! Arguments of `tlswhy doctor`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::interface_name::interface_name;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy doctor
  tlswhy doctor --interface lan0
  tlswhy doctor --config ./tlswhy.toml
  tlswhy doctor --output json

Exit codes:
  0  everything `tlswhy run` needs is there (there may be warnings)
  1  there is a problem; each is shown with the command that mends it
  2  wrong usage";

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

/// How `tlswhy doctor` shows what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DoctorOutput {
    /// For people
    Text,
    /// One JSON object
    Json,
}
