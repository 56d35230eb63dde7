//! `tlswhy doctor`: what this machine can and cannot do, and the command that mends it.

mod checks;
mod facts;
pub(crate) mod offloads;
mod report;

use std::io;

pub use report::{Check, Report, State};

use crate::cli::{DoctorArgs, DoctorOutput, EXIT_DONE, EXIT_FAILED};
use crate::command::show;
use crate::sink::stdout_takes_colour;
use facts::Facts;

/// Looks at this machine and at the interfaces called `names`, or without any at those that
/// `tlswhy run` would watch.
#[must_use]
pub fn examine(names: &[String]) -> Report {
    Report::new(checks::all(&Facts::gather(names)))
}

/// Examines, prints what was found, and gives the exit code: 1 when there is a problem.
///
/// # Errors
/// Standard output cannot be written. That nobody reads it any more is no error.
pub fn run(arguments: &DoctorArgs) -> io::Result<u8> {
    let report = examine(&arguments.interfaces);
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
