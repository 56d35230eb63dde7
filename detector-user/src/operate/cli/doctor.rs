//! Arguments of `tlswhy doctor`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::source::tap::selection::Wanted;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy doctor
  tlswhy doctor --interface lan0
  tlswhy doctor --config ./tlswhy.toml
  tlswhy doctor --output json

Exit codes:
  0  no problem; warnings are possible
  1  at least one problem; each is listed with its fix
  2  usage error";

/// Arguments of `tlswhy doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Interface to check: a name, a glob, or auto; repeatable [default: the interfaces that `tlswhy run` would watch]
    #[arg(short, long = "interface", value_name = "IF", value_parser = Wanted::parse)]
    pub interfaces: Vec<Wanted>,

    /// Configuration file [default: /etc/tlswhy/tlswhy.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Network namespace whose interfaces are checked: a name or path [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub netns: Option<PathBuf>,

    /// Format of the report
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t = DoctorOutput::Text)]
    pub output: DoctorOutput,
}

/// Format of the doctor's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DoctorOutput {
    /// Text for people
    Text,
    /// One JSON object
    Json,
}
