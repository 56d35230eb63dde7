//! Arguments of `tlswhy top`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::knowledge::KnowledgeArgs;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy top
  tlswhy top --replay incident.pcapng --speed 60
  tlswhy top --once | head -n 12
  tlswhy top --once --by app
  tlswhy top --fleet

Keys: arrows or j and k select, Enter opens a group, s sorts, r reverses, / filters, n shows only what broke
within the last half hour, Tab shows failure rates by app, server name and tap, ? helps, q ends.";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  it was ended
  1  no agent is running, or the capture cannot be read
  2  standard input or output is no terminal; or usage error";

/// Arguments of `tlswhy top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Capture that is watched instead of the agent; repeatable as in `tlswhy pcap`
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["socket", "config"])]
    pub replay: Vec<PathBuf>,

    /// Times the speed at which the capture was made [default: as fast as it can be read]
    #[arg(long, value_name = "NUMBER", requires = "replay", value_parser = speed)]
    pub speed: Option<f64>,

    /// Watch all gateways of the fleet, by fleet.db in the state directory of the configuration, or in /var/lib/tlswhy
    #[arg(long, conflicts_with_all = ["replay", "socket"])]
    pub fleet: bool,

    /// Print one frame as text and end; of a capture that at its end
    #[arg(long)]
    pub once: bool,

    /// Rows at the beginning: groups, or failure rates by app, server name or tap [default: group]
    #[arg(
        long,
        value_name = "KIND",
        value_enum,
        default_value_t,
        hide_default_value = true,
        hide_possible_values = false
    )]
    pub by: TopBy,

    /// The agent's socket [default: status.sock in the runtime directory of the configuration, or
    /// /run/tlswhy/status.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Configuration file that names the runtime and the state directory [default: /etc/tlswhy/tlswhy.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The operator's knowledge about interception, for captures.
    #[command(flatten)]
    pub knowledge: KnowledgeArgs,
}

/// Rows of `tlswhy top`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TopBy {
    /// Groups of one client, one app and one server name
    #[default]
    Group,
    /// Apps by JA4 fingerprint
    App,
    /// Server names
    Name,
    /// Taps
    Tap,
}

fn speed(given: &str) -> Result<f64, String> {
    match given.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err("not a positive number".to_owned()),
    }
}
