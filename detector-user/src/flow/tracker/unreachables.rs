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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use detector_common::flow::{Address, Sender};
    use detector_common::observation::{Observation, events};

    use super::*;
    use crate::flow::timeline::FlowEvent;
    use crate::flow::tracker::Tracker;
    use crate::flow::unreachable::{Code, UnreachableReport};

    const SECOND: u64 = 1_000_000_000;
    const SERVER: [u8; 4] = [10, 0, 0, 2];
    const ROUTER: [u8; 4] = [10, 0, 0, 254];
    const PROHIBITED: Code = Code::V4(13);

    fn key() -> FlowKey {
        FlowKey {
            addresses: [1, 2].map(|last| Address::from_ipv4(0x0a00_0000 | last)),
            ports: [40_000, 443],
            ..FlowKey::default()
        }
    }

    fn error(by: [u8; 4], code: Code, about_syn: bool, time_ns: u64) -> Unreachable {
        Unreachable {
            by: IpAddr::from(by),
            about: Sender::Client,
            about_syn,
            code,
            count: 1,
            first_ns: time_ns,
            last_ns: time_ns,
        }
    }

    /// A report on the SYN's connection.
    fn report(time_ns: u64, error: Option<Unreachable>) -> UnreachableReport {
        UnreachableReport {
            key: key(),
            client_endpoint: 0,
            vlan: [0; 2],
            time_ns,
            flow_began_ns: None,
            error,
        }
    }

    /// Returns the errors of the connections that are over.
    fn told(tracker: &mut Tracker) -> Vec<Unreachable> {
        let events = tracker.take_events();
        let timelines = events.filter_map(|event| match event {
            FlowEvent::Over(timeline) => timeline.unreachable,
            _ => None,
        });
        timelines.map(|error| *error).collect()
    }

    #[test]
    fn a_syn_that_another_host_rejects_is_told_once_no_other_got_through() {
        let mut tracker = Tracker::new(8);
        tracker.unreachable(&report(
            SECOND,
            Some(error(ROUTER, PROHIBITED, true, SECOND)),
        ));
        let again = error(ROUTER, PROHIBITED, true, 2 * SECOND);
        tracker.unreachable(&report(2 * SECOND, Some(again)));
        assert_eq!(tracker.next_deadline(), Some(6 * SECOND));
        tracker.advance(6 * SECOND - 1);
        assert_eq!(told(&mut tracker), []);
        tracker.advance(6 * SECOND);
        let both = Unreachable {
            count: 2,
            first_ns: SECOND,
            ..again
        };
        assert_eq!(told(&mut tracker), [both]);
        assert_eq!(tracker.refusals(9).0.unreachable, 1);
        assert_eq!(tracker.next_deadline(), None);
    }

    #[test]
    fn a_servers_own_error_and_a_missing_route_are_counted_only() {
        for error in [
            error(SERVER, PROHIBITED, true, SECOND),
            error(ROUTER, Code::V4(1), true, SECOND),
        ] {
            let mut tracker = Tracker::new(8);
            tracker.unreachable(&report(SECOND, Some(error)));
            tracker.finish();
            assert_eq!(told(&mut tracker), [], "{error:?}");
            assert_eq!(tracker.refusals(9).0.unreachable, 1, "{error:?}");
        }
    }

    #[test]
    fn a_syn_that_arrives_after_all_is_forgotten() {
        let mut tracker = Tracker::new(8);
        let error = error(ROUTER, PROHIBITED, true, SECOND);
        tracker.unreachable(&report(SECOND, Some(error)));
        tracker.unreachable(&report(2 * SECOND, None));
        tracker.finish();
        assert_eq!(told(&mut tracker), []);
        assert_eq!(tracker.refusals(9).0.unreachable, 0);
    }

    #[test]
    fn of_a_flow_the_errors_since_its_data_arrived_count() {
        let mut tracker = Tracker::new(8);
        let mut hello = Observation {
            time_ns: SECOND,
            key: key(),
            events: events::HELLO,
            ..Observation::default()
        };
        hello.watched.flow.started_ns = SECOND;
        tracker.observation(&hello);
        let on_flow = |at_s: u64, error| UnreachableReport {
            flow_began_ns: Some(SECOND),
            ..report(at_s * SECOND, error)
        };
        let of = |at_s: u64| error(ROUTER, PROHIBITED, false, at_s * SECOND);
        tracker.unreachable(&on_flow(2, Some(of(2))));
        tracker.unreachable(&on_flow(3, None));
        tracker.unreachable(&on_flow(4, Some(of(4))));
        tracker.unreachable(&on_flow(5, Some(of(5))));
        tracker.finish();
        let since = Unreachable {
            count: 2,
            first_ns: 4 * SECOND,
            ..of(5)
        };
        assert_eq!(told(&mut tracker), [since]);
        // Of an unknown flow nothing is kept.
        tracker.unreachable(&on_flow(6, Some(of(6))));
        tracker.finish();
        assert_eq!(told(&mut tracker), []);
    }
}
