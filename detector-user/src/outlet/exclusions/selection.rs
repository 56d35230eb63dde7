//! The destinations that belong into a list.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::host::Host;
use super::patterns::{HostPattern, Patterns};
use super::sighting::Sighting;
use crate::outlet::sink::escaped;
use crate::verdict::{Cause, counted};

/// Hosts below one registrable domain from which its subtree is proposed.
const HOSTS_OF_SUBTREE: usize = 3;

/// Conditions of being listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Criteria {
    /// The cause: `pinning`, or another list's.
    pub cause: Cause,
    /// Minimum confidence of a verdict that counts.
    pub min_confidence: f64,
    /// Minimum connections of a destination.
    pub min_connections: usize,
    /// Minimum clients of a destination.
    pub min_clients: usize,
    /// Minimum gateways of a fleet behind which it fails: a client behind one of them can list nothing for all.
    pub min_gateways: usize,
    /// Listed in any case.
    pub always: Patterns,
    /// Never listed: neither by name, nor by an address that connections to it went to.
    pub never: Patterns,
    /// Proxies: their addresses are no destination's.
    pub proxies: Vec<IpAddr>,
    /// Time of the last failure since which a destination is listed; `None`: any time.
    pub since: Option<Timestamp>,
    /// Maximum entries beside those that are always listed; those of most connections stay.
    pub max: usize,
}

/// A destination in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The host.
    pub host: Host,
    /// Whether the names below it are meant too: only of those that the operator lists by hand.
    pub with_subdomains: bool,
    /// Addresses that connections for it went to.
    pub servers: BTreeSet<SocketAddr>,
    /// Ports, likewise.
    pub ports: BTreeSet<u16>,
    /// Connections that failed for the cause.
    pub connections: usize,
    /// Their clients, of IPv6 the /64 of each.
    pub clients: BTreeSet<IpAddr>,
    /// Gateways of a fleet that they are behind; empty without a fleet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gateways: BTreeSet<String>,
    /// Times of the first and the last of them, if known.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Identifier of the verdict on the last one; empty if unknown.
    pub verdict: String,
}

/// A list's entries by host, and the notices about others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Entries, each host once.
    pub entries: Vec<Entry>,
    /// Messages for the operator about destinations that are not listed.
    pub notices: Vec<String>,
}

/// Verdicts so far.
#[derive(Debug, Default)]
pub struct Selection {
    sightings: HashMap<String, Sighting>,
    superseded: HashSet<String>,
}

impl Selection {
    /// Records a verdict that may be listed for one of `cause`. In any order: the last word on each
    /// connection counts.
    pub fn record(&mut self, mut sighting: Sighting, cause: Cause) {
        self.superseded.extend(sighting.supersedes.drain(..));
        if sighting.cause != cause {
            return;
        }
        let mut id = std::mem::take(&mut sighting.id);
        if id.is_empty() {
            id = format!("unnamed {}", self.sightings.len());
        }
        self.sightings.insert(id, sighting);
    }

    /// Selects the destinations that meet the criteria.
    pub fn select(&self, criteria: &Criteria) -> Selected {
        let mut notices = BTreeSet::new();
        let mut found = BTreeMap::new();
        let valid = self.sightings.iter();
        let valid = valid.filter(|(id, _)| !self.superseded.contains(*id));
        for (id, sighting) in valid {
            if sighting.confidence >= criteria.min_confidence {
                add(id, sighting, criteria, &mut found, &mut notices);
            }
        }
        let mut entries: Vec<Entry> = found.into_values().collect();
        self.keep_addresses(criteria, &mut entries, &mut notices);
        propose_subtrees(criteria, &entries, &mut notices);
        entries.retain(|entry| {
            let last = entry.times.map(|(_, last)| last);
            let is_late = criteria
                .since
                .is_none_or(|since| last.is_none_or(|it| it >= since));
            is_late
                && entry.connections >= criteria.min_connections
                && entry.clients.len() >= criteria.min_clients
                && entry.gateways.len() >= criteria.min_gateways
        });
        if entries.len() > criteria.max {
            notices.insert(format!(
                "{} of {} destinations are not listed: --max is {}; those of most connections stay",
                entries.len() - criteria.max,
                entries.len(),
                criteria.max
            ));
            entries.sort_by(|a, b| b.connections.cmp(&a.connections).then(a.host.cmp(&b.host)));
            entries.truncate(criteria.max);
        }
        add_always(criteria, &mut entries, &mut notices);
        entries.sort_by(|a, b| a.host.cmp(&b.host));
        Selected {
            entries,
            notices: notices.into_iter().collect(),
        }
    }

