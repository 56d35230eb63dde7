//! The watched flows, those at rest packed.

use std::collections::VecDeque;

use detector_common::flow::{Flow, FlowKey, Watched, side_flags};
use hashlink::LruCache;
use hashlink::lru_cache::Entry;

use super::packed::Packed;

/// Flows at rest that are not packed, at most: what comes late comes soon as a rule.
const RESTING_MAX: usize = 1 << 10;
/// Maximum number of watched flows; beyond it the least recently seen is evicted.
const WATCHED_MAX: usize = 1 << 20;

/// The watched flows by key. Those that are over stay: a late segment of one must not begin another.
pub(super) struct WatchedFlows {
    open: LruCache<FlowKey, Open>,
    /// In the order in which they were last asked for, as the open ones are.
    packed: LruCache<FlowKey, Resting>,
    /// Flows that were at rest when they were last asked for, and when that was; some were since.
    resting: VecDeque<(FlowKey, u64)>,
    /// Number of the latest access.
    now: u64,
    /// Memory of a flow that was packed.
    room: Option<Box<Watched>>,
    resting_max: usize,
    max: usize,
}

struct Open {
    watched: Box<Watched>,
    /// Number of the access that asked for it last.
    asked_at: u64,
}

struct Resting {
    packed: Packed,
    asked_at: u64,
}

impl Default for WatchedFlows {
    fn default() -> Self {
        Self::new(RESTING_MAX, WATCHED_MAX)
    }
}

