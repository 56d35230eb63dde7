//! `tlswhy probe`: whether an origin's own certificate is valid for its name.

use std::path::Path;

use super::show;
use crate::cause::inspection_ca::InspectionCa;
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, EXIT_INVALID, ProbeArgs, ProbeOutput};
use crate::operate::config::Config;
use crate::operate::config::defaults::DEFAULT_FILE;
use crate::outlet::sink::escaped;
use crate::probe::{Options, Outcome, OwnConnections, probe, roots};

/// Asks the origin and prints the report.
///
/// # Errors
/// A file of certificates or the configuration cannot be read, or standard output cannot be written.
pub fn run(arguments: &ProbeArgs) -> anyhow::Result<u8> {
    let options = Options {
        connect: arguments.connect,
        source: arguments.source,
        mark: arguments.mark,
        timeout: arguments.timeout,
        roots: roots(&arguments.roots)?,
        inspection_cas: inspection_cas(arguments)?,
        own: OwnConnections::default(),
    };
    let mut report = probe(&arguments.target, &options);
    let code = match report.outcome {
        Outcome::Valid => EXIT_DONE,
        Outcome::Invalid => EXIT_INVALID,
        Outcome::Intercepted | Outcome::Failed => EXIT_FAILED,
    };
    let failure = report.detail.clone().unwrap_or_else(|| "no answer".into());
    let text = match arguments.output {
        ProbeOutput::Text => {
            if code == EXIT_FAILED {
                // Standard error has it.
                report.detail = None;
            }
            report.to_string()
        }
        ProbeOutput::Json => serde_json::to_string(&report)? + "\n",
    };
    show(&text)?;
    if code == EXIT_FAILED {
        complain!("tlswhy: {}", escaped(&failure));
    }
    Ok(code)
}

fn inspection_cas(arguments: &ProbeArgs) -> anyhow::Result<Vec<InspectionCa>> {
    if !arguments.inspection_cas.is_empty() {
        return Ok(arguments.inspection_cas.clone());
    }
    let default = Path::new(DEFAULT_FILE);
    let config = match &arguments.config {
        Some(file) => Config::from_file(file)?,
        None if default.exists() => Config::from_file(default)?,
        None => Config::default(),
    };
    Ok(config.settings.knowledge.inspection_cas)
}