    /// Removes the addresses of proxies, of hosts that are never listed, and those never listed
    /// themselves: a list by address would exclude them under another's name.
    fn keep_addresses(
        &self,
        criteria: &Criteria,
        entries: &mut [Entry],
        notices: &mut BTreeSet<String>,
    ) {
        let of_never = self.sightings.values().filter_map(|sighting| {
            let host: Host = sighting.name.as_deref()?.parse().ok()?;
            let server = sighting.server?.ip().to_canonical();
            criteria.never.contain(&host).then_some(server)
        });
        let of_never: BTreeSet<IpAddr> = of_never.collect();
        for entry in entries {
            entry.servers.retain(|server| {
                let ip = server.ip().to_canonical();
                let never = of_never.contains(&ip) || criteria.never.contain(&Host::Address(ip));
                if never {
                    let host = &entry.host;
                    notices.insert(format!("{ip} of {host} is not listed: --never names it"));
                }
                !never && !criteria.proxies.contains(&ip)
            });
        }
    }
}

fn add(
    id: &str,
    sighting: &Sighting,
    criteria: &Criteria,
    found: &mut BTreeMap<Host, Entry>,
    notices: &mut BTreeSet<String>,
) {
    let is_proxy = |server: &SocketAddr| criteria.proxies.contains(&server.ip().to_canonical());
    let host = match (&sighting.name, sighting.server) {
        (Some(name), _) => name.parse().map_err(|error| (name.clone(), error)),
        (None, Some(server)) if !is_proxy(&server) => Ok(Host::Address(server.ip().to_canonical())),
        // A proxy's own address would exclude all that is behind it.
        (None, _) => return,
    };
    let host = match host {
        Ok(host) => host,
        Err((name, error)) => {
            notices.insert(format!("{} is not listed: {error}", escaped(&name)));
            return;
        }
    };
    if criteria.never.contain(&host) {
        notices.insert(format!("{host} is not listed: --never names it"));
        return;
    }
    let entry = found
        .entry(host.clone())
        .or_insert_with(|| Entry::new(host));
    entry.servers.extend(sighting.server);
    entry.ports.insert(sighting.port);
    entry.connections = entry.connections.saturating_add(sighting.connections);
    entry.clients.insert(counted_as(sighting.client));
    entry.gateways.extend(sighting.gateways.iter().cloned());
    if let Some((first, last)) = sighting.times.filter(|_| sighting.connections > 0) {
        let known = entry.times;
        if known.is_none_or(|(_, known)| (known, entry.verdict.as_str()) < (last, id)) {
            id.clone_into(&mut entry.verdict);
        }
        entry.times = Some(known.map_or((first, last), |(earlier, later)| {
            (earlier.min(first), later.max(last))
        }));
    }
}

/// Returns the address that a client counts as: of IPv6 its /64, in which one host may take any number of addresses
/// (RFC 8981).
fn counted_as(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            const NETWORK: u128 = u128::MAX << 64;
            IpAddr::V6((address.to_bits() & NETWORK).into())
        }
        address => address,
    }
}

/// Proposes to list a domain with its subdomains where several hosts below it are listed. It is only proposed:
/// a subtree may hold others that nothing pins.
fn propose_subtrees(criteria: &Criteria, entries: &[Entry], notices: &mut BTreeSet<String>) {
    let mut domains: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        let Host::Name(name) = &entry.host else {
            continue;
        };
        // Names under a suffix that everybody may register below have unrelated owners.
        if let Some(domain) = psl::domain_str(name).filter(|domain| domain.len() < name.len()) {
            *domains.entry(domain).or_default() += 1;
        }
    }
    for (domain, hosts) in domains {
        let is_listed = domain
            .parse()
            .is_ok_and(|host| criteria.always.contain(&host) || criteria.never.contain(&host));
        if hosts >= HOSTS_OF_SUBTREE && !is_listed {
            notices.insert(format!(
                "{hosts} hosts below {domain} fail for {}: if all of it is to be excluded, put .{domain} \
                 into the list of hosts that are always listed",
                criteria.cause
            ));
        }
    }
}

