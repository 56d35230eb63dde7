//! The commands: each takes its arguments and returns its exit code.

/// Prints a line on standard error. A full disk or a reader that stopped there is no failure of the command.
macro_rules! complain {
    ($($message:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($message)*);
    }};
}

pub mod check_config;
mod collector;
pub mod compare;
pub mod detach;
pub mod doctor;
pub mod exclusions;
pub mod explain;
pub mod fleet;
pub mod groups;
pub(crate) mod messages;
mod past;
pub mod pcap;
pub mod probe;
pub mod report;
pub mod run;
pub mod status;
mod table;
pub mod top;
pub mod verdicts;
mod whole_file;
pub mod why;

use std::io::{self, Write};

use anyhow::Context as _;

use crate::host::service_manager::connected_to_journal;
use crate::outlet::sink::SinkError;

/// Writes `text` to standard output. A closed reader is not an error.
///
/// # Errors
/// The text cannot be written.
pub(crate) fn show(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    shown(written.and_then(|()| stdout.flush()))
}

/// Prints what `--help` and `--version` ask for, in colour on a terminal; a reader that stops is no failure.
///
/// # Errors
/// The text cannot be written.
pub fn show_help(help: &clap::Error) -> anyhow::Result<()> {
    shown(help.print().and_then(|()| io::stdout().flush()))
}

fn shown(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// No capture could be read, and each was named with the reason.
#[derive(Debug, thiserror::Error)]
#[error("no capture could be read")]
pub(super) struct NothingRead;

/// Prints a command's failure. In the journal each line has its priority (sd-daemon(3)).
pub fn print_error(error: &anyhow::Error) {
    if error.is::<NothingRead>() {
        return;
    }
    let prefix = if connected_to_journal() { "<3>" } else { "" };
    let text = format!("tlswhy: {}", described(error));
    for line in text.lines() {
        complain!("{prefix}{line}");
    }
}

/// Returns an error and its causes, each once: many messages have that of their cause in them.
fn described(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Prints a sink's failure, once per kind. A closed reader is not a failure.
fn report(error: &SinkError) {
    if !matches!(error, SinkError::Closed { .. }) {
        complain!("tlswhy: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context as _;

    use super::described;
    use crate::operate::config::Config;

    #[test]
    fn a_cause_is_said_once() {
        let unreadable = Config::from_file(Path::new("/nonexistent")).unwrap_err();
        let error = anyhow::Error::from(unreadable);
        assert_eq!(
            described(&error),
            "cannot read /nonexistent: No such file or directory (os error 2)"
        );
        let error = Err::<(), _>(error).context("cannot start").unwrap_err();
        assert_eq!(
            described(&error),
            "cannot start: cannot read /nonexistent: No such file or directory (os error 2)"
        );
    }
}
