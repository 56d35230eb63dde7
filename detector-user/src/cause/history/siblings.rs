//! Connections that an app opens beside others and drops: a browser opens six to one server, finds
//! that one will do, and closes the rest within or right after their handshake. An app that looks for
//! the nearest of several servers drops the others together, answered or not. They refuse nothing.

use std::collections::VecDeque;

use hashlink::LruCache;

use super::Reclassified;
use crate::cause::hash::key;
use crate::cause::judge::subject::{Outcome, Subject};
use crate::cause::judge::{Judged, Judgement};

/// Successes remembered.
const SUCCESSES_MAX: usize = 65_536;
/// A success so long ago still explains why another connection was dropped.
const BEFORE_NS: u64 = 600_000_000_000;
/// Longest wait of a connection dropped in silence for a sibling that works.
const WAIT_NS: u64 = 2_000_000_000;
/// Connections that an app drops together end within this time.
const TOGETHER_NS: u64 = 100_000_000;
/// Maximum connections that wait; beyond it the oldest is judged by the facts so far.
const WAITING_MAX: usize = 65_536;

/// Successes by app, and the connections that wait for one.
pub(super) struct Siblings {
    successes: LruCache<u64, u64>,
    /// When an app on a client last dropped a connection that had no answer yet.
    dropped: LruCache<u64, u64>,
    waiting: VecDeque<(u64, Judged)>,
}

impl Default for Siblings {
    fn default() -> Self {
        Self {
            successes: LruCache::new(SUCCESSES_MAX),
            dropped: LruCache::new(SUCCESSES_MAX),
            waiting: VecDeque::new(),
        }
    }
}

impl Siblings {
    /// Records a success, or a connection dropped before an answer.
    pub(super) fn record(&mut self, subject: &Subject) {
        if subject.outcome == Outcome::Accepted {
            for place in keys(subject) {
                self.successes.insert(place, subject.time_ns);
            }
        }
        if subject.quiet && subject.unanswered {
            self.dropped.insert(app_key(subject), subject.ended_ns);
        }
    }

    /// Returns the judgement on a connection that its client left without giving a reason, unless it has to wait
    /// from `now_ns` on, on the tap's clock, or is spare.
    pub(super) fn admit(
        &mut self,
        judged: Judged,
        now_ns: u64,
        reclassified: &mut Reclassified,
    ) -> Option<Judged> {
        if self.is_spare(&judged.subject) {
            reclassified.record(&judged.judgement, &Judgement::Unused);
            return None;
        }
        let deadline = now_ns.saturating_add(WAIT_NS);
        self.waiting.push_back((deadline, judged));
        if self.waiting.len() > WAITING_MAX {
            return self.waiting.pop_front().map(|(_, judged)| judged);
        }
        None
    }

    /// Returns the next one that has waited long enough at `now_ns` and has no sibling that works.
    pub(super) fn next_due(
        &mut self,
        now_ns: u64,
        reclassified: &mut Reclassified,
    ) -> Option<Judged> {
        while self
            .waiting
            .front()
            .is_some_and(|(deadline, _)| *deadline <= now_ns)
        {
            let (_, judged) = self.waiting.pop_front()?;
            if !self.is_spare(&judged.subject) {
                return Some(judged);
            }
            reclassified.record(&judged.judgement, &Judgement::Unused);
        }
        None
    }

    /// Returns the time when the next wait is over, on the tap's clock.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.waiting.front().map(|(deadline, _)| *deadline)
    }

    fn is_spare(&self, subject: &Subject) -> bool {
        let dropped_together = !subject.unanswered
            && self
                .dropped
                .peek(&app_key(subject))
                .is_some_and(|ended| subject.ended_ns.abs_diff(*ended) <= TOGETHER_NS);
        dropped_together
            || keys(subject).into_iter().any(|place| {
                self.successes.peek(&place).is_some_and(|succeeded_ns| {
                    subject.time_ns.saturating_sub(*succeeded_ns) <= BEFORE_NS
                })
            })
    }
}

/// Keys of the same app on the same client, to the same name and to the same server.
fn keys(subject: &Subject) -> [u64; 2] {
    let (client, app) = (subject.client, subject.app);
    let by_name = key(&(client, app, &subject.name));
    let by_server = key(&(client, app, subject.server));
    // Behind one proxy there are many servers.
    [by_name, if subject.by_proxy { by_name } else { by_server }]
}

fn app_key(subject: &Subject) -> u64 {
    key(&(subject.client, subject.app))
}
