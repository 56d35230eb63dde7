//! Outputs that a command line asks for, and the default where it names none.

use crate::host::service_manager::connected_to_journal;
use crate::outlet::sink::Output;

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
