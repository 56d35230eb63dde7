//! Arguments of `tlswhy detach`.

use std::path::PathBuf;

use clap::Args;

use crate::operate::config::defaults::DEFAULT_PINS;

pub(super) const EXAMPLES: &str = "\
Examples:
  systemctl stop tlswhy && tlswhy detach

A running agent must be stopped first: until then nothing is detached.";

/// Arguments of `tlswhy detach`.
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// Directory of pinned programs and maps
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS)]
    pub pins: PathBuf,
}
