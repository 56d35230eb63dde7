//! Preambles that wait for their ClientHello, and refusals that wait for another attempt.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use detector_common::flow::FlowKey;
use hashlink::LruCache;

use crate::flow::preamble::{Preamble, Target};
use crate::flow::timeline::Timeline;

/// Maximum preambles that wait, and refusals that are remembered.
const WAITING_MAX: usize = 1 << 14;
/// Longest wait for a client that was asked for credentials to come again with some.
const CREDENTIALS_NS: u64 = 5_000_000_000;
/// Taps that see the same refusal do so within this time.
const SAME_NS: u64 = 1_000_000_000;

/// Preambles of connections whose ClientHello is to come, and refused ones.
pub(super) struct Preambles {
    waiting: LruCache<FlowKey, Arc<Preamble>>,
    /// Refusals that ask for credentials, with their deadlines.
    challenged: VecDeque<(u64, Box<Timeline>)>,
    /// Times of refusals, by addresses: a connection may be seen on several taps.
    refused: LruCache<[SocketAddr; 2], u64>,
}

impl Default for Preambles {
    fn default() -> Self {
        Self {
            waiting: LruCache::new(WAITING_MAX),
            challenged: VecDeque::new(),
            refused: LruCache::new(WAITING_MAX),
        }
    }
}

impl Preambles {
    /// Inserts the preamble of a flow that has not begun, and drops the challenges that it answers.
    pub(super) fn insert(&mut self, key: FlowKey, client: SocketAddr, preamble: Preamble) {
        if let Some(target) = &preamble.target {
            self.challenged.retain(|(_, challenge)| {
                challenge.client.ip() != client.ip() || target_of(challenge) != Some(target)
            });
        }
        self.waiting.insert(key, Arc::new(preamble));
    }

    /// Removes the preamble of a flow that begins.
    pub(super) fn remove(&mut self, key: &FlowKey) -> Option<Arc<Preamble>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.waiting.remove(key)
    }

    /// Records a refusal. Returns it unless it was recorded before or waits for another attempt.
    pub(super) fn refuse(&mut self, timeline: Box<Timeline>) -> Option<Box<Timeline>> {
        let addresses = [timeline.client, timeline.server];
        let before_ns = self.refused.insert(addresses, timeline.last_ns);
        if before_ns.is_some_and(|before| timeline.last_ns.saturating_sub(before) < SAME_NS) {
            return None;
        }
        let refusal = timeline.preamble.as_ref().and_then(|it| it.refusal);
        if !refusal.is_some_and(|refusal| refusal.asks_for_credentials()) {
            return Some(timeline);
        }
        let deadline = timeline.last_ns.saturating_add(CREDENTIALS_NS);
        // One that came after a challenge of the same kind stands for both.
        self.challenged.retain(|(_, other)| {
            other.client.ip() != timeline.client.ip() || target_of(other) != target_of(&timeline)
        });
        self.challenged.push_back((deadline, timeline));
        None
    }

    /// Removes the next challenge that was not answered until `now_ns`.
    pub(super) fn pop_over(&mut self, now_ns: u64) -> Option<Box<Timeline>> {
        let (deadline, _) = self.challenged.front()?;
        if *deadline > now_ns {
            return None;
        }
        self.challenged.pop_front().map(|(_, timeline)| timeline)
    }

    /// Time of the next deadline.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.challenged.front().map(|(deadline, _)| *deadline)
    }
}

fn target_of(timeline: &Timeline) -> Option<&Target> {
    timeline.preamble.as_ref()?.target.as_ref()
}
