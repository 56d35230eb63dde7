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

    /// Returns the time of the next deadline.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.challenged.front().map(|(deadline, _)| *deadline)
    }
}

fn target_of(timeline: &Timeline) -> Option<&Target> {
    timeline.preamble.as_ref()?.target.as_ref()
}

#[cfg(test)]
mod tests {
    use detector_common::flow::Address;

    use crate::flow::preamble::{Preamble, PreambleReport, Refusal, Target};
    use crate::flow::tracker::Tracker;

    const SECOND: u64 = 1_000_000_000;

    /// A report of a client's connection to a proxy.
    fn report(port: u16, time_ns: u64, host: &str, status: u16) -> PreambleReport {
        PreambleReport {
            key: detector_common::flow::FlowKey {
                addresses: [1, 2].map(|last| Address::from_ipv4(0x0a00_0000 | last)),
                ports: [port, 3128],
                ..Default::default()
            },
            client_endpoint: 0,
            vlan: [0; 2],
            began_ns: time_ns - 1000,
            time_ns,
            flow_began_ns: None,
            preamble: Preamble {
                target: Target::new(host, 443),
                refusal: (status != 200).then_some(Refusal::Http(status)),
                ..Preamble::default()
            },
        }
    }

    /// Statuses of the refusals that are told.
    fn told(reports: &[PreambleReport], now_ns: u64) -> Vec<Option<Refusal>> {
        let mut tracker = Tracker::new(8);
        for report in reports {
            tracker.preamble(report);
        }
        tracker.advance(now_ns);
        let events = tracker.take_events();
        let refusals = events.map(|event| match event {
            crate::flow::timeline::FlowEvent::Over(timeline) => timeline.refusal(),
            other => panic!("{other:?}"),
        });
        refusals.collect()
    }

    #[test]
    fn a_request_for_credentials_is_a_refusal_unless_they_follow() {
        let challenge = report(1, SECOND, "a.test", 407);
        let refused = [Some(Refusal::Http(407))];
        let alone = std::slice::from_ref(&challenge);
        assert_eq!(told(alone, 2 * SECOND), []);
        assert_eq!(told(alone, 7 * SECOND), refused);
        let again = report(2, 2 * SECOND, "a.test", 200);
        assert_eq!(told(&[challenge.clone(), again], 9 * SECOND), []);
        let other = report(2, 2 * SECOND, "b.test", 200);
        assert_eq!(told(&[challenge.clone(), other], 9 * SECOND), refused);
        let twice = report(2, 2 * SECOND, "a.test", 407);
        assert_eq!(told(&[challenge, twice], 9 * SECOND), refused);
    }

    #[test]
    fn a_refusal_seen_on_two_taps_is_told_once() {
        let one = report(1, SECOND, "a.test", 403);
        let mut other = report(1, SECOND + 1000, "a.test", 403);
        other.key.interface = 7;
        assert_eq!(told(&[one, other], SECOND), [Some(Refusal::Http(403))]);
    }
}