impl WatchedFlows {
    /// Creates a store of at most `max` flows. Those at rest are packed once `resting_max` of them, counted as often as they
    /// were asked for, came after.
    pub(super) fn new(resting_max: usize, max: usize) -> Self {
        Self {
            open: LruCache::new_unbounded(),
            packed: LruCache::new_unbounded(),
            resting: VecDeque::new(),
            now: 0,
            room: None,
            resting_max,
            max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len() + self.packed.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &FlowKey> {
        let open = self.open.iter().map(|(key, _)| key);
        self.packed.iter().map(|(key, _)| key).chain(open)
    }

    pub(super) fn contains(&self, key: &FlowKey) -> bool {
        self.open.contains_key(key) || self.packed.contains_key(key)
    }

    /// Returns a flow without making it the one asked for last.
    pub(super) fn peek(&self, key: &FlowKey) -> Option<Flow> {
        if let Some(open) = self.open.peek(key) {
            return Some(open.watched.flow);
        }
        self.packed.peek(key).map(Resting::flow)
    }

    pub(super) fn get_mut(&mut self, key: &FlowKey) -> Option<&mut Watched> {
        let last = self.open.iter().next_back();
        if last.is_some_and(|(last, open)| last == key && open.asked_at == self.now) {
            let last = self.open.iter_mut().next_back();
            return last.map(|(_, open)| &mut *open.watched);
        }
        self.pack_resting();
        let asked_at = self.now + 1;
        let open = match self.open.entry(*key) {
            Entry::Occupied(mut entry) => {
                entry.to_back();
                entry.into_mut()
            }
            Entry::Vacant(entry) => {
                let resting = self.packed.remove(key)?;
                let mut watched = self.room.take().unwrap_or_default();
                resting.packed.unpack(&mut watched);
                entry.insert(Open { watched, asked_at })
            }
        };
        self.now = asked_at;
        open.asked_at = asked_at;
        Some(&mut open.watched)
    }

    /// Makes room for one more flow; returns the key of the one that was evicted for it.
    pub(super) fn evict_beyond_limit(&mut self) -> Option<FlowKey> {
        if self.len() < self.max {
            return None;
        }
        let open = self.open.iter().next().map(|(_, it)| it.asked_at);
        let packed = self.packed.iter().next().map(|(_, it)| it.asked_at);
        if open.is_none_or(|open| packed.is_some_and(|packed| packed < open)) {
            return self.packed.remove_lru().map(|(key, _)| key);
        }
        self.open.remove_lru().map(|(key, _)| key)
    }

    /// Inserts a new flow; returns whether there was none of `key`.
    pub(super) fn insert(&mut self, key: &FlowKey, flow: Flow) -> bool {
        self.pack_resting();
        self.now += 1;
        let mut watched = self.room.take().unwrap_or_default();
        *watched = Watched {
            flow,
            ..Watched::default()
        };
        let open = Open {
            watched,
            asked_at: self.now,
        };
        let was_packed = self.packed.remove(key).is_some();
        let was_open = self.open.insert(*key, open).is_some();
        !was_packed && !was_open
    }

    /// Removes a flow and returns its state.
    pub(super) fn remove(&mut self, key: &FlowKey) -> Option<Flow> {
        if let Some(open) = self.open.remove(key) {
            let flow = open.watched.flow;
            self.room = Some(open.watched);
            return Some(flow);
        }
        self.packed.remove(key).map(|resting| resting.flow())
    }

    /// Looks at the flow that was asked for last, which the engine has changed since, and packs one if
    /// too many are at rest.
    fn pack_resting(&mut self) {
        if let Some((key, open)) = self.open.iter().next_back()
            && open.asked_at == self.now
            && is_at_rest(&open.watched.flow)
            && self.resting.back() != Some(&(*key, self.now))
        {
            self.resting.push_back((*key, self.now));
        }
        while self.resting.len() > self.resting_max
            && let Some((key, asked_at)) = self.resting.pop_front()
        {
            self.pack(&key, asked_at);
        }
    }

    /// Packs a flow, unless it was asked for since.
    fn pack(&mut self, key: &FlowKey, asked_at: u64) {
        if let Entry::Occupied(entry) = self.open.entry(*key)
            && entry.get().asked_at == asked_at
        {
            let open = entry.remove();
            let packed = Packed::of(&open.watched);
            self.packed.insert(*key, Resting { packed, asked_at });
            self.room = Some(open.watched);
        }
    }
}

impl Resting {
    fn flow(&self) -> Flow {
        let mut watched = Watched::default();
        self.packed.unpack(&mut watched);
        watched.flow
    }
}

/// Whether a flow is over, or nobody has answered its hello: little comes after the one, and often nothing to the other.
/// A client that goes on is one whose server the capture does not show.
fn is_at_rest(flow: &Flow) -> bool {
    let [client, server] = &flow.sides;
    let is_closed = client.has(side_flags::FIN) && server.has(side_flags::FIN);
    let is_unanswered = !server.has(side_flags::SEEN) && client.record_count <= 1;
    is_closed || client.is_reset() || server.is_reset() || is_unanswered
}

#[cfg(test)]
mod tests {
    use detector_common::flow::Address;
    use proptest::prelude::*;

    use super::*;

    /// An access to the flow of a number.
    #[derive(Clone, Copy, Debug)]
    enum Access {
        Insert(u32),
        Change(u32),
        Answer(u32),
        Reset(u32),
        Remove(u32),
    }

    fn access() -> impl Strategy<Value = Access> {
        let number = 0..24_u32;
        prop_oneof![
            number.clone().prop_map(Access::Insert),
            number.clone().prop_map(Access::Change),
            number.clone().prop_map(Access::Answer),
            number.clone().prop_map(Access::Reset),
            number.prop_map(Access::Remove),
        ]
    }

    fn key(number: u32) -> FlowKey {
        FlowKey {
            addresses: [number, 1].map(Address::from_ipv4),
            ..FlowKey::default()
        }
    }

    /// Changes a flow; returns what it was.
    fn changed(flows: &mut WatchedFlows, number: u32, change: impl Fn(&mut Watched)) -> String {
        let watched = flows.get_mut(&key(number));
        let before = format!("{watched:?}");
        watched.map(change);
        before
    }

    fn apply(flows: &mut WatchedFlows, access: Access, at: u64) -> String {
        match access {
            Access::Insert(number) => {
                let flow = Flow {
                    started_ns: at,
                    ..Flow::default()
                };
                let evicted = flows.evict_beyond_limit();
                format!("{evicted:?} {}", flows.insert(&key(number), flow))
            }
            Access::Change(number) => changed(flows, number, |watched| {
                watched.flow.sides[1].ack = at as u32;
                watched.records[0][at as usize % 16].at_us = at as u32;
            }),
            Access::Answer(number) => changed(flows, number, |watched| {
                watched.flow.sides[1].flags |= side_flags::SEEN;
            }),
            Access::Reset(number) => changed(flows, number, |watched| {
                watched.flow.sides[0].flags ^= side_flags::RST;
            }),
            Access::Remove(number) => format!("{:?}", flows.remove(&key(number))),
        }
    }

    proptest! {
        #[test]
        fn flows_and_their_order_of_eviction_are_those_without_packing(
            accesses in proptest::collection::vec(access(), 1..300),
            resting_max in 0..6_usize,
        ) {
            const MAX: usize = 12;
            let mut packing = WatchedFlows::new(resting_max, MAX);
            let mut unpacked = WatchedFlows::new(usize::MAX, MAX);
            for (at, access) in accesses.into_iter().enumerate() {
                let both = [&mut packing, &mut unpacked];
                let [one, other] = both.map(|flows| apply(flows, access, at as u64));
                prop_assert_eq!(one, other);
                prop_assert_eq!(packing.len(), unpacked.len());
                let resting = packing.open.iter().filter(|(_, it)| is_at_rest(&it.watched.flow));
                prop_assert!(resting.count() <= resting_max + 1);
                let sorted = |flows: &WatchedFlows| {
                    let mut keys: Vec<FlowKey> = flows.keys().copied().collect();
                    keys.sort();
                    keys
                };
                prop_assert_eq!(sorted(&packing), sorted(&unpacked));
                for number in 0..24 {
                    let key = key(number);
                    prop_assert_eq!(packing.contains(&key), unpacked.contains(&key));
                    prop_assert_eq!(packing.peek(&key), unpacked.peek(&key));
                }
            }
        }
    }
}
