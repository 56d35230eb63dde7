//! Arguments that select what was found so far, of `tlswhy verdicts`, `groups` and `why`.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use glob::Pattern;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use super::filter::{cause, port};
use super::knowledge::KnowledgeArgs;
use crate::operate::config::values::{confidence, name_glob, network};
use crate::outlet::database::Query;
use crate::verdict::Cause;

/// The past that is asked: the agent's database, or captures.
#[derive(Debug, Args)]
pub struct PastArgs {
    /// Captures that are judged as one run and asked instead of the database; `-` is standard input
    #[arg(long = "pcap", value_name = "FILE", action = ArgAction::Append)]
    pub captures: Vec<PathBuf>,

    /// Database of the agent [default: verdicts.db in the state directory of the configuration, or in
    /// /var/lib/tlswhy]
    #[arg(long, value_name = "PATH", conflicts_with = "captures")]
    pub database: Option<PathBuf>,

    /// Configuration file that names the state directory [default: /etc/tlswhy/tlswhy.toml if it exists]
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["captures", "database"])]
    pub config: Option<PathBuf>,

    /// Ask about all gateways of the fleet: fleet.db instead of verdicts.db
    #[arg(long, conflicts_with = "captures")]
    pub fleet: bool,

    /// The operator's knowledge about interception, for captures.
    #[command(flatten)]
    pub knowledge: KnowledgeArgs,
}

/// Filters of what was found.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct QueryArgs {
    /// Earliest time: RFC 3339, or a time ago such as 2h, 7d or yesterday [default: the
    /// first]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,

    /// Latest time, likewise [default: the last]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,

    /// Network of clients; repeatable [default: any]
    #[arg(long = "client", value_name = "CIDR", value_parser = network, action = ArgAction::Append)]
    pub clients: Vec<IpNet>,

    /// Server names, such as '*.example.com'; repeatable [default: any]
    #[arg(long = "name", value_name = "GLOB", value_parser = name_glob, action = ArgAction::Append)]
    pub names: Vec<Pattern>,

    /// JA4 fingerprint of an app; repeatable [default: any]
    #[arg(long = "app", value_name = "JA4", action = ArgAction::Append)]
    pub apps: Vec<String>,

    /// Cause; repeatable [default: any]
    #[arg(long = "cause", value_name = "CAUSE", value_parser = cause(), action = ArgAction::Append)]
    pub causes: Vec<Cause>,

    /// Gateway of the fleet; repeatable [default: any]
    #[arg(long = "gateway", value_name = "NAME", requires = "fleet", action = ArgAction::Append)]
    pub gateways: Vec<String>,

    /// Minimum confidence, 0 to 1
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = confidence)]
    pub min_confidence: f64,
}

/// Filters of verdicts alone.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct VerdictQueryArgs {
    /// Network of servers; repeatable [default: any]
    #[arg(long = "server", value_name = "CIDR", value_parser = network, action = ArgAction::Append)]
    pub servers: Vec<IpNet>,

    /// Server port; repeatable [default: any]
    #[arg(long = "port", value_name = "PORT", value_parser = port(), action = ArgAction::Append)]
    pub ports: Vec<u16>,

    /// Name of a tap; repeatable [default: any]
    #[arg(long = "tap", value_name = "NAME", action = ArgAction::Append)]
    pub taps: Vec<String>,
}

/// Format of what was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum PastOutput {
    /// A table for people
    #[default]
    Text,
    /// JSON, one object a line
    Json,
    /// Comma-separated values with a header line (RFC 4180)
    Csv,
}

impl QueryArgs {
    /// Returns the query of at most `limit` results.
    #[must_use]
    pub fn query(&self, all: bool, limit: usize) -> Query {
        Query {
            since: self.since,
            until: self.until,
            clients: self.clients.clone(),
            names: self.names.clone(),
            apps: self.apps.clone(),
            causes: self.causes.clone(),
            gateways: self.gateways.clone(),
            min_confidence: self.min_confidence,
            all,
            limit,
            ..Query::default()
        }
    }
}

fn time(given: &str) -> Result<Timestamp, String> {
    if let Ok(time) = given.parse::<Timestamp>() {
        return Ok(time);
    }
    let given = if given == "yesterday" { "1d" } else { given };
    let ago = humantime::parse_duration(given).map_err(|_| {
        "neither a time such as 2026-11-28T08:00:00Z nor a time ago such as 2h or 7d".to_owned()
    })?;
    let ago = SignedDuration::try_from(ago).map_err(|error| error.to_string())?;
    Timestamp::now()
        .checked_sub(ago)
        .map_err(|_| "the time is too long ago".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_ago() {
        let absolute = time("2026-11-28T08:00:00Z").unwrap();
        assert_eq!(absolute.to_string(), "2026-11-28T08:00:00Z");
        let ago = Timestamp::now().duration_since(time("2h").unwrap());
        assert!((7_199..=7_260).contains(&ago.as_secs()), "{ago:?}");
        let ago = Timestamp::now().duration_since(time("yesterday").unwrap());
        assert!((86_399..=86_460).contains(&ago.as_secs()), "{ago:?}");
        for wrong in ["tomorrow", "", "2026-11-28", "99999999999y"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
