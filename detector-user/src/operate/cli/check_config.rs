//! Arguments of `tlswhy check-config`.

use std::path::PathBuf;

use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy check-config
  tlswhy check-config ./tlswhy.toml && cp ./tlswhy.toml /etc/tlswhy/ && systemctl reload tlswhy";

/// Arguments of `tlswhy check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// Configuration file [default: /etc/tlswhy/tlswhy.toml]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}
