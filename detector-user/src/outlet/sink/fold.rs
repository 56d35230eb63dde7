//! Repeats of one verdict, told once and then counted: an app that is broken tries again and again.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use jiff::Timestamp;

use crate::verdict::{Cause, Verdict};

/// Kinds of verdict remembered; beyond it the one that came longest ago goes, and its count is told.
const KINDS_MAX: usize = 4096;

/// What makes verdicts the same to an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    client: IpAddr,
    app: Option<String>,
    name: Result<String, IpAddr>,
    cause: Cause,
}

struct Folded {
    /// When something was last written of it.
    told: Instant,
    count: u64,
    first: Timestamp,
    last: Option<Verdict>,
}

/// Verdicts like one that was written, and counted since.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Repeats {
    /// The last of them.
    pub(super) verdict: Verdict,
    pub(super) count: u64,
    /// When the first of them ended.
    pub(super) first: Timestamp,
}

pub(super) struct Fold {
    interval: Duration,
    kinds: LruCache<Kind, Folded>,
    /// What is to be told and could not be yet, of as many kinds at most.
    ready: LruCache<Kind, Repeats>,
    /// Verdicts that were counted and not told of.
    untold: u64,
    /// Those of them that there was no room for, since this was asked last.
    forgotten: u64,
}

impl Fold {
    /// Counts repeats for `interval` each; zero counts none.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            kinds: LruCache::new_unbounded(),
            ready: LruCache::new_unbounded(),
            untold: 0,
            forgotten: 0,
        }
    }

    /// Whether this verdict is counted rather than written. Revisions are written: they say
    /// something new.
    pub(super) fn takes(&mut self, verdict: &Verdict, now: Instant) -> bool {
        if self.interval.is_zero() || verdict.revises.is_some() {
            return false;
        }
        let Some(folded) = self.kinds.get_mut(&kind(verdict)) else {
            return false;
        };
        if folded.count == 0 {
            if now.saturating_duration_since(folded.told) >= self.interval {
                return false;
            }
            folded.first = verdict.time;
        }
        folded.count += 1;
        folded.last = Some(verdict.clone());
        self.untold += 1;
        true
    }

    /// Notes that a verdict was written.
    pub(super) fn written(&mut self, verdict: &Verdict, now: Instant) {
        if self.interval.is_zero() || verdict.revises.is_some() {
            return;
        }
        let folded = Folded {
            told: now,
            count: 0,
            first: verdict.time,
            last: None,
        };
        self.kinds.insert(kind(verdict), folded);
        if self.kinds.len() > KINDS_MAX
            && let Some((_, oldest)) = self.kinds.remove_lru()
        {
            self.keep(repeats(oldest));
        }
    }

    /// What there is to say of kinds whose interval is over, oldest first. Whoever takes it keeps it
    /// or says that it was told.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Repeats> {
        let mut due = self.take_ready();
        for (_, folded) in self.kinds.iter_mut() {
            if folded.count > 0 && now.saturating_duration_since(folded.told) >= self.interval {
                let last = folded.last.take();
                due.extend(last.map(|verdict| Repeats {
                    verdict,
                    count: folded.count,
                    first: folded.first,
                }));
                folded.count = 0;
                folded.told = now;
            }
        }
        due.sort_by_key(|repeats| repeats.first);
        due
    }

    /// Keeps what could not be written for the next time: one count for each kind, so that it takes
    /// no more room however long that is.
    pub(super) fn keep(&mut self, repeats: impl IntoIterator<Item = Repeats>) {
        for more in repeats {
            let kind = kind(&more.verdict);
            match self.ready.get_mut(&kind) {
                Some(kept) => kept.add(more),
                None => drop(self.ready.insert(kind, more)),
            }
            if self.ready.len() > KINDS_MAX
                && let Some((_, oldest)) = self.ready.remove_lru()
            {
                self.untold -= oldest.count;
                self.forgotten += oldest.count;
            }
        }
    }

    /// Notes that repeats were told of.
    pub(super) fn told(&mut self, repeats: &Repeats) {
        self.untold -= repeats.count;
    }

    /// Verdicts that were counted and not told of.
    pub(super) const fn untold(&self) -> u64 {
        self.untold
    }

    /// Verdicts that were counted and never will be told of, since this was asked last.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// All that was counted and not told.
    pub(super) fn rest(&mut self) -> Vec<Repeats> {
        let mut rest = self.take_ready();
        while let Some((_, folded)) = self.kinds.remove_lru() {
            rest.extend(repeats(folded));
        }
        rest.sort_by_key(|repeats| repeats.first);
        rest
    }

    fn take_ready(&mut self) -> Vec<Repeats> {
        let ready = self.ready.drain().map(|(_, repeats)| repeats);
        ready.collect()
    }
}

impl Repeats {
    fn add(&mut self, more: Self) {
        self.count += more.count;
        self.first = self.first.min(more.first);
        if more.verdict.time > self.verdict.time {
            self.verdict = more.verdict;
        }
    }
}

