//! `tlswhy check-config`: the mistakes in a configuration file, and the keys without effect on this machine.

use std::path::Path;

use super::show;
use crate::operate::cli::{CheckConfigArgs, EXIT_DONE};
use crate::operate::config::Config;
use crate::operate::config::defaults::DEFAULT_FILE;

/// Reads the file as `tlswhy run` would: without one, the defaults are in effect.
///
/// # Errors
/// All mistakes in the file.
pub fn run(arguments: &CheckConfigArgs) -> anyhow::Result<u8> {
    let default = Path::new(DEFAULT_FILE);
    let file = arguments.file.as_deref().unwrap_or(default);
    let message = if arguments.file.is_none() && !default.exists() {
        format!("{DEFAULT_FILE} does not exist: the defaults are in effect\n")
    } else {
        let config = Config::from_file(file)?;
        for warning in config.settings.warnings() {
            complain!("tlswhy: {}: {warning}", file.display());
        }
        format!("{} is valid\n", file.display())
    };
    show(&message)?;
    Ok(EXIT_DONE)
}
