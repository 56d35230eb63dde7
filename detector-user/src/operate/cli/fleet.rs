//! Arguments of `tlswhy fleet`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::fleet::is_gateway;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy fleet
  tlswhy fleet --output json | jq 'select(.lag_ms > 5000) | .name'
  tlswhy fleet serve --config /etc/tlswhy/serve.toml
  tlswhy fleet mute gw7 --config /etc/tlswhy/operator.toml

docs/fleet.md has the set-up in steps.";

/// Arguments of `tlswhy fleet`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct FleetArgs {
    /// The command; without one, the gateways are shown.
    #[command(subcommand)]
    pub command: Option<FleetCommand>,

    /// Database of the fleet [default: fleet.db in the state directory of the configuration, or in
    /// /var/lib/tlswhy]
    #[arg(long, value_name = "PATH")]
    pub database: Option<PathBuf>,

    /// Configuration file that names the state directory [default: /etc/tlswhy/tlswhy.toml if it exists]
    #[arg(short, long, value_name = "FILE", conflicts_with = "database")]
    pub config: Option<PathBuf>,

    /// Format
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t)]
    pub output: FleetOutput,
}

/// A format of the gateways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum FleetOutput {
    /// A table for people
    #[default]
    Text,
    /// JSON, one object for each gateway
    Json,
}

/// A command about the fleet.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Collect the verdicts and facts of all gateways, and serve lists and the page, on a machine that watches nothing
    Serve(FleetServeArgs),
    /// Let the verdicts and facts of a gateway count for nobody, until it is unmuted
    Mute(FleetMuteArgs),
    /// Let them count again
    Unmute(FleetMuteArgs),
}

/// Arguments of `tlswhy fleet serve`.
#[derive(Debug, Args)]
pub struct FleetServeArgs {
    /// Configuration file with the fleet, the state directory, and perhaps lists and a page to serve [default:
    /// /etc/tlswhy/tlswhy.toml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `tlswhy fleet mute` and `unmute`.
#[derive(Debug, Args)]
pub struct FleetMuteArgs {
    /// Name of the gateway
    #[arg(value_name = "GATEWAY", value_parser = gateway)]
    pub gateway: String,

    /// Configuration file with the fleet, as a user that may mute [default: /etc/tlswhy/tlswhy.toml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

fn gateway(given: &str) -> Result<String, String> {
    if is_gateway(given) {
        Ok(given.to_owned())
    } else {
        Err("a gateway's name has 1 to 64 letters, digits, hyphens and underscores".to_owned())
    }
}
