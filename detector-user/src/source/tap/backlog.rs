//! Items that the agent has read from the rings and not passed on, and the choice of those it passes on if it cannot
//! keep up.
//!
//! An agent that reads no faster than it judges leaves the choice to the kernel, which drops whatever comes while a ring
//! is full: most of a flood, and with it failures of everybody else. Dropping here costs a hundredth of judging, so that
//! the rings stay empty, and it is the flood's items that go.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use detector_common::flow::FlowKey;
use detector_common::observation::{ChunkHead, Observation, events};

use crate::flow::fair_share::{FairShare, Network, Shed};

/// Minimum and maximum number of observations from which a backlog is long.
const LONG_MIN: usize = 4096;
const LONG_MAX: usize = 16_384;
/// Part of that length by which a backlog may be longer before observations of known connections are dropped, too.
const KNOWN_PART: usize = 4;
/// Bytes that a chunk of middling length takes of its ring.
const CHUNK: u64 = 600;
/// Flows without their beginning that are remembered.
const SHED_FLOWS: usize = 1 << 15;

/// Events of a connection that is new to the agent.
const BEGINS: u16 = events::HELLO | events::REFUSED | events::UNANSWERED;

/// Observations that wait for their flows' bytes.
pub(super) struct Backlog {
    /// Each with the bytes of their ring that were read before it.
    waiting: VecDeque<(u64, Observation)>,
    long: usize,
    /// Length from which on observations of known connections are dropped, too.
    longer: usize,
    shares: FairShare,
    /// Bytes of the ring of chunks.
    ring: u64,
    /// Bytes of it read since it was empty.
    read_since_empty: u64,
    /// The latest chunks beyond a full ring, by network, and their number.
    chunk_shares: FairShare,
    chunks_counted: usize,
    shed_flows: ShedFlows,
    shed: Shed,
}

