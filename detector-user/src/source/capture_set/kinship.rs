//! Whether two captures are taps of one gateway.
//!
//! They are if they overlap in time and
//! - both have the same ClientHello within five seconds, with the same addresses, or with another TTL
//!   as NAT comes with routing; or
//! - one has a ClientHello, and the other its answer: each shows one direction; or
//! - one shows an interceptor's own connection for a connection of the other: a ClientHello of another
//!   program to the same name, or without a name the same server, which begins after the client's and is
//!   answered before it, or follows the client's request at once, and comes from the client's address by another machine, from the address that the
//!   client asked, or from another network than the client's. A capture for which several others qualify by this alone is of no known gateway.
//!
//! Names and times alone show nothing: independent hosts visit the same names.

use std::collections::HashMap;

use detector_common::flow::Address;

use super::outline::{Endpoint, Hello, Outline};

/// Longest time from a tap to the next, nanoseconds, and from a client's hello to its interceptor's.
const BETWEEN_NS: u64 = 5_000_000_000;
/// The same for an interceptor whose client is never answered: much may happen until a client gives up.
const UNANSWERED_NS: u64 = 100_000_000;
/// Longest time from a client's request to the hello of an interceptor that waits for it.
const REQUESTED_NS: u64 = 100_000_000;
/// Maximum number of hellos to the same destination that are compared with one.
const COMPARED_MAX: usize = 64;

/// Which captures are taps of the same gateway, by their positions.
pub(super) struct Relatives {
    count: usize,
    pairs: Vec<(usize, usize)>,
}

impl Relatives {
    pub(super) fn are(&self, one: usize, other: usize) -> bool {
        self.pairs.contains(&(one.min(other), one.max(other)))
    }

    /// Returns the captures of each gateway, in the order of its first. A capture alone is a group too.
    pub(super) fn groups(&self) -> Vec<Vec<usize>> {
        let mut group: Vec<usize> = (0..self.count).collect();
        for &(one, other) in &self.pairs {
            let of = |file: usize| group.get(file).copied();
            let (Some(one), Some(other)) = (of(one), of(other)) else {
                continue;
            };
            let (first, second) = (one.min(other), one.max(other));
            group
                .iter_mut()
                .filter(|it| **it == second)
                .for_each(|it| *it = first);
        }
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut places = HashMap::new();
        for (file, first) in group.into_iter().enumerate() {
            let place = *places.entry(first).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(place) {
                group.push(file);
            }
        }
        groups
    }
}

/// Compares captures with each other.
pub(super) fn relatives(outlines: &[Option<Outline>]) -> Relatives {
    let indexes: Vec<Option<Index>> = outlines
        .iter()
        .map(|it| it.as_ref().map(Index::new))
        .collect();
    let mut certain = Vec::new();
    let mut likely = Vec::new();
    for (one, first) in indexes.iter().enumerate() {
        for (other, second) in indexes.iter().enumerate().skip(one + 1) {
            let (Some(first), Some(second)) = (first, second) else {
                continue;
            };
            if !first.outline.overlaps(second.outline) {
                continue;
            }
            if first.shares_connection(second)
                || second.has_answers_of(first)
                || first.has_answers_of(second)
            {
                certain.push((one, other));
            } else if first.is_intercepted_at(second) || second.is_intercepted_at(first) {
                likely.push((one, other));
            }
        }
    }
    let mut found = Relatives {
        count: outlines.len(),
        pairs: certain.clone(),
    };
    let is_clear = |file: usize| {
        let partners: Vec<usize> = likely
            .iter()
            .filter(|pair| pair.0 == file || pair.1 == file)
            .map(|pair| if pair.0 == file { pair.1 } else { pair.0 })
            .collect();
        // Several partners are of one gateway themselves, or parts of one tap.
        partners.iter().enumerate().all(|(at, one)| {
            partners.iter().skip(at + 1).all(|other| {
                let pair = (*one.min(other), *one.max(other));
                let apart = match (outlines.get(*one), outlines.get(*other)) {
                    (Some(Some(one)), Some(Some(other))) => !one.overlaps(other),
                    _ => false,
                };
                certain.contains(&pair) || apart
            })
        })
    };
    let clear: Vec<_> = likely
        .iter()
        .filter(|pair| is_clear(pair.0) && is_clear(pair.1))
        .collect();
    found.pairs.extend(clear);
    found
}

/// Hellos of a capture by their properties.
struct Index<'a> {
    outline: &'a Outline,
    by_random: HashMap<[u8; 32], &'a Hello>,
    by_name: HashMap<&'a str, Vec<&'a Hello>>,
    by_server: HashMap<Endpoint, Vec<&'a Hello>>,
    by_ends: HashMap<(Endpoint, Endpoint), Vec<&'a Hello>>,
}