/// Adds the hosts that are always listed, and drops those that they include.
fn add_always(criteria: &Criteria, entries: &mut Vec<Entry>, notices: &mut BTreeSet<String>) {
    let mut always = criteria.always.0.clone();
    always.sort_by_key(|pattern| (pattern.host.clone(), !pattern.with_subdomains));
    always.dedup_by(|later, earlier| later.host == earlier.host);
    for pattern in &always {
        if criteria.never.contain(&pattern.host) {
            notices.insert(format!("{} is not listed: --never names it", pattern.host));
            continue;
        }
        let mut never = criteria.never.0.iter().map(|it| &it.host);
        if let Some(below) = never.find(|host| pattern.matches(host)) {
            notices.insert(format!(
                "{} is not listed with its subdomains: --never names {below}",
                pattern.host
            ));
            continue;
        }
        let above = always
            .iter()
            .any(|it| it != pattern && it.matches(&pattern.host));
        if above {
            continue;
        }
        let found = entries.iter().position(|entry| entry.host == pattern.host);
        let mut entry = found.map_or_else(
            || Entry::new(pattern.host.clone()),
            |at| entries.swap_remove(at),
        );
        entry.with_subdomains = pattern.with_subdomains;
        entries.retain(|entry| !pattern.matches(&entry.host));
        entries.push(entry);
    }
}

impl Entry {
    /// Creates a destination that was not seen.
    pub const fn new(host: Host) -> Self {
        Self {
            host,
            with_subdomains: false,
            servers: BTreeSet::new(),
            ports: BTreeSet::new(),
            connections: 0,
            clients: BTreeSet::new(),
            gateways: BTreeSet::new(),
            times: None,
            verdict: String::new(),
        }
    }

    /// Whether it means a host.
    pub fn includes(&self, host: &Host) -> bool {
        let pattern = HostPattern {
            host: self.host.clone(),
            with_subdomains: self.with_subdomains,
        };
        pattern.matches(host)
    }

