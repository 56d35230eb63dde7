//! Flows of which one direction alone passes their tap, for the fleet.

use std::collections::VecDeque;

use detector_common::flow::{Sender, flow_flags, side_flags};
use detector_common::observation::{Observation, events};

use crate::flow::flow_id::FlowId;
use crate::flow::halves::{Half, OBSERVATIONS_MAX, side_of_half};
use crate::flow::timeline::Timeline;

/// Time for which changes of a half are collected before it is passed on.
const COLLECT_NS: u64 = 1_000_000_000;

/// A half, as far as it was seen.
#[derive(Clone, Debug)]
pub struct SeenHalf {
    /// The half.
    pub half: Box<Half>,
    /// Of one that is over, the timeline by which it is judged if its other half is not found. A server's has no name
    /// and no app.
    pub alone: Option<Box<Timeline>>,
}

/// Observations of a flow that may be a half.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) observations: Vec<Observation>,
    pub(super) side: Option<Sender>,
    hello_ack: Option<u32>,
    /// Whether it is to be passed on.
    pub(super) waits: bool,
}

impl Seen {
    /// Records an observation. Returns whether the flow may still be a half.
    pub(super) fn record(&mut self, observation: &Observation) -> bool {
        if self.observations.is_empty() {
            let flow = &observation.watched.flow;
            let begins = observation.events & events::HELLO != 0;
            if !begins && !flow.has(flow_flags::SERVER_HALF) {
                // Its beginning was lost.
                return false;
            }
            self.hello_ack = begins.then_some(observation.measured.ack);
        }
        self.side = side_of_half(observation, self.hello_ack);
        if self.side.is_none() && !may_become_half(observation) {
            return false;
        }
        if self.observations.len() < OBSERVATIONS_MAX {
            self.observations.push(*observation);
        }
        true
    }
}

/// Whether a flow's other direction may still turn out to be missing.
fn may_become_half(observation: &Observation) -> bool {
    let flow = &observation.watched.flow;
    let [_, server] = &flow.sides;
    let [_, syn_ack] = &flow.syns;
    !flow.has(flow_flags::SERVER_HALF)
        && !server.has(side_flags::SEEN)
        && server.resets == 0
        && !syn_ack.was_seen()
}

/// Halves that changed, and those that are over.
#[derive(Default)]
pub(super) struct Halves {
    pub(super) is_wanted: bool,
    /// Flows to pass on, with the times when, in order.
    waiting: VecDeque<(u64, FlowId)>,
    pub(super) seen: Vec<SeenHalf>,
}

impl Halves {
    /// Passes a flow on a while after `now_ns`.
    pub(super) fn schedule(&mut self, flow: FlowId, now_ns: u64) {
        let due_ns = now_ns.saturating_add(COLLECT_NS);
        let at = self.waiting.partition_point(|(due, _)| *due <= due_ns);
        self.waiting.insert(at, (due_ns, flow));
    }

    /// Removes the next flow that is to be passed on until `now_ns`.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<FlowId> {
        let (due_ns, _) = self.waiting.front()?;
        if *due_ns > now_ns {
            return None;
        }
        self.waiting.pop_front().map(|(_, flow)| flow)
    }

    /// Returns the time of the next one.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.waiting.front().map(|(due_ns, _)| *due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// An observation of a client that has acknowledged so much, without SYNs.
    fn observed(events: u16, acknowledged: u32) -> Observation {
        let mut observation = Observation {
            events,
            ..Observation::default()
        };
        observation.measured.ack = acknowledged;
        observation.watched.flow.sides[0].flags = side_flags::SEEN;
        observation.watched.flow.sides[0].ack = acknowledged;
        observation
    }

    #[test]
    fn a_client_that_acknowledges_unseen_bytes_is_a_half() {
        let mut seen = Seen::default();
        assert!(seen.record(&observed(events::HELLO, 100)));
        assert_eq!(seen.side, None, "its answer may still come");
        assert!(seen.record(&observed(events::HALF, 1548)));
        assert_eq!(seen.side, Some(Sender::Client));
    }

    #[test]
    fn a_flow_whose_server_is_seen_is_none() {
        let answers: [fn(&mut Observation); 3] = [
            |it| it.watched.flow.sides[1].flags = side_flags::SEEN,
            |it| it.watched.flow.sides[1].resets = 1,
            |it| it.watched.flow.syns[1].count = 1,
        ];
        for answer in answers {
            let mut seen = Seen::default();
            assert!(seen.record(&observed(events::HELLO, 100)));
            let mut answered = observed(events::SETTLED, 1548);
            answer(&mut answered);
            assert!(!seen.record(&answered));
        }
    }

    #[test]
    fn a_half_begins_at_a_hello_of_either_side() {
        assert!(!Seen::default().record(&observed(events::FIN, 100)));
        let mut server = observed(events::SERVER_HALF, 100);
        let flow = &mut server.watched.flow;
        flow.flags = flow_flags::SERVER_HALF;
        flow.sides.reverse();
        let mut seen = Seen::default();
        assert!(seen.record(&server));
        assert_eq!(seen.side, Some(Sender::Server));
    }

    #[test]
    fn no_more_observations_are_kept_than_a_flow_has() {
        let mut seen = Seen::default();
        for _ in 0..=OBSERVATIONS_MAX {
            assert!(seen.record(&observed(events::HELLO, 100)));
        }
        assert_eq!(seen.observations.len(), OBSERVATIONS_MAX);
    }

    #[test]
    fn halves_are_passed_on_in_the_order_of_their_times() {
        let flow = |started_ns| FlowId {
            started_ns,
            ..FlowId::default()
        };
        let mut halves = Halves::default();
        for at_s in [5, 3, 4] {
            halves.schedule(flow(at_s), at_s * SECOND);
        }
        assert_eq!(halves.next_deadline(), Some(4 * SECOND));
        assert_eq!(halves.pop_due(4 * SECOND - 1), None);
        let due = |halves: &mut Halves, at_s: u64| halves.pop_due(at_s * SECOND);
        assert_eq!(due(&mut halves, 5), Some(flow(3)));
        assert_eq!(due(&mut halves, 5), Some(flow(4)));
        assert_eq!(due(&mut halves, 5), None);
        assert_eq!(due(&mut halves, 9), Some(flow(5)));
        assert_eq!(halves.next_deadline(), None);
    }
}
