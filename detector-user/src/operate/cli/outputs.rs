//! Outputs that a command line asks for, and the default where it names none.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::host::service_manager::connected_to_journal;
use crate::operate::config::defaults::FOLD;
use crate::outlet::sink::{Folds, Output};

/// When repeats of a verdict on standard output are counted instead of written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum FoldWhen {
    /// In text on a terminal
    #[default]
    Auto,
    /// In text and JSON
    Always,
    /// Never
    Never,
}

/// Arguments that choose which of a connection's and of similar verdicts are written.
#[derive(Debug, Clone, Args)]
pub struct WritingArgs {
    /// Write the first of a verdict's repeats (same client, app, name and cause) and then their number,
    /// every ten minutes and at the end [default: auto]
    #[arg(long, value_name = "WHEN", value_enum, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "always")]
    pub fold: Option<FoldWhen>,

    /// Write a connection's verdict once, as it is so long after the first one, instead of revisions; what
    /// would revise it later is only counted [default time: 10m]
    #[arg(long = "final", id = "final", value_name = "TIME", value_parser = time, num_args = 0..=1)]
    #[arg(require_equals = true, default_missing_value = "10m")]
    pub settle: Option<Duration>,
}

impl WritingArgs {
    /// Returns the time for which repeats are counted on standard output.
    #[must_use]
    pub fn folds(&self) -> Folds {
        let text = match self.fold.unwrap_or_default() {
            FoldWhen::Auto => io::stdout().is_terminal(),
            FoldWhen::Always => true,
            FoldWhen::Never => false,
        };
        let interval = |folds: bool| if folds { FOLD } else { Duration::ZERO };
        Folds {
            text: interval(text),
            json: interval(self.fold == Some(FoldWhen::Always)),
        }
    }
}

fn time(given: &str) -> Result<Duration, String> {
    match humantime::parse_duration(given) {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) => Err("the time is zero".to_owned()),
        Err(error) => Err(format!("{error}; give a time such as 90s or 10m")),
    }
}

/// Returns the outputs of `tlswhy run` for those that were named, each once.
#[must_use]
pub fn run_outputs(outputs: &[Output]) -> Vec<Output> {
    let default = if is_service() {
        Output::Journald
    } else {
        Output::Text
    };
    each_once(outputs, default)
}

/// Whether systemd started this very process, or its standard error is the journal. Variables
/// alone do not show it: a service's children inherit them.
pub(super) fn is_service() -> bool {
    let own = std::process::id().to_string();
    connected_to_journal()
        || std::env::var_os("SYSTEMD_EXEC_PID").is_some_and(|pid| pid == own.as_str())
}

pub(super) fn each_once(outputs: &[Output], default: Output) -> Vec<Output> {
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