    /// Returns the reason for listing it, in a few words.
    pub fn reason(&self, cause: Cause) -> String {
        if self.connections == 0 {
            return "always listed".to_owned();
        }
        format!(
            "{}: {} of {}",
            cause.name(),
            counted(self.connections, "connection", "connections"),
            counted(self.clients.len(), "client", "clients")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::pinning;

    fn criteria() -> Criteria {
        Criteria {
            cause: Cause::Pinning,
            min_confidence: 0.8,
            min_connections: 1,
            min_clients: 1,
            min_gateways: 0,
            always: Patterns::default(),
            never: Patterns::default(),
            proxies: vec![],
            since: None,
            max: 1000,
        }
    }

    fn sighting(id: &str, name: &str, client: u8) -> Sighting {
        Sighting {
            id: id.to_owned(),
            name: Some(name.to_owned()),
            client: [10, 0, 1, client].into(),
            ..Sighting::from(&pinning())
        }
    }

    fn selection(sightings: impl IntoIterator<Item = Sighting>) -> Selection {
        let mut selection = Selection::default();
        for sighting in sightings {
            selection.record(sighting, Cause::Pinning);
        }
        selection
    }

    fn hosts(selected: &Selected) -> Vec<String> {
        let hosts = selected.entries.iter();
        hosts.map(|entry| entry.host.to_string()).collect()
    }

    fn patterns(text: &str) -> Patterns {
        Patterns::parse(text).unwrap()
    }

    #[test]
    fn the_last_word_on_a_connection_counts() {
        let first = sighting("a", "one.example.com", 1);
        let revised = Sighting {
            cause: Cause::CaNotTrusted,
            supersedes: vec!["a".to_owned()],
            ..sighting("b", "one.example.com", 1)
        };
        let again = Sighting {
            supersedes: vec!["c".to_owned()],
            ..sighting("d", "two.example.com", 1)
        };
        let all = [again, sighting("c", "two.example.com", 1), revised, first];
        let selected = selection(all).select(&criteria());
        assert_eq!(hosts(&selected), ["two.example.com"]);
        assert_eq!(selected.entries[0].connections, 1);
    }

    /// Sightings of a forged pin: connections of each of these clients.
    fn forged(clients: impl IntoIterator<Item = IpAddr>, each: usize) -> Selection {
        let clients = clients.into_iter().enumerate();
        let sightings = clients.flat_map(|(number, client)| {
            (0..each).map(move |again| Sighting {
                client,
                confidence: 0.99,
                ..sighting(&format!("{number} {again}"), "victim.example.com", 0)
            })
        });
        selection(sightings)
    }

    #[test]
    fn an_adversary_with_one_client_lists_nothing() {
        let criteria = Criteria {
            min_clients: 2,
            ..criteria()
        };
        let one = [IpAddr::from([10, 0, 1, 9])];
        assert!(forged(one, 1000).select(&criteria).entries.is_empty());
        // One host takes as many addresses of its network as it likes, also written in IPv6.
        let addresses = (0..1000_u16).map(|last| [0x2001, 0xdb8, 0, 1, 9, 9, 9, last].into());
        assert!(forged(addresses, 3).select(&criteria).entries.is_empty());
        let mapped = [
            IpAddr::from([10, 0, 1, 9]),
            "::ffff:10.0.1.9".parse().unwrap(),
        ];
        assert!(forged(mapped, 3).select(&criteria).entries.is_empty());
    }

    /// With as many addresses as the threshold asks for, the hosts that are never listed are the last guard.
    #[test]
    fn an_adversary_with_a_subnet_needs_as_many_addresses_and_lists_no_protected_host() {
        let subnet = |hosts: u8| (1..=hosts).map(|host| IpAddr::from([10, 0, 9, host]));
        let mut criteria = Criteria {
            min_clients: 20,
            ..criteria()
        };
        assert!(forged(subnet(19), 100).select(&criteria).entries.is_empty());
        assert_eq!(forged(subnet(20), 1).select(&criteria).entries.len(), 1);
        criteria.never = patterns(".example.com");
        let all = forged(subnet(250), 100).select(&criteria);
        assert!(all.entries.is_empty());
        assert!(!all.notices.is_empty());
    }

    #[test]
    fn a_destination_needs_confidence_connections_and_clients() {
        let unsure = Sighting {
            confidence: 0.79,
            ..sighting("e", "unsure.example.com", 1)
        };
        let all = selection([
            sighting("a", "twice.example.com", 1),
            sighting("b", "Twice.example.com.", 1),
            sighting("c", "both.example.com", 1),
            sighting("d", "both.example.com", 2),
            sighting("f", "once.example.com", 1),
            unsure,
        ]);
        let mut criteria = criteria();
        assert_eq!(all.select(&criteria).entries.len(), 3);
        criteria.min_connections = 2;
        let selected = all.select(&criteria);
        assert_eq!(hosts(&selected), ["both.example.com", "twice.example.com"]);
        criteria.min_clients = 2;
        let selected = all.select(&criteria);
        assert_eq!(hosts(&selected), ["both.example.com"]);
        assert_eq!(
            selected.entries[0].reason(Cause::Pinning),
            "pinning: 2 connections of 2 clients"
        );
    }

    #[test]
    fn hostile_and_shared_names_are_refused_with_a_message() {
        let selected = selection([
            sighting("a", "evil.example.com\n.com", 1),
            sighting("b", "github.io", 1),
            sighting("c", "cloudflare-ech.com", 1),
            sighting("d", "bank.example.com", 1),
        ])
        .select(&Criteria {
            never: patterns("*.example.com"),
            ..criteria()
        });
        assert_eq!(selected.entries, []);
        let notices = selected.notices.join("\n");
        assert_eq!(selected.notices.len(), 4, "{notices}");
        assert!(notices.contains("evil.example.com\\u{a}.com"), "{notices}");
    }

    #[test]
    fn the_operators_lists_win_and_overlap_once() {
        let selected = selection([
            sighting("a", "www.pay.example", 1),
            sighting("b", "pay.example", 1),
            sighting("c", "other.example", 1),
        ])
        .select(&Criteria {
            always: patterns("pay.example\n*.pay.example\nshop.pay.example\nbank.example"),
            never: patterns("bank.example"),
            ..criteria()
        });
        assert_eq!(hosts(&selected), ["other.example", "pay.example"]);
        assert!(selected.entries[1].with_subdomains);
        assert_eq!(
            selected.notices,
            ["bank.example is not listed: --never names it"]
        );
    }

    #[test]
    fn a_subtree_with_a_host_that_is_never_listed_is_not_listed() {
        let selected = selection([]).select(&Criteria {
            always: patterns(".pay.example"),
            never: patterns("bank.pay.example"),
            ..criteria()
        });
        assert_eq!(hosts(&selected), [""; 0]);
        assert_eq!(
            selected.notices,
            ["pay.example is not listed with its subdomains: --never names bank.pay.example"]
        );
    }

    #[test]
    fn an_address_that_is_never_listed_is_not_under_another_name_either() {
        let at = |id, name, ip: [u8; 4]| Sighting {
            server: Some((ip, 443).into()),
            ..sighting(id, name, 1)
        };
        let all = [
            at("a", "one.example.com", [10, 0, 0, 1]),
            at("b", "two.example.com", [10, 0, 0, 2]),
            at("c", "bank.example.com", [10, 0, 0, 2]),
            at("d", "three.example.com", [10, 0, 0, 3]),
            at("e", "four.example.com", [10, 0, 0, 4]),
        ];
        let selected = selection(all).select(&Criteria {
            never: patterns("10.0.0.1\nbank.example.com"),
            proxies: vec![[10, 0, 0, 3].into()],
            ..criteria()
        });
        let entries = selected.entries.iter();
        let addresses: Vec<_> = entries.flat_map(|entry| entry.servers.clone()).collect();
        assert_eq!(addresses, ["10.0.0.4:443".parse().unwrap()]);
        let is_proposal = |notice: &&String| notice.contains("hosts below");
        let notices: Vec<_> = selected
            .notices
            .iter()
            .filter(|it| !is_proposal(it))
            .collect();
        assert_eq!(notices.len(), 3, "{notices:?}");
    }

    #[test]
    fn what_was_seen_too_long_ago_is_not_listed() {
        let at = |id, name, hours: i64| {
            let last = pinning().time - jiff::SignedDuration::from_hours(hours);
            Sighting {
                times: Some((last, last)),
                ..sighting(id, name, 1)
            }
        };
        let all = [
            at("a", "old.example.com", 48),
            at("b", "both.example.com", 48),
            at("c", "both.example.com", 1),
        ];
        let selected = selection(all).select(&Criteria {
            since: Some(pinning().time - jiff::SignedDuration::from_hours(24)),
            ..criteria()
        });
        assert_eq!(hosts(&selected), ["both.example.com"]);
        assert_eq!(selected.entries[0].verdict, "c");
    }

    #[test]
    fn a_subtree_is_proposed_and_not_listed() {
        let below = |domain: &str| {
            let names = ["a", "b", "c"].map(|host| format!("{host}.{domain}"));
            let sightings = names.iter().map(|name| sighting(name, name, 1));
            selection(sightings.collect::<Vec<_>>()).select(&criteria())
        };
        let selected = below("pay.example.com");
        assert_eq!(selected.entries.len(), 3);
        assert!(selected.entries.iter().all(|entry| !entry.with_subdomains));
        assert!(selected.notices[0].starts_with("3 hosts below example.com fail for pinning"));
        // Unrelated owners.
        assert_eq!(below("github.io").notices, [""; 0]);
    }

    #[test]
    fn a_full_list_keeps_those_of_most_connections() {
        let all = selection([
            sighting("a", "a.example.com", 1),
            sighting("b", "b.example.com", 1),
            sighting("c", "b.example.com", 1),
        ]);
        let selected = all.select(&Criteria {
            max: 1,
            ..criteria()
        });
        assert_eq!(hosts(&selected), ["b.example.com"]);
        assert!(selected.notices[0].starts_with("1 of 2 destinations"));
    }

    #[test]
    fn without_a_name_the_address_is_listed_unless_a_proxy_has_it() {
        let nameless = Sighting {
            name: None,
            ..sighting("a", "", 1)
        };
        let proxied = Sighting {
            name: None,
            server: None,
            ..sighting("b", "", 1)
        };
        let selected = selection([nameless, proxied]).select(&criteria());
        assert_eq!(hosts(&selected), ["10.0.2.2"]);
    }
}
