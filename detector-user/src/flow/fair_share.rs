//! Shares of a queue: one sender cannot fill it for all.
//!
//! While a queue is short, it has room for everybody. Once it is long, its reader is behind, and a network of clients
//! that holds more than its share gets no further room until the reader has caught up: a sixteenth of the room left,
//! so that the share shrinks as the queue grows. The reader stays busy in any case: nothing is kept back for networks that
//! send nothing.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use detector_common::flow::{Sender, side_flags};
use detector_common::observation::{ChunkHead, Observation, events};

/// Divisor of the room left in a long queue: the most that one network may hold of it.
const SHARES: usize = 16;
/// Networks whose losses are kept by name.
const NAMED_MAX: usize = 8;

/// Clients that share one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// All whose server has not answered: their addresses may be anybody's.
    Unanswered,
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// The upper half of an IPv6 address: a host has as many addresses below it as it likes.
    Ipv6(u64),
}

impl Network {
    fn of(octets: [u8; 16]) -> Self {
        Self::of_address(Ipv6Addr::from(octets).into())
    }

    /// Returns the network of a client's address.
    pub fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Ipv4(address),
            IpAddr::V6(address) => Self::Ipv6((u128::from(address) >> 64) as u64),
        }
    }

    /// Returns the network that an observation is counted for.
    pub fn of_observation(observation: &Observation) -> Self {
        let flow = &observation.watched.flow;
        let server = Sender::Server as usize;
        let was_seen = flow
            .sides
            .get(server)
            .is_some_and(|it| it.has(side_flags::SEEN))
            || flow.syns.get(server).is_some_and(|it| it.time_ns > 0)
            || observation.events & events::REFUSED != 0;
        if !was_seen {
            return Self::Unanswered;
        }
        let client = observation
            .key
            .addresses
            .get(usize::from(flow.client_endpoint & 1));
        Self::of(client.map_or([0; 16], |it| it.octets()))
    }

    /// Returns the network that handshake bytes are counted for.
    pub fn of_chunk(head: &ChunkHead) -> Self {
        let client = head
            .key
            .addresses
            .get(usize::from(head.client_endpoint & 1));
        Self::of(client.map_or([0; 16], |it| it.octets()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered => f.write_str("clients without an answer"),
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(high) => write!(f, "{}/64", Ipv6Addr::from(u128::from(*high) << 64)),
        }
    }
}

/// Items that each network holds in a queue.
#[derive(Debug)]
pub struct FairShare {
    long: usize,
    max: usize,
    held: Held,
}

/// Numbers of items by network. One without an item has no entry: there are at most as many as items.
#[derive(Debug, Default)]
pub struct Held(HashMap<Network, u32>);

impl Held {
    /// Returns a network's number.
    pub fn of(&self, network: Network) -> u32 {
        self.0.get(&network).copied().unwrap_or(0)
    }

    /// Counts an item that was added.
    pub fn add(&mut self, network: Network) {
        *self.0.entry(network).or_default() += 1;
    }

    /// Counts an item that was removed.
    pub fn remove(&mut self, network: Network) {
        match self.0.get_mut(&network) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                self.0.remove(&network);
            }
        }
    }
}

impl FairShare {
    /// Makes an account of a queue that is long from `long` items on, and has room for `max`.
    pub fn new(long: usize, max: usize) -> Self {
        Self {
            long,
            max,
            held: Held::default(),
        }
    }

    /// Whether a queue of `len` items has room for one more of a network.
    pub fn has_room(&self, network: Network, len: usize) -> bool {
        if len < self.long {
            return true;
        }
        let share = self.max.saturating_sub(len) / SHARES;
        (self.held.of(network) as usize) < share
    }

    /// Counts an item that was added.
    pub fn add(&mut self, network: Network) {
        self.held.add(network);
    }

    /// Counts an item that was removed.
    pub fn remove(&mut self, network: Network) {
        self.held.remove(network);
    }

    /// Forgets all items.
    pub fn clear(&mut self) {
        self.held = Held::default();
    }
}

/// Items that were dropped because their networks had more than their share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    /// Observations.
    pub observations: u64,
    /// Pieces of handshakes.
    pub chunks: u64,
    /// Networks with most of them: how many at least.
    by: Vec<(Network, u64)>,
}

impl Shed {
    /// Counts an observation.
    pub fn record_observation(&mut self, network: Network) {
        self.observations += 1;
        self.record(network);
    }

    /// Counts a piece of a handshake.
    pub fn record_chunk(&mut self, network: Network) {
        self.chunks += 1;
        self.record(network);
    }

    /// Counts an item by the algorithm of Misra and Gries: a network with more than a ninth of all is named.
    fn record(&mut self, network: Network) {
        if let Some((_, number)) = self.by.iter_mut().find(|(it, _)| *it == network) {
            *number += 1;
        } else if self.by.len() < NAMED_MAX {
            self.by.push((network, 1));
        } else {
            self.by.iter_mut().for_each(|(_, number)| *number -= 1);
            self.by.retain(|(_, number)| *number > 0);
        }
    }

    /// Returns the network with most of them, if one has a tenth at least.
    pub fn heaviest(&self) -> Option<Network> {
        let (network, number) = self.by.iter().max_by_key(|(_, number)| *number)?;
        (*number >= (self.observations + self.chunks) / 10).then_some(*network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> Network {
        Network::Ipv4(Ipv4Addr::new(10, 0, 0, last))
    }

    /// Fills a queue as networks ask for room, one after another; returns its length.
    fn fill(shares: &mut FairShare, wanted: impl Iterator<Item = Network>) -> usize {
        let mut len = 0;
        for network in wanted {
            if shares.has_room(network, len) {
                shares.add(network);
                len += 1;
            }
        }
        len
    }

    #[test]
    fn alone_a_network_fills_a_queue_until_it_is_long() {
        let mut shares = FairShare::new(100, 200);
        assert_eq!(fill(&mut shares, std::iter::repeat_n(host(1), 1000)), 100);
    }

    #[test]
    fn beside_one_that_floods_others_find_room() {
        let mut shares = FairShare::new(1000, 2000);
        let len = fill(&mut shares, std::iter::repeat_n(host(1), 5000));
        let others = (2..=200).flat_map(|it| std::iter::repeat_n(host(it), 4));
        for (added, network) in others.enumerate() {
            assert!(
                shares.has_room(network, len + added),
                "{network} after {added}"
            );
            shares.add(network);
        }
    }

    #[test]
    fn a_network_that_is_read_has_room_again_and_leaves_nothing() {
        let mut shares = FairShare::new(10, 42);
        let mut len = fill(&mut shares, std::iter::repeat_n(host(1), 100));
        assert_eq!(len, 10);
        while len > 0 {
            assert_eq!(shares.has_room(host(1), len), len < 10);
            shares.remove(host(1));
            len -= 1;
        }
        assert!(shares.held.0.is_empty());
    }

    #[test]
    fn an_address_of_ipv6_counts_for_its_64_bits() {
        let network = |text: &str| Network::of(text.parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(network("::ffff:10.0.0.7").to_string(), "10.0.0.7");
    }

    #[test]
    fn only_who_lost_much_is_named() {
        let mut shed = Shed::default();
        assert_eq!(shed.heaviest(), None);
        for round in 0..100 {
            shed.record_observation(host(round));
            shed.record_chunk(host(200));
        }
        assert_eq!(shed.heaviest(), Some(host(200)));
        let mut all_alike = Shed::default();
        for round in 0..200 {
            all_alike.record_observation(host(round));
        }
        assert_eq!(all_alike.heaviest(), None);
    }
}