impl<'a> Index<'a> {
    fn new(outline: &'a Outline) -> Self {
        let mut index = Self {
            outline,
            by_random: HashMap::new(),
            by_name: HashMap::new(),
            by_server: HashMap::new(),
            by_ends: HashMap::new(),
        };
        for hello in &outline.hellos {
            index.by_random.entry(hello.random).or_insert(hello);
            if let Some(name) = &hello.server_name {
                index.by_name.entry(name).or_default().push(hello);
            }
            index.by_server.entry(hello.server).or_default().push(hello);
            let ends = (hello.client, hello.server);
            index.by_ends.entry(ends).or_default().push(hello);
        }
        index
    }

    /// Whether both have a ClientHello that was forwarded.
    fn shares_connection(&self, other: &Self) -> bool {
        self.outline.hellos.iter().any(|one| {
            other.by_random.get(&one.random).is_some_and(|other| {
                one.time_ns.abs_diff(other.time_ns) <= BETWEEN_NS
                    && (one.ttl != other.ttl
                        || (one.client, one.server) == (other.client, other.server))
            })
        })
    }

    /// Whether this one shows the answers to the other's hellos, which lacks them.
    fn has_answers_of(&self, other: &Self) -> bool {
        self.outline.answers.iter().any(|answer| {
            let hellos = other.by_ends.get(&(answer.client, answer.server));
            hellos
                .into_iter()
                .flatten()
                .take(COMPARED_MAX)
                .any(|hello| {
                    let beyond = answer.ack.wrapping_sub(hello.next_seq);
                    hello.answered_ns.is_none()
                        && hello.time_ns.abs_diff(answer.time_ns) <= BETWEEN_NS
                        && beyond < 1 << 14
                })
        })
    }

    /// Whether the other one shows an interceptor's connections for connections of this one.
    fn is_intercepted_at(&self, other: &Self) -> bool {
        self.outline.hellos.iter().any(|client| {
            let same = match &client.server_name {
                Some(name) => other.by_name.get(&**name),
                None => other.by_server.get(&client.server),
            };
            let from = |hello: &&Hello| hello.time_ns < client.time_ns;
            let same = same.map(Vec::as_slice).unwrap_or_default();
            let first = same.partition_point(from);
            let later = same.iter().skip(first).take(COMPARED_MAX);
            later
                .take_while(|server| server.time_ns.saturating_sub(client.time_ns) <= BETWEEN_NS)
                .any(|server| is_intercepted(client, server))
        })
    }
}

/// Whether the second hello is an interceptor's for the first one.
fn is_intercepted(client: &Hello, server: &Hello) -> bool {
    let wait = server.time_ns.saturating_sub(client.time_ns);
    let is_eager = match (client.answered_ns, server.answered_ns) {
        (Some(client), Some(server)) => server <= client,
        (Some(client), None) => server.time_ns <= client,
        (None, _) => wait <= UNANSWERED_NS,
    };
    client.time_ns <= server.time_ns
        && (is_eager || is_requested(client, server))
        && client.random != server.random
        && client.offer != server.offer
        && is_behind(client, server)
}

/// Whether the second hello may be that of an interceptor which waited for its client's request.
fn is_requested(client: &Hello, server: &Hello) -> bool {
    let waited = |request: &u64| {
        server
            .time_ns
            .checked_sub(*request)
            .is_some_and(|it| it <= REQUESTED_NS)
    };
    client.server == server.server && client.requests_ns.iter().any(waited)
}

/// Whether the second hello may come from a gateway that the first one went to: not from the same machine
/// on the link, and not from a neighbour of the first one's client. An interceptor keeps the client's
/// address, or has one of its own: in another network, or the one that the client asked it at.
fn is_behind(client: &Hello, server: &Hello) -> bool {
    let (client_address, server_address) = (client.client.0, server.client.0);
    let is_same_machine = client.mac == server.mac && client.mac != 0;
    !is_same_machine
        && (client_address == server_address
            || server_address == client.server.0
            || network(&client_address) != network(&server_address))
}

/// Returns the network of an address as most have it: 24 bits of IPv4, 64 of IPv6.
fn network(address: &Address) -> [u8; 16] {
    let octets = address.octets();
    let is_v4 = octets.starts_with(&MAPPED);
    let kept = if is_v4 { MAPPED.len() + 3 } else { 8 };
    let mut network = [0; 16];
    for (to, from) in network.iter_mut().zip(octets).take(kept) {
        *to = from;
    }
    network
}

/// The prefix of IPv4 addresses as IPv6 has them (RFC 4291 §2.5.5.2).
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
