//! The engine's tables in this process.

use detector_common::engine::Tables;
use detector_common::flow::{Flow, FlowKey, Settled, Watched};
use detector_common::syn::{SynSlot, slot_hash};
use hashlink::LruCache;

use super::SETTLED_MAX;
use super::syn_slots::SynSlots;
use super::tags::Tags;
use super::watched::WatchedFlows;

/// Flows by key, the one seen longest ago first to go.
pub(super) struct LruTables {
    watched: WatchedFlows,
    settled: LruCache<FlowKey, Settled>,
    /// Tags of the watched flows.
    tags: Tags,
    syns: SynSlots,
    /// The key of a frame, and the one that its flow is stored under.
    alias: Option<(FlowKey, FlowKey)>,
    follows_halves: bool,
}

impl LruTables {
    /// Creates tables with at most so many sets of tags.
    pub(super) fn new(tag_sets_max: usize) -> Self {
        Self {
            watched: WatchedFlows::default(),
            settled: LruCache::new(SETTLED_MAX),
            tags: Tags::new(tag_sets_max),
            syns: SynSlots::default(),
            alias: None,
            follows_halves: false,
        }
    }

    /// Replaces the store of watched flows by another.
    #[cfg(test)]
    pub(super) fn set_watched(&mut self, watched: WatchedFlows) {
        self.watched = watched;
    }

    /// Follows connections of which one direction alone is seen.
    pub(super) fn follow_halves(&mut self) {
        self.follows_halves = true;
    }

    /// Stores the flow of the next frame under another key than the frame's own.
    pub(super) fn set_alias(&mut self, alias: Option<(FlowKey, FlowKey)>) {
        self.alias = alias;
    }

    /// Whether there is a flow of `key`, watched or settled.
    pub(super) fn knows(&self, key: &FlowKey) -> bool {
        self.watched.contains(key) || self.settled.contains_key(key)
    }

    /// Returns the watched flow of `key`.
    pub(super) fn peek(&self, key: &FlowKey) -> Option<Flow> {
        self.watched.peek(key)
    }

    /// Returns the flow of `key`, watched or settled.
    pub(super) fn flow(&self, key: &FlowKey) -> Option<Flow> {
        self.peek(key).or_else(|| {
            let mut flow = Flow::default();
            self.settled.peek(key)?.resume(&mut flow);
            Some(flow)
        })
    }

    fn stored(&self, key: &FlowKey) -> FlowKey {
        match self.alias {
            Some((own, other)) if own == *key => other,
            _ => *key,
        }
    }

    fn tag(&mut self, key: &FlowKey) {
        if self.tags.is_crowded_by(self.watched.len()) {
            self.tags.grow(self.watched.keys());
        } else {
            self.tags.insert(key);
        }
    }

    fn remove(&mut self, key: &FlowKey) -> Option<Flow> {
        let flow = self.watched.remove(key)?;
        self.tags.remove(key);
        Some(flow)
    }
}

impl Tables for LruTables {
    #[inline(always)]
    fn may_watch(&mut self, key: &FlowKey) -> bool {
        self.alias.is_some() || self.tags.may_contain(key)
    }

    fn follows_halves(&self) -> bool {
        self.follows_halves
    }

    fn settled(&mut self, key: &FlowKey) -> Option<&Settled> {
        let key = self.stored(key);
        self.settled.peek(&key)
    }

    fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched> {
        let key = self.stored(key);
        self.watched.get_mut(&key)
    }

    fn watch(
        &mut self,
        key: &FlowKey,
        _: u64,
        begin: impl FnOnce(&mut Flow, Option<&SynSlot>),
    ) -> Option<&mut Watched> {
        let key = &self.stored(key);
        let mut flow = Flow::default();
        begin(&mut flow, self.syns(key).map(|slot| &*slot));
        if let Some(oldest) = self.watched.evict_beyond_limit() {
            self.tags.remove(&oldest);
        }
        if self.watched.insert(key, flow) {
            self.tag(key);
        }
        self.watched(key)
    }

    fn unwatch(&mut self, key: &FlowKey) {
        self.remove(&self.stored(key));
    }

    fn settle(&mut self, key: &FlowKey) {
        let key = self.stored(key);
        if let Some(flow) = self.remove(&key) {
            self.settled.insert(key, Settled::of(&flow));
        }
    }

    fn resume(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Watched> {
        let key = self.stored(key);
        let settled = self.settled.remove(&key)?;
        self.watch(&key, now_ns, |flow, _| settled.resume(flow))
    }

    fn claim_syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot> {
        let hash = slot_hash(&self.stored(key), 0);
        let slot = self.syns.make(hash)?;
        slot.claim(hash);
        Some(slot)
    }

    fn syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot> {
        let hash = slot_hash(&self.stored(key), 0);
        self.syns.get_mut(hash).filter(|slot| slot.is_of(hash))
    }
}
