//! Regular checks: a client that finishes a handshake with one name at one interval and never uses it, as
//! health checks and certificate monitors do. Once the interval is known they are no evidence of a refusal.

use hashlink::LruCache;

use super::Reclassified;
use crate::cause::hash;
use crate::cause::judge::subject::{Outcome, Subject};
use crate::cause::judge::{Judged, Judgement};

/// Apps on clients, each with a name, that are remembered.
const CHECKS_MAX: usize = 16_384;
/// Retries come sooner.
const INTERVAL_MIN_NS: u64 = 5_000_000_000;
/// Intervals differ by at most one in so many.
const JITTER: u64 = 20;
/// So many equal intervals in a row are no accident.
const EQUAL_MIN: u32 = 3;

/// Unused connections by client, app and name.
pub(super) struct RegularChecks {
    checks: LruCache<u64, Check>,
}

#[derive(Clone, Copy, Default)]
struct Check {
    last_ns: u64,
    interval_ns: u64,
    equal: u32,
}

impl Default for RegularChecks {
    fn default() -> Self {
        Self {
            checks: LruCache::new(CHECKS_MAX),
        }
    }
}

impl RegularChecks {
    /// Records a connection; one that is a regular check becomes unused, and shows nothing.
    pub(super) fn record(&mut self, judged: &mut Judged, reclassified: &mut Reclassified) {
        let subject = &judged.subject;
        let key = hash::key(&(subject.client, subject.app, &subject.name));
        if subject.outcome == Outcome::Accepted {
            self.checks.remove(&key);
            return;
        }
        if !is_unused(subject) {
            return;
        }
        let check = self.checks.entry(key).or_insert_with(Check::default);
        check.record(subject.time_ns);
        if check.equal < EQUAL_MIN {
            return;
        }
        reclassified.record(&judged.judgement, &Judgement::Unused);
        judged.judgement = Judgement::Unused;
        judged.subject.outcome = Outcome::Nothing;
        judged.if_intercepted = None;
        judged.possible = None;
    }
}

impl Check {
    fn record(&mut self, time_ns: u64) {
        let interval_ns = time_ns.saturating_sub(self.last_ns);
        let is_equal = interval_ns >= INTERVAL_MIN_NS
            && interval_ns.abs_diff(self.interval_ns) <= self.interval_ns / JITTER;
        *self = Self {
            last_ns: time_ns,
            interval_ns,
            equal: if is_equal { self.equal + 1 } else { 0 },
        };
    }
}

/// Whether the client finished the handshake and left in silence or in order.
const fn is_unused(subject: &Subject) -> bool {
    subject.quiet && subject.after_handshake && subject.alert.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::history::tests::judged;
    use rstest::rstest;

    const REFUSED: Outcome = Outcome::Refused { probability: 0.6 };

    /// Returns which of the connections that begin at these seconds still count as refusals.
    fn refusals(seconds: &[u64], used: Option<usize>) -> Vec<bool> {
        let mut checks = RegularChecks::default();
        let record = |(index, second): (usize, &u64)| {
            let is_used = used == Some(index);
            let outcome = if is_used { Outcome::Accepted } else { REFUSED };
            let mut judged = judged(1, "a.test", outcome);
            judged.subject.time_ns += second * 1_000_000_000;
            checks.record(&mut judged, &mut Reclassified::default());
            judged.subject.outcome == REFUSED
        };
        seconds.iter().enumerate().map(record).collect()
    }

    #[rstest]
    #[case::regular(&[0, 60, 120, 181, 240], &[true, true, true, true, false])]
    #[case::irregular(&[0, 60, 90, 200, 240, 300], &[true; 6])]
    #[case::retries(&[0, 1, 2, 3, 4, 5], &[true; 6])]
    #[case::interrupted(&[0, 60, 120, 130, 180, 240], &[true; 6])]
    fn an_interval_makes_a_check(#[case] seconds: &[u64], #[case] expected: &[bool]) {
        assert_eq!(refusals(seconds, None), expected);
    }

    #[test]
    fn a_client_that_uses_the_name_checks_nothing() {
        let seconds = [0, 60, 120, 180, 240, 300];
        assert_eq!(refusals(&seconds, Some(3))[4..], [true, true]);
    }
}