impl Backlog {
    /// Makes an empty one for a ring that holds so many observations at most, and a ring of chunks of so many
    /// bytes.
    pub(super) fn new(observations_max: usize, ring: u64) -> Self {
        // A full ring has room at once: an agent that only paused drops nothing.
        let long = observations_max.clamp(LONG_MIN, LONG_MAX);
        let chunks = (ring / CHUNK) as usize;
        Self {
            waiting: VecDeque::new(),
            long,
            longer: long + long / KNOWN_PART,
            shares: FairShare::new(long, 2 * long),
            ring,
            read_since_empty: 0,
            chunk_shares: FairShare::new(0, chunks),
            chunks_counted: 0,
            shed_flows: ShedFlows::default(),
            shed: Shed::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether it is so long that waiting for bytes would only make it longer.
    pub(super) fn is_long(&self) -> bool {
        self.waiting.len() >= self.long
    }

    /// Returns the oldest observation with the bytes of chunks read before it.
    pub(super) fn front(&self) -> Option<&(u64, Observation)> {
        self.waiting.front()
    }

    /// Adds an observation, unless the backlog is long and its network has more than its share: `false` then.
    ///
    /// Beginnings go first. A connection that is known already gets a verdict if its end still finds room.
    pub(super) fn offer(&mut self, read: u64, observation: Observation) -> bool {
        let network = Network::of_observation(&observation);
        let begins = observation.events & BEGINS != 0;
        let len = self.waiting.len();
        let has_room = self.shares.has_room(network, len) || (!begins && len < self.longer);
        if has_room {
            self.push(read, observation);
        } else {
            self.shed.record_observation(network);
            if begins {
                self.shed_flows
                    .insert(&observation.key, observation.watched.flow.started_ns);
            }
        }
        has_room
    }

    /// Adds an observation in any case.
    pub(super) fn push(&mut self, read: u64, observation: Observation) {
        self.shares.add(Network::of_observation(&observation));
        self.waiting.push_back((read, observation));
    }

    /// Removes the oldest observation.
    pub(super) fn pop(&mut self) -> Option<Observation> {
        let (_, observation) = self.waiting.pop_front()?;
        self.shares.remove(Network::of_observation(&observation));
        Some(observation)
    }

    /// Records that no chunk is left on its ring.
    pub(super) fn chunks_are_read(&mut self) {
        self.read_since_empty = 0;
        self.forget_chunks();
        if self.waiting.is_empty() {
            self.shed_flows.clear();
        }
    }

    fn forget_chunks(&mut self) {
        self.chunk_shares.clear();
        self.chunks_counted = 0;
    }

    /// Whether a chunk is worth reading: not one of a flow whose beginning was dropped. Nor, after a full ring's
    /// worth of chunks in a row, one of a network that had more than its share of them.
    pub(super) fn takes_chunk(&mut self, head: &ChunkHead, bytes_on_ring: u64) -> bool {
        self.read_since_empty += bytes_on_ring;
        let network = Network::of_chunk(head);
        let mut takes = !self.shed_flows.contains(&head.key, head.started_ns);
        if takes && self.read_since_empty > self.ring {
            // Before the share of all becomes too small.
            if 2 * self.chunks_counted as u64 >= self.ring / CHUNK {
                self.forget_chunks();
            }
            takes = self.chunk_shares.has_room(network, self.chunks_counted);
            if takes {
                self.chunk_shares.add(network);
                self.chunks_counted += 1;
            }
        }
        if !takes {
            self.shed.record_chunk(network);
        }
        takes
    }

    pub(super) fn shed(&self) -> &Shed {
        &self.shed
    }
}

/// Flows whose beginning was dropped, as hashes: the latest in each slot.
#[derive(Default)]
struct ShedFlows {
    slots: Vec<u64>,
    random: RandomState,
}

impl ShedFlows {
    fn hash(&self, key: &FlowKey, started_ns: u64) -> u64 {
        // A slot of 0 is empty.
        self.random.hash_one((key, started_ns)) | 1
    }

    fn slot(hash: u64) -> usize {
        (hash >> 1) as usize % SHED_FLOWS
    }

    fn insert(&mut self, key: &FlowKey, started_ns: u64) {
        let hash = self.hash(key, started_ns);
        self.slots.resize(SHED_FLOWS, 0);
        if let Some(slot) = self.slots.get_mut(Self::slot(hash)) {
            *slot = hash;
        }
    }

    fn contains(&self, key: &FlowKey, started_ns: u64) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let hash = self.hash(key, started_ns);
        self.slots.get(Self::slot(hash)) == Some(&hash)
    }

    fn clear(&mut self) {
        self.slots = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use detector_common::flow::{Address, Sender, side_flags};

    use super::*;

    const ATTACKER: u32 = 0x0a00_0001;
    /// Long from 4,096 observations on.
    const RING: usize = 1000;
    const CHUNKS: u64 = 1000;
    const CHUNK_RING: u64 = CHUNKS * CHUNK;

    fn key(client: u32, port: u16) -> FlowKey {
        FlowKey {
            addresses: [Address::from_ipv4(client), Address::from_ipv4(0xc000_0201)],
            ports: [port, 443],
            ..FlowKey::default()
        }
    }

    fn observation(client: u32, port: u16, events: u16, is_answered: bool) -> Observation {
        let mut observation = Observation {
            key: key(client, port),
            events,
            ..Observation::default()
        };
        if is_answered {
            observation.watched.flow.sides[Sender::Server as usize].flags = side_flags::SEEN;
        }
        observation
    }

    fn hello(client: u32, port: u16) -> Observation {
        observation(client, port, events::HELLO, true)
    }

    fn alert(client: u32, port: u16) -> Observation {
        observation(client, port, events::ALERT, true)
    }

    fn chunk(client: u32, port: u16) -> ChunkHead {
        ChunkHead {
            key: key(client, port),
            ..ChunkHead::default()
        }
    }

    /// Offers observations while one in `slowness` is passed on; returns how many were added.
    fn offered(
        backlog: &mut Backlog,
        observations: impl Iterator<Item = Observation>,
        slowness: usize,
    ) -> usize {
        let mut added = 0;
        for (at, observation) in observations.enumerate() {
            added += usize::from(backlog.offer(0, observation));
            if at % slowness == 0 {
                backlog.pop();
            }
        }
        added
    }

    #[test]
    fn one_client_loses_nothing_while_the_agent_keeps_up() {
        let mut backlog = Backlog::new(RING, CHUNK_RING);
        let many = (0..50_000).map(|at| hello(ATTACKER, at as u16));
        assert_eq!(offered(&mut backlog, many, 1), 50_000);
        assert_eq!(*backlog.shed(), Shed::default());
    }

    #[test]
    fn of_a_pause_as_long_as_the_ring_nothing_is_lost() {
        let mut backlog = Backlog::new(10_000, CHUNKS);
        let many = (0..10_000).map(|at| hello(ATTACKER, at as u16));
        assert_eq!(offered(&mut backlog, many, usize::MAX), 9_999 + 1);
    }

    #[test]
    fn failures_of_others_find_room_beside_a_client_that_floods() {
        let mut backlog = Backlog::new(RING, CHUNK_RING);
        let flood = |from: u16| (0..1000).map(move |at| hello(ATTACKER, from + at));
        let mut added = 0;
        for round in 0..50_u16 {
            added += offered(&mut backlog, flood(round * 1000), 10);
            for port in [2 * round, 2 * round + 1] {
                for of in [hello, alert] {
                    assert!(backlog.offer(0, of(0x0a00_0002, port)), "round {round}");
                }
            }
        }
        // As many as were passed on, and a long queue: the agent is busy all the time.
        assert!((8_000..12_000).contains(&added), "{added}");
        assert_eq!(
            backlog.shed().heaviest().map(|it| it.to_string()),
            Some("10.0.0.1".to_owned())
        );
    }

    #[test]
    fn hellos_of_anybody_that_no_server_answers_go_first() {
        let mut backlog = Backlog::new(RING, CHUNK_RING);
        let anyone = (0..50_000).map(|at| observation(at, 1, events::HELLO, false));
        offered(&mut backlog, anyone, 10);
        for client in 0..100 {
            assert!(backlog.offer(0, hello(0x0b00_0000 + client, 1)));
            assert!(backlog.offer(0, alert(0x0b00_0000 + client, 1)));
        }
        assert_eq!(backlog.shed().heaviest(), Some(Network::Unanswered));
    }

    #[test]
    fn the_end_of_a_known_connection_finds_room_after_beginnings_find_none() {
        let mut backlog = Backlog::new(RING, CHUNK_RING);
        offered(
            &mut backlog,
            (0..5000).map(|at| hello(ATTACKER, at)),
            usize::MAX,
        );
        assert!(!backlog.offer(0, hello(ATTACKER, 6000)));
        assert!(backlog.offer(0, alert(ATTACKER, 1)));
        let ends = (0..10_000).map(|at| alert(ATTACKER, at));
        assert!(
            offered(&mut backlog, ends, usize::MAX) < 1100,
            "but not without end"
        );
    }

    #[test]
    fn bytes_of_a_connection_that_was_dropped_are_not_read() {
        let mut backlog = Backlog::new(RING, CHUNK_RING);
        offered(
            &mut backlog,
            (0..5000).map(|at| hello(ATTACKER, at)),
            usize::MAX,
        );
        assert!(backlog.takes_chunk(&chunk(ATTACKER, 0), CHUNK));
        assert!(!backlog.takes_chunk(&chunk(ATTACKER, 4999), CHUNK));
        assert_eq!(backlog.shed().chunks, 1);
        while backlog.pop().is_some() {}
        backlog.chunks_are_read();
        assert!(
            backlog.takes_chunk(&chunk(ATTACKER, 4999), CHUNK),
            "all is forgotten"
        );
    }

    #[test]
    fn handshake_bytes_of_one_sender_leave_room_for_those_of_others() {
        let mut backlog = Backlog::new(RING, CHUNK_RING);
        for _ in 0..CHUNKS {
            assert!(
                backlog.takes_chunk(&chunk(ATTACKER, 1), CHUNK),
                "a ring that was full"
            );
        }
        let taken = (0..CHUNKS / 2).filter(|_| backlog.takes_chunk(&chunk(ATTACKER, 1), CHUNK));
        assert!((10..100).contains(&taken.count()));
        assert!(backlog.takes_chunk(&chunk(0x0a00_0002, 1), CHUNK));
        backlog.chunks_are_read();
        assert!(
            backlog.takes_chunk(&chunk(ATTACKER, 1), CHUNK),
            "the agent keeps up"
        );
    }
}
