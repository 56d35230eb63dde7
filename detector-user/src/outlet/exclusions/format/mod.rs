//! Formats of lists: one file for each interceptor's grammar.

mod fortios;
mod mitmproxy;
mod nftables;
mod panos;
mod squid;

use super::host::Host;
use super::selection::Entry;
use crate::verdict::Cause;

/// Entry of a list that would be empty where the interceptor refuses such: a name that never exists
/// (RFC 6761 §6.4).
const PLACEHOLDER: &str = "tlswhy.invalid";

/// A list in the grammar of one interceptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// The file's text.
    pub text: String,
    /// Entries that the format cannot express, each with the reason.
    pub notices: Vec<String>,
}

/// Formats, by their names on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One host a line; of names with subdomains .NAME
    #[default]
    Plain,
    /// File of an acl of Squid's type ssl::server_name, for ssl_bump splice
    Squid,
    /// Option ignore_hosts in mitmproxy's config.yaml
    Mitmproxy,
    /// External dynamic list of type URL, for a decryption policy rule of PAN-OS
    PanosEdl,
    /// Commands that fill Device > SSL Decryption Exclusion of PAN-OS
    PanosSet,
    /// nftables sets of addresses, which a redirect to sslsplit leaves out
    Sslsplit,
    /// Commands for a group of wildcard FQDNs of FortiOS, which a profile's ssl-exempt names
    Fortios,
    /// nftables sets of addresses and ports
    NftablesSet,
}

impl Format {
    /// Writes the list of `entries`, which are excluded for `cause`.
    pub fn list(self, entries: &[Entry], cause: Cause) -> List {
        match self {
            Self::Plain => plain(entries),
            Self::Squid => squid::list(entries, cause),
            Self::Mitmproxy => mitmproxy::list(entries),
            Self::PanosEdl => panos::dynamic_list(entries),
            Self::PanosSet => panos::commands(entries, cause),
            Self::Sslsplit => nftables::list(entries, cause, nftables::SSLSPLIT),
            Self::Fortios => fortios::list(entries),
            Self::NftablesSet => nftables::list(entries, cause, nftables::ANY),
        }
    }
}

fn plain(entries: &[Entry]) -> List {
    let line = |entry: &Entry| {
        let dot = if entry.with_subdomains { "." } else { "" };
        format!("{dot}{}\n", entry.host)
    };
    List {
        text: entries.iter().map(line).collect(),
        notices: Vec::new(),
    }
}

/// Entries of names, and messages about the others.
fn names<'e>(
    entries: &'e [Entry],
    notices: &mut Vec<String>,
    why: &str,
) -> Vec<(&'e Entry, &'e str)> {
    let mut names = Vec::new();
    for entry in entries {
        match &entry.host {
            Host::Name(name) => names.push((entry, name.as_str())),
            Host::Address(address) => notices.push(format!("{address} is not listed: {why}")),
        }
    }
    names
}

#[cfg(test)]
mod tests;
