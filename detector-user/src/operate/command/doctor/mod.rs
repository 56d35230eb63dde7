//! `tlswhy doctor`: whether `tlswhy run` works on this machine, and the fix for each problem.

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

/// Examines the machine and prints the report. Returns exit code 1 if there is a problem.
///
/// # Errors
/// The network namespace cannot be entered, or standard output cannot be written. A closed reader is
/// not an error.
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
