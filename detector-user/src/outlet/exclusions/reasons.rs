//! The reasons for lists, as text: lists of URLs have no comments.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use jiff::SignedDuration;

use super::format::Format;
use super::selection::Entry;
use super::standing::Standing;
use crate::verdict::{Cause, counted};

/// A client that refuses the interceptor everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusingClient {
    /// Its address.
    pub client: IpAddr,
    /// Names that it refused.
    pub names: u64,
    /// Connections that failed.
    pub failed: u64,
}

/// Returns the reasons for a list of `cause` whose entries leave after `age`; `always` are those of the
/// operator's own. Every name in it is a [`Host`](super::Host).
#[must_use]
pub fn reasons(cause: Cause, standing: &Standing, always: &[Entry], age: Duration) -> String {
    let mut text = format!("# {cause}: {}\n", cause.meaning());
    let by_hand = always.iter().filter(|entry| entry.connections == 0);
    for entry in by_hand {
        let dot = if entry.with_subdomains { "." } else { "" };
        let _ = writeln!(text, "{dot}{}: always listed", entry.host);
    }
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    for it in standing.entries() {
        let entry = &it.entry;
        let _ = write!(text, "{}: {}", entry.host, entry.reason(cause));
        if let Some((first, last)) = entry.times {
            let _ = write!(text, ", from {first:.0} to {last:.0}");
            if let Ok(leaves) = last.checked_add(age) {
                let _ = write!(
                    text,
                    "; leaves the list at {leaves:.0} unless it fails again"
                );
            }
        }
        let _ = write!(text, "; listed since {:.0}", it.listed);
        if it.returns > 0 {
            let _ = write!(text, ", for the {}. time", it.returns + 1);
        }
        let _ = writeln!(text, "; more: tlswhy why {}", entry.host);
    }
    if standing.former().next().is_some() {
        let _ = writeln!(text, "# {cause}: no longer listed, tried again");
    }
    for (host, former) in standing.former() {
        let (worked, failed) = former.since;
        let now = match (worked, failed) {
            (0, 0) => "not seen intercepted since".to_owned(),
            (worked, failed) => {
                let worked = counted(worked, "connection", "connections");
                format!("intercepted since: {worked} worked, {failed} failed")
            }
        };
        let _ = writeln!(text, "{host}: left at {:.0}; {now}", former.left);
    }
    text
}

/// Returns the reasons for a list of clients.
#[must_use]
pub fn client_reasons(clients: &[RefusingClient]) -> String {
    let mut text =
        "# sources: clients that refuse the interceptor for every name; install the inspection CA \
                    where that can be done\n"
            .to_owned();
    for it in clients {
        let _ = writeln!(
            text,
            "{}: ca-not-trusted: {} to {}, none through the interceptor worked",
            it.client,
            counted(it.failed, "connection", "connections"),
            counted(it.names, "name", "names")
        );
    }
    text
}

/// Formats of a list of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFormat {
    /// One address a line.
    Plain,
    /// External dynamic list of type IP, which takes a comment after a space.
    PanosEdl,
    /// nftables sets of source addresses.
    NftablesSet,
}

impl ClientFormat {
    /// Returns the format of clients of that name; `None` if it has none.
    #[must_use]
    pub const fn of(format: Format) -> Option<Self> {
        match format {
            Format::Plain => Some(Self::Plain),
            Format::PanosEdl => Some(Self::PanosEdl),
            Format::NftablesSet => Some(Self::NftablesSet),
            _ => None,
        }
    }

    /// Writes the list; never an empty one for PAN-OS.
    #[must_use]
    pub fn list(self, clients: &[RefusingClient]) -> String {
        let addresses = clients.iter().map(|it| it.client.to_canonical());
        match self {
            Self::Plain => addresses.map(|it| format!("{it}\n")).collect(),
            Self::PanosEdl => {
                let line = |it: &RefusingClient| {
                    let address = it.client.to_canonical();
                    let names = counted(it.names, "name", "names");
                    format!("{address} tlswhy: refuses the interceptor for {names}\n")
                };
                let list: String = clients.iter().map(line).collect();
                if list.is_empty() {
                    // An address that nobody has (RFC 5737).
                    return "192.0.2.0 tlswhy: none\n".to_owned();
                }
                list
            }
            Self::NftablesSet => client_sets(&addresses.collect()),
        }
    }
}

fn client_sets(clients: &BTreeSet<IpAddr>) -> String {
    let mut text = "\
# Clients whose connections to pass on. nft -f FILE; then, in the chain that redirects, before the redirect:
#   ip saddr @tlswhy_clients4 return
#   ip6 saddr @tlswhy_clients6 return
table inet tlswhy {
\tset tlswhy_clients4 { type ipv4_addr; }
\tset tlswhy_clients6 { type ipv6_addr; }
}
flush set inet tlswhy tlswhy_clients4
flush set inet tlswhy tlswhy_clients6
"
    .to_owned();
    for client in clients {
        let set = if client.is_ipv4() { 4 } else { 6 };
        let _ = writeln!(
            text,
            "add element inet tlswhy tlswhy_clients{set} {{ {client} }}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_clients_is_never_empty_for_pan_os() {
        let format = ClientFormat::PanosEdl;
        assert_eq!(format.list(&[]), "192.0.2.0 tlswhy: none\n");
        let client = RefusingClient {
            client: [10, 0, 1, 9].into(),
            names: 3,
            failed: 7,
        };
        let clients = [client];
        assert_eq!(
            format.list(&clients),
            "10.0.1.9 tlswhy: refuses the interceptor for 3 names\n"
        );
        assert_eq!(ClientFormat::Plain.list(&clients), "10.0.1.9\n");
        let sets = ClientFormat::NftablesSet.list(&clients);
        assert!(
            sets.ends_with("add element inet tlswhy tlswhy_clients4 { 10.0.1.9 }\n"),
            "{sets}"
        );
    }
}
