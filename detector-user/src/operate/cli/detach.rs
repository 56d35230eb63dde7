//! Arguments of `tlswhy detach`.

use std::path::PathBuf;

use clap::Args;

use crate::operate::config::defaults::DEFAULT_PINS;

pub(super) const EXAMPLES: &str = "\
Examples:
  systemctl stop tlswhy && tlswhy detach

An agent that still runs must be stopped first: until then nothing is taken off.";

/// Arguments of `tlswhy detach`.
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// The directory where programs and maps are pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS)]
    pub pins: PathBuf,
}