fn repeats(folded: Folded) -> Option<Repeats> {
    Some(Repeats {
        verdict: folded.last?,
        count: folded.count,
        first: folded.first,
    })
}

fn kind(verdict: &Verdict) -> Kind {
    Kind {
        client: verdict.client.ip,
        app: verdict.ja4.clone(),
        name: verdict.sni.clone().ok_or(verdict.server.ip),
        cause: verdict.cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::pinning;

    const MINUTE: Duration = Duration::from_secs(60);

    fn fold(fold: &mut Fold, verdict: &Verdict, now: Instant) -> bool {
        let counted = fold.takes(verdict, now);
        if !counted {
            fold.written(verdict, now);
        }
        counted
    }

    #[test]
    fn the_first_is_written_and_the_others_are_counted_for_an_interval() {
        let mut folds = Fold::new(10 * MINUTE);
        let start = Instant::now();
        let at = |minutes| start + minutes * MINUTE;
        assert!(!fold(&mut folds, &pinning(), at(0)));
        assert!(fold(&mut folds, &pinning(), at(1)));
        let mut other_port = pinning();
        other_port.client.port += 1;
        assert!(fold(&mut folds, &other_port, at(9)));
        assert!(folds.due(at(9)).is_empty());
        let due = folds.due(at(10));
        assert_eq!((due.len(), due[0].count), (1, 2));
        assert_eq!(due[0].verdict, other_port);
        assert!(folds.due(at(30)).is_empty(), "told once");
        assert!(
            fold(&mut folds, &pinning(), at(11)),
            "the interval began anew"
        );
        assert_eq!(folds.rest()[0].count, 1);
    }

    #[test]
    fn after_a_quiet_interval_one_is_written_again() {
        let mut folds = Fold::new(MINUTE);
        let start = Instant::now();
        assert!(!fold(&mut folds, &pinning(), start));
        assert!(!fold(&mut folds, &pinning(), start + 2 * MINUTE));
        assert!(folds.rest().is_empty());
    }

    #[test]
    fn what_differs_is_not_folded_and_revisions_never_are() {
        let mut folds = Fold::new(MINUTE);
        let now = Instant::now();
        let mut other_client = pinning();
        other_client.client.ip = [192, 0, 2, 9].into();
        let mut other_cause = pinning();
        other_cause.cause = Cause::CaNotTrusted;
        let mut revision = pinning();
        revision.revises = Some("x".into());
        for verdict in [
            &pinning(),
            &other_client,
            &other_cause,
            &revision,
            &revision,
        ] {
            assert!(!fold(&mut folds, verdict, now));
        }
        let mut off = Fold::new(Duration::ZERO);
        assert!(!fold(&mut off, &pinning(), now) && !fold(&mut off, &pinning(), now));
    }

    #[test]
    fn memory_is_bounded_and_what_is_pushed_out_is_told() {
        let mut folds = Fold::new(MINUTE);
        let now = Instant::now();
        let named = |number: usize| {
            let mut verdict = pinning();
            verdict.sni = Some(format!("{number}.test"));
            verdict
        };
        for number in 0..=KINDS_MAX {
            fold(&mut folds, &named(number), now);
            if number == 0 {
                fold(&mut folds, &named(0), now);
            }
        }
        assert_eq!(folds.kinds.len(), KINDS_MAX);
        // The one told of longest ago had a repeat.
        assert_eq!(folds.due(now).len(), 1);
    }

    #[test]
    fn what_is_kept_is_merged_by_kind_and_bounded() {
        let mut folds = Fold::new(MINUTE);
        let start = Instant::now();
        fold(&mut folds, &pinning(), start);
        // Nobody takes the counts, an interval after the other.
        for interval in 1..=3 {
            let now = start + interval * MINUTE;
            let mut verdict = pinning();
            verdict.time += jiff::SignedDuration::from_mins(i64::from(interval));
            folds.takes(&verdict, now - Duration::from_secs(1));
            let due = folds.due(now);
            folds.keep(due);
        }
        assert_eq!((folds.ready.len(), folds.untold()), (1, 3));
        let due = folds.due(start + 3 * MINUTE);
        assert_eq!((due.len(), due[0].count), (1, 3));
        let after = |minutes| pinning().time + jiff::SignedDuration::from_mins(minutes);
        assert_eq!((due[0].first, due[0].verdict.time), (after(1), after(3)));
        folds.told(&due[0]);
        assert_eq!(folds.untold(), 0);
        let many = (0..KINDS_MAX + 5).map(|number| {
            let mut verdict = pinning();
            verdict.sni = Some(format!("{number}.test"));
            let first = verdict.time;
            let count = 2;
            Repeats {
                verdict,
                count,
                first,
            }
        });
        folds.untold = 2 * (KINDS_MAX as u64 + 5);
        folds.keep(many);
        assert_eq!(folds.ready.len(), KINDS_MAX);
        assert_eq!((folds.take_forgotten(), folds.take_forgotten()), (10, 0));
        assert_eq!(folds.untold(), 2 * KINDS_MAX as u64);
    }
}
