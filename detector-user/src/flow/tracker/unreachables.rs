//! Connections whose SYN was answered with an ICMP error, until it is clear that none gets through.

use detector_common::flow::FlowKey;
use hashlink::LruCache;

use crate::flow::timeline::Timeline;
use crate::flow::unreachable::Unreachable;

/// Maximum connections that wait.
const WAITING_MAX: usize = 1 << 12;
/// Some hosts send their SYN again, after one second and after three.
const WAIT_NS: u64 = 5_000_000_000;

/// Connections that wait, the longest first, with times on the tap's clock.
pub(super) struct Unreachables(LruCache<FlowKey, Box<Timeline>>);

impl Default for Unreachables {
    fn default() -> Self {
        Self(LruCache::new(WAITING_MAX))
    }
}

impl Unreachables {
    /// Counts an error about a connection that waits; false if none does.
    pub(super) fn add(&mut self, key: &FlowKey, error: &Unreachable) -> bool {
        let Some(timeline) = self.0.peek_mut(key) else {
            return false;
        };
        if let Some(before) = &mut timeline.unreachable {
            before.add(error);
        }
        true
    }

    pub(super) fn insert(&mut self, key: FlowKey, timeline: Box<Timeline>) {
        self.0.insert(key, timeline);
    }

    /// Removes a connection whose SYN arrived.
    pub(super) fn remove(&mut self, key: &FlowKey) {
        self.0.remove(key);
    }

    /// Removes the next connection that has waited long enough at `now_ns`.
    pub(super) fn pop_over(&mut self, now_ns: u64) -> Option<Box<Timeline>> {
        if self.next_deadline()? > now_ns {
            return None;
        }
        self.0.remove_lru().map(|(_, timeline)| timeline)
    }

    /// Returns the time of the next deadline.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let (_, timeline) = self.0.iter().next()?;
        Some(timeline.started_ns.saturating_add(WAIT_NS))
    }
}
