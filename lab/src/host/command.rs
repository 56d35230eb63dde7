//! Commands that run to their end.

use std::process::{Command, Output};

use anyhow::{Context, bail};

/// Runs a command to its end and returns its output.
///
/// # Errors
/// If it cannot be run or fails; the error has what it said.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, whatever that is.
///
/// # Errors
/// If it cannot be run.
pub fn output(command: &mut Command) -> anyhow::Result<Output> {
    command
        .output()
        .with_context(|| format!("cannot run {:?}", command.get_program()))
}

/// Splits a command line at white space; no argument of ours has any.
pub fn words(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("true"));
    command.args(words);
    command
}
