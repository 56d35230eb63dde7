//! `tlswhy doctor`: what this machine can and cannot do, and the command that mends it.

mod checks;
mod classifiers;
mod facts;
mod report;
mod xdp_features;

pub use report::{Check, Report, State};

use crate::operate::cli::{DoctorArgs, DoctorOutput, EXIT_DONE, EXIT_FAILED};
use crate::operate::command::show;
use crate::outlet::sink::stdout_takes_colour;
use facts::Facts;

/// Examines, prints what was found, and gives the exit code: 1 when there is a problem.
///
/// # Errors
/// The network namespace cannot be entered, or standard output not be written. That nobody reads it any
/// more is no error.
pub fn run(arguments: &DoctorArgs) -> anyhow::Result<u8> {
    let report = Report::new(checks::all(&Facts::gather(arguments)?));
    let text = match arguments.output {
        DoctorOutput::Text => report.text(stdout_takes_colour()),
        DoctorOutput::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    show(&text)?;
    Ok(if report.state == State::Problem {
        EXIT_FAILED
    } else {
        EXIT_DONE
    })
}
