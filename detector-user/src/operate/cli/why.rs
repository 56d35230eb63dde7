//! Arguments of `tlswhy why`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::past::PastArgs;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy why api.example.com
  tlswhy why 10.0.1.2
  tlswhy why 1:LQU9qZlK+B5F3KDmev6m5PMibrg=
  tlswhy why 10.0.1.2:40112-192.0.2.7:443
  tlswhy why --pcap incident.pcapng api.example.com";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  a failure was found and explained
  1  nothing is known of it, or the past cannot be read
  2  usage error";

/// Arguments of `tlswhy why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Server name, client address, Community ID, or the connection's ends as CLIENT:PORT-SERVER:PORT
    #[arg(value_name = "NAME|CLIENT|COMMUNITY-ID|ENDS", value_parser = Asked::from_str)]
    pub asked: Asked,

    /// Maximum number of failing groups that are told of
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub limit: usize,

    /// Format
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t)]
    pub output: WhyOutput,

    /// As `--output json`: one object for each story
    #[arg(long)]
    pub json: bool,

    /// The past that is asked.
    #[command(flatten)]
    pub past: PastArgs,
}

/// A format of stories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum WhyOutput {
    /// Text for people
    #[default]
    Text,
    /// JSON, one object for each story
    Json,
}

impl WhyArgs {
    /// Whether JSON is wanted.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json || matches!(self.output, WhyOutput::Json)
    }
}

/// The thing that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A server name.
    Name(String),
    /// The address of a client.
    Client(IpAddr),
    /// A connection by its Community ID.
    CommunityId(String),
    /// A connection by its client and server.
    Ends(SocketAddr, SocketAddr),
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = given.trim_matches(['[', ']']).parse() {
            return Ok(Self::Client(address));
        }
        if given.starts_with("1:") && given.ends_with('=') {
            return Ok(Self::CommunityId(given.to_owned()));
        }
        let ends = given.split_once('-').and_then(|(client, server)| {
            Some(Self::Ends(client.parse().ok()?, server.parse().ok()?))
        });
        if let Some(ends) = ends {
            return Ok(ends);
        }
        if given.is_empty() || given.contains(char::is_whitespace) {
            return Err("neither a name, an address, a Community ID nor two ends".to_owned());
        }
        // A name of DNS may be written with its root.
        let name = given.strip_suffix('.').unwrap_or(given);
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_told_by_its_form() {
        let asked = |given: &str| given.parse::<Asked>().unwrap();
        assert_eq!(
            asked("Api.Example.com."),
            Asked::Name("api.example.com".into())
        );
        assert_eq!(asked("a-1.example"), Asked::Name("a-1.example".into()));
        assert_eq!(asked("10.0.1.2"), Asked::Client([10, 0, 1, 2].into()));
        assert!(matches!(
            asked("[2001:db8::1]"),
            Asked::Client(IpAddr::V6(_))
        ));
        assert!(matches!(asked("1:abc="), Asked::CommunityId(_)));
        assert!(matches!(asked("10.0.1.2:4-10.0.2.2:443"), Asked::Ends(..)));
        assert!(matches!(
            asked("[2001:db8::1]:4-[2001:db8::2]:443"),
            Asked::Ends(..)
        ));
        assert!("".parse::<Asked>().is_err());
        assert!("two words".parse::<Asked>().is_err());
    }
}
