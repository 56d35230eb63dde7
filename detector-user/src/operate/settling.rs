//! Verdicts that wait until they are settled: of a connection's verdicts only the last is written.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::verdict::Verdict;

/// Maximum number of verdicts that wait; beyond it the oldest is settled.
const WAITING_MAX: usize = 1 << 16;

/// Verdicts that wait; without a time to wait none does.
#[derive(Default)]
pub struct Settling {
    wait_ns: u64,
    /// Number of each verdict, in the order of the connections' first ones, by its `id`.
    numbers: HashMap<String, u64>,
    waiting: HashMap<u64, (u64, Arc<Verdict>)>,
    /// Time when each is settled, on the tap's clock.
    due: BTreeSet<(u64, u64)>,
    count: u64,
    /// Revisions of verdicts that were settled.
    late: u64,
}

impl Settling {
    /// Returns verdicts that are settled so long after a connection's first one; zero is at once.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Self {
            wait_ns: u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    /// Records a verdict; returns it if none waits.
    pub fn record(&mut self, verdict: Arc<Verdict>, now_ns: u64) -> Option<Arc<Verdict>> {
        if self.wait_ns == 0 {
            return Some(verdict);
        }
        let earlier = verdict
            .supersedes
            .as_ref()
            .map(|id| self.numbers.remove(id));
        let (number, due_ns) = match earlier {
            Some(Some(number)) => {
                let due_ns = self
                    .waiting
                    .get(&number)
                    .map_or(now_ns, |(due_ns, _)| *due_ns);
                (number, due_ns)
            }
            // Its verdict is written, and remains.
            Some(None) => {
                self.late += 1;
                return None;
            }
            None => {
                self.count += 1;
                (self.count, now_ns.saturating_add(self.wait_ns))
            }
        };
        self.numbers.insert(verdict.id.clone(), number);
        self.waiting.insert(number, (due_ns, verdict));
        self.due.insert((due_ns, number));
        None
    }

    /// Removes the verdicts that are settled at `now_ns`, in the order of their times.
    pub fn take_settled(&mut self, now_ns: u64) -> Vec<Arc<Verdict>> {
        let mut settled = Vec::new();
        while let Some(&(due_ns, number)) = self.due.first() {
            if due_ns > now_ns && self.due.len() <= WAITING_MAX {
                break;
            }
            self.due.pop_first();
            if let Some((_, verdict)) = self.waiting.remove(&number) {
                self.numbers.remove(&verdict.id);
                settled.push(alone(verdict));
            }
        }
        settled
    }

    /// Returns the time when the next is settled, on the tap's clock.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(due_ns, _)| *due_ns)
    }

    /// Returns the number of revisions that came after their verdict was settled, and are not
    /// written.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }
}

/// Returns a verdict whose predecessors were never written: it replaces none.
fn alone(verdict: Arc<Verdict>) -> Arc<Verdict> {
    if verdict.revises.is_none() && verdict.supersedes.is_none() {
        return verdict;
    }
    let mut verdict = Arc::unwrap_or_clone(verdict);
    verdict.revises = None;
    verdict.supersedes = None;
    Arc::new(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Cause;
    use crate::verdict::tests::pinning;

    const WAIT: Duration = Duration::from_nanos(100);

    fn verdict(tap: &str, cause: Cause, revision: u32) -> Arc<Verdict> {
        let mut verdict = pinning();
        verdict.tap = tap.to_owned();
        verdict.cause = cause;
        verdict.set_revision(revision);
        verdict.revises = (revision > 0).then(|| "earlier".to_owned());
        Arc::new(verdict)
    }

    #[test]
    fn of_a_connections_verdicts_the_last_is_written_once() {
        let mut settling = Settling::after(WAIT);
        assert!(
            settling
                .record(verdict("a", Cause::CertificateRejected, 0), 10)
                .is_none()
        );
        assert!(
            settling
                .record(verdict("b", Cause::Pinning, 0), 20)
                .is_none()
        );
        assert!(
            settling
                .record(verdict("a", Cause::Pinning, 1), 90)
                .is_none()
        );
        assert_eq!(settling.next_deadline(), Some(110));
        assert!(settling.take_settled(109).is_empty());
        let settled = settling.take_settled(110);
        assert_eq!(settled.len(), 1);
        let only = &settled[0];
        assert_eq!(
            (only.tap.as_str(), only.cause, only.revision),
            ("a", Cause::Pinning, 1)
        );
        assert_eq!((&only.revises, &only.supersedes), (&None, &None));
        // Later verdicts are not written.
        assert!(
            settling
                .record(verdict("a", Cause::CaNotTrusted, 2), 115)
                .is_none()
        );
        assert_eq!(settling.late(), 1);
        assert_eq!(settling.take_settled(u64::MAX)[0].tap, "b");
        assert_eq!(settling.next_deadline(), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut settling = Settling::after(WAIT);
        for number in 0..=WAITING_MAX {
            settling.record(verdict(&number.to_string(), Cause::Pinning, 0), 0);
        }
        assert_eq!(settling.take_settled(0).len(), 1);
    }

    #[test]
    fn without_a_wait_all_are_passed_on() {
        let mut settling = Settling::default();
        assert!(
            settling
                .record(verdict("a", Cause::Pinning, 1), 0)
                .is_some()
        );
    }
}
