//! Tags of the watched flows, as in the kernel, in as few sets as serve.

use detector_common::flow::FlowKey;
use detector_common::tag_set::{FlowTag, TagSet};

/// Sets at first.
const SETS_MIN: usize = 1 << 9;

/// Sets of tags: a small table stays in the near caches, and each frame reads it. The number of sets decides how
/// many packets are looked up in vain, and nothing else.
pub(super) struct Tags {
    sets: Box<[TagSet]>,
    sets_max: usize,
}

impl Tags {
    /// Creates a filter of at most so many sets.
    pub(super) fn new(sets_max: usize) -> Self {
        let sets_max = sets_max.max(1).next_power_of_two();
        Self {
            sets: empty(SETS_MIN.min(sets_max)),
            sets_max,
        }
    }

    /// Whether a flow with this key may be watched; never `false` for one that is.
    #[inline(always)]
    pub(super) fn may_contain(&self, key: &FlowKey) -> bool {
        let tag = FlowTag::of(key, 0);
        let set = self.sets.get(self.number(tag));
        set.is_none_or(|set| set.may_contain(tag))
    }

    pub(super) fn insert(&mut self, key: &FlowKey) {
        let tag = FlowTag::of(key, 0);
        if let Some(set) = self.sets.get_mut(self.number(tag)) {
            *set = set.with(tag);
        }
    }

    pub(super) fn remove(&mut self, key: &FlowKey) {
        let tag = FlowTag::of(key, 0);
        if let Some(set) = self.sets.get_mut(self.number(tag)) {
            *set = set.without(tag);
        }
    }

    /// Whether so many flows are too many for the sets: more than one in each, and hardly any set is full below
    /// that.
    pub(super) fn is_crowded_by(&self, flows: usize) -> bool {
        flows > self.sets.len() && self.sets.len() < self.sets_max
    }

    /// Doubles the sets, for these flows, which are all.
    pub(super) fn grow<'k>(&mut self, keys: impl Iterator<Item = &'k FlowKey>) {
        self.sets = empty((self.sets.len() * 2).min(self.sets_max));
        for key in keys {
            self.insert(key);
        }
    }

    #[inline(always)]
    fn number(&self, tag: FlowTag) -> usize {
        tag.set as usize & (self.sets.len() - 1)
    }
}

fn empty(sets: usize) -> Box<[TagSet]> {
    vec![TagSet::default(); sets].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use detector_common::flow::Address;

    fn key(number: u32) -> FlowKey {
        FlowKey {
            addresses: [0x0a00_0000 + number, 0xc0a8_0001].map(Address::from_ipv4),
            ports: [40_000, 443],
            ..FlowKey::default()
        }
    }

    #[test]
    fn sets_grow_with_the_flows_and_lose_none() {
        const MAX: usize = SETS_MIN * 4;
        let mut tags = Tags::new(MAX);
        let keys: Vec<FlowKey> = (0..SETS_MIN as u32 * 8).map(key).collect();
        for (number, key) in keys.iter().enumerate() {
            if tags.is_crowded_by(number + 1) {
                tags.grow(keys.iter().take(number));
            }
            tags.insert(key);
        }
        assert_eq!(tags.sets.len(), MAX);
        assert!(keys.iter().all(|key| tags.may_contain(key)));
    }

    #[test]
    fn few_packets_of_other_flows_match() {
        let mut tags = Tags::new(usize::MAX / 2);
        for number in 0..20_000 {
            if tags.is_crowded_by(number as usize + 1) {
                tags.grow((0..number).map(key).collect::<Vec<_>>().iter());
            }
            tags.insert(&key(number));
        }
        let matches = (20_000..60_000).filter(|it| tags.may_contain(&key(*it)));
        assert!(matches.count() < 400);
        for number in 0..20_000 {
            tags.remove(&key(number));
        }
        // Sets that overflowed once more than they count keep matching.
        let matches = (0..20_000).filter(|it| tags.may_contain(&key(*it)));
        assert_eq!(matches.count(), 0);
    }
}
