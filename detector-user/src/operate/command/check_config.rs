//! `tlswhy check-config`: what is wrong in a configuration file.

use std::path::Path;

use super::show;
use crate::operate::cli::{CheckConfigArgs, EXIT_DONE};
use crate::operate::config::Config;
use crate::operate::config::defaults::DEFAULT_FILE;

/// Reads the file as `tlswhy run` would, which does without one where none is named.
///
/// # Errors
/// All that is wrong in it.
pub fn run(arguments: &CheckConfigArgs) -> anyhow::Result<u8> {
    let default = Path::new(DEFAULT_FILE);
    let file = arguments.file.as_deref().unwrap_or(default);
    let said = if arguments.file.is_none() && !default.exists() {
        format!("there is no {DEFAULT_FILE}: the defaults are in effect\n")
    } else {
        Config::from_file(file)?;
        format!("{} is in order\n", file.display())
    };
    show(&said)?;
    Ok(EXIT_DONE)
}
