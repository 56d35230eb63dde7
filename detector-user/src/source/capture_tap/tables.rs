//! The engine's tables in this process.

use detector_common::engine::Tables;
use detector_common::flow::{Flow, FlowKey, Settled, Watched};
use detector_common::syn::{SynSlot, slot_hash};
use detector_common::tag_set::{FlowTag, TagSet};
use hashlink::LruCache;

use super::SETTLED_MAX;

/// Maximum number of watched flows; beyond it the least recently seen is evicted.
const WATCHED_MAX: usize = 1 << 20;

/// Slots of baselines from SYN and SYN,ACK, a power of two.
const SYN_SLOTS: usize = 1 << 16;

/// Flows by key, the one seen longest ago first to go.
pub(super) struct LruTables {
    watched: LruCache<FlowKey, Box<Watched>>,
    settled: LruCache<FlowKey, Settled>,
    /// Tags of the watched flows, as in the kernel; a power of two.
    tags: Box<[u64]>,
    /// Baselines of connections that have not spoken yet, as in the kernel.
    syns: Box<[SynSlot]>,
    /// The key of a frame, and the one that its flow is stored under.
    alias: Option<(FlowKey, FlowKey)>,
    follows_halves: bool,
}

impl LruTables {
    pub(super) fn new(tag_sets: usize) -> Self {
        Self {
            watched: LruCache::new_unbounded(),
            settled: LruCache::new(SETTLED_MAX),
            tags: vec![0; tag_sets.max(1).next_power_of_two()].into(),
            syns: vec![SynSlot::default(); SYN_SLOTS].into(),
            alias: None,
            follows_halves: false,
        }
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
        self.watched.contains_key(key) || self.settled.contains_key(key)
    }

    /// Returns the watched flow of `key`.
    pub(super) fn peek(&self, key: &FlowKey) -> Option<&Flow> {
        self.watched.peek(key).map(|watched| &watched.flow)
    }

    /// Returns the flow of `key`, watched or settled.
    pub(super) fn flow(&self, key: &FlowKey) -> Option<Flow> {
        self.peek(key).copied().or_else(|| {
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

    /// Returns the set that a tag belongs to.
    fn word(&mut self, tag: FlowTag) -> Option<&mut u64> {
        let number = tag.set as usize & (self.tags.len() - 1);
        self.tags.get_mut(number)
    }

    fn syn_slot(&mut self, hash: u64) -> Option<&mut SynSlot> {
        let number = (hash >> 32) as usize & (SYN_SLOTS - 1);
        self.syns.get_mut(number)
    }

    fn tag(&mut self, key: &FlowKey) {
        let tag = FlowTag::of(key, 0);
        if let Some(word) = self.word(tag) {
            *word = TagSet(*word).with(tag).0;
        }
    }

    fn remove(&mut self, key: &FlowKey) -> Option<Box<Watched>> {
        let watched = self.watched.remove(key)?;
        self.untag(key);
        Some(watched)
    }

    fn untag(&mut self, key: &FlowKey) {
        let tag = FlowTag::of(key, 0);
        if let Some(word) = self.word(tag) {
            *word = TagSet(*word).without(tag).0;
        }
    }
}

impl Tables for LruTables {
    fn may_watch(&mut self, key: &FlowKey) -> bool {
        let tag = FlowTag::of(key, 0);
        self.alias.is_some()
            || self
                .word(tag)
                .is_none_or(|word| TagSet(*word).may_contain(tag))
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
        self.watched.get_mut(&key).map(|watched| &mut **watched)
    }

    fn watch(
        &mut self,
        key: &FlowKey,
        _: u64,
        begin: impl FnOnce(&mut Flow, Option<&SynSlot>),
    ) -> Option<&mut Watched> {
        let key = &self.stored(key);
        let mut watched = Box::<Watched>::default();
        begin(&mut watched.flow, self.syns(key).map(|slot| &*slot));
        if self.watched.len() >= WATCHED_MAX
            && let Some((oldest, _)) = self.watched.remove_lru()
        {
            self.untag(&oldest);
        }
        if self.watched.insert(*key, watched).is_none() {
            self.tag(key);
        }
        self.watched(key)
    }

    fn unwatch(&mut self, key: &FlowKey) {
        self.remove(&self.stored(key));
    }

    fn settle(&mut self, key: &FlowKey) {
        let key = self.stored(key);
        if let Some(watched) = self.remove(&key) {
            self.settled.insert(key, Settled::of(&watched.flow));
        }
    }

    fn resume(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Watched> {
        let key = self.stored(key);
        let settled = self.settled.remove(&key)?;
        self.watch(&key, now_ns, |flow, _| settled.resume(flow))
    }

    fn claim_syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot> {
        let hash = slot_hash(&self.stored(key), 0);
        let slot = self.syn_slot(hash)?;
        slot.claim(hash);
        Some(slot)
    }

    fn syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot> {
        let hash = slot_hash(&self.stored(key), 0);
        self.syn_slot(hash).filter(|slot| slot.is_of(hash))
    }
}
