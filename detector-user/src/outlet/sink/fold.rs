//! Repeats of a verdict, written once and then counted: a broken app retries again and again.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use jiff::Timestamp;

use crate::verdict::{Cause, Verdict};

/// Maximum kinds of verdict; the least recently written is evicted, and its count is reported.
const KINDS_MAX: usize = 4096;
/// Maximum replaced verdicts that a count names; a revision beyond them is written.
const SUPERSEDED_MAX: usize = 64;

/// The fields by which a verdict repeats another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    client: IpAddr,
    app: Option<String>,
    name: Result<String, IpAddr>,
    cause: Cause,
    /// Whether it replaces another: of a group that is revised, one is written.
    revises: bool,
}

struct Folded {
    /// Time of the last entry about it.
    written: Instant,
    count: u64,
    first: Timestamp,
    last: Option<Verdict>,
    superseded: Vec<String>,
}

/// Repeats of a verdict that were counted instead of written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Repeats {
    /// The last one.
    pub(super) verdict: Verdict,
    pub(super) count: u64,
    /// End of the first one's connection.
    pub(super) first: Timestamp,
    /// Identifiers of the verdicts that they replace.
    pub(super) superseded: Vec<String>,
}

pub(super) struct Fold {
    interval: Duration,
    kinds: LruCache<Kind, Folded>,
    /// Counts that could not be written yet, of at most as many kinds.
    pending: LruCache<Kind, Repeats>,
    /// Repeats that are in no written count.
    unreported: u64,
    /// Those of them whose count was dropped for want of room.
    dropped: u64,
}

impl Fold {
    /// Counts repeats for `interval` each; zero counts none.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            kinds: LruCache::new_unbounded(),
            pending: LruCache::new_unbounded(),
            unreported: 0,
            dropped: 0,
        }
    }

    /// Counts a verdict if it is a repeat. Returns whether it was counted and so need not be written.
    /// A revision repeats only another one: it brings new facts.
    pub(super) fn count(&mut self, verdict: &Verdict, now: Instant) -> bool {
        if self.interval.is_zero() {
            return false;
        }
        let Some(folded) = self.kinds.get_mut(&kind(verdict)) else {
            return false;
        };
        if folded.count == 0 {
            if now.saturating_duration_since(folded.written) >= self.interval {
                return false;
            }
            folded.first = verdict.time;
        }
        if let Some(earlier) = &verdict.supersedes {
            if folded.superseded.len() >= SUPERSEDED_MAX {
                return false;
            }
            folded.superseded.push(earlier.clone());
        }
        folded.count += 1;
        folded.last = Some(verdict.clone());
        self.unreported += 1;
        true
    }

    /// Records that a verdict was written.
    pub(super) fn record_written(&mut self, verdict: &Verdict, now: Instant) {
        if self.interval.is_zero() {
            return;
        }
        let folded = Folded {
            written: now,
            count: 0,
            first: verdict.time,
            last: None,
            superseded: Vec::new(),
        };
        if let Some(earlier) = self.kinds.insert(kind(verdict), folded) {
            self.defer(repeats(earlier));
        }
        if self.kinds.len() > KINDS_MAX
            && let Some((_, oldest)) = self.kinds.remove_lru()
        {
            self.defer(repeats(oldest));
        }
    }

    /// Returns the counts of kinds whose interval is over, oldest first. The caller confirms or defers
    /// each.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Repeats> {
        let mut due = self.take_pending();
        for (_, folded) in self.kinds.iter_mut() {
            if folded.count > 0 && now.saturating_duration_since(folded.written) >= self.interval {
                let last = folded.last.take();
                due.extend(last.map(|verdict| Repeats {
                    verdict,
                    count: folded.count,
                    first: folded.first,
                    superseded: std::mem::take(&mut folded.superseded),
                }));
                folded.count = 0;
                folded.written = now;
            }
        }
        due.sort_by_key(|repeats| repeats.first);
        due
    }

    /// Keeps counts that could not be written: one for each kind, so that memory stays bounded.
    pub(super) fn defer(&mut self, repeats: impl IntoIterator<Item = Repeats>) {
        for more in repeats {
            let kind = kind(&more.verdict);
            match self.pending.get_mut(&kind) {
                Some(kept) => kept.add(more),
                None => drop(self.pending.insert(kind, more)),
            }
            if self.pending.len() > KINDS_MAX
                && let Some((_, oldest)) = self.pending.remove_lru()
            {
                self.unreported -= oldest.count;
                self.dropped += oldest.count;
            }
        }
    }

    /// Records that a count was written.
    pub(super) fn confirm(&mut self, repeats: &Repeats) {
        self.unreported -= repeats.count;
    }

    /// Returns the number of repeats that are in no written count.
    pub(super) const fn unreported(&self) -> u64 {
        self.unreported
    }

    /// Returns, and resets, the number of repeats whose count was dropped.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Returns all counts that were not written.
    pub(super) fn take_rest(&mut self) -> Vec<Repeats> {
        let mut rest = self.take_pending();
        while let Some((_, folded)) = self.kinds.remove_lru() {
            rest.extend(repeats(folded));
        }
        rest.sort_by_key(|repeats| repeats.first);
        rest
    }

    fn take_pending(&mut self) -> Vec<Repeats> {
        let pending = self.pending.drain().map(|(_, repeats)| repeats);
        pending.collect()
    }
}

impl Repeats {
    fn add(&mut self, more: Self) {
        self.count += more.count;
        self.first = self.first.min(more.first);
        self.superseded.extend(more.superseded);
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
        superseded: folded.superseded,
    })
}

fn kind(verdict: &Verdict) -> Kind {
    Kind {
        client: verdict.client.ip,
        app: verdict.ja4.clone(),
        name: verdict
            .server_name()
            .map(str::to_owned)
            .ok_or(verdict.server.ip),
        cause: verdict.cause,
        revises: verdict.revises.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::pinning;

    const MINUTE: Duration = Duration::from_secs(60);

    fn fold(fold: &mut Fold, verdict: &Verdict, now: Instant) -> bool {
        let counted = fold.count(verdict, now);
        if !counted {
            fold.record_written(verdict, now);
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
        assert!(folds.take_due(at(9)).is_empty());
        let due = folds.take_due(at(10));
        assert_eq!((due.len(), due[0].count), (1, 2));
        assert_eq!(due[0].verdict, other_port);
        assert!(folds.take_due(at(30)).is_empty(), "reported once");
        assert!(fold(&mut folds, &pinning(), at(11)), "a new interval began");
        assert_eq!(folds.take_rest()[0].count, 1);
    }

    #[test]
    fn after_a_quiet_interval_one_is_written_again() {
        let mut folds = Fold::new(MINUTE);
        let start = Instant::now();
        assert!(!fold(&mut folds, &pinning(), start));
        assert!(!fold(&mut folds, &pinning(), start + 2 * MINUTE));
        assert!(folds.take_rest().is_empty());
    }

    #[test]
    fn what_differs_is_not_folded() {
        let mut folds = Fold::new(MINUTE);
        let now = Instant::now();
        let mut other_client = pinning();
        other_client.client.ip = [192, 0, 2, 9].into();
        let mut other_cause = pinning();
        other_cause.cause = Cause::CaNotTrusted;
        let mut revision = pinning();
        revision.revises = Some("x".into());
        for verdict in [&pinning(), &other_client, &other_cause, &revision] {
            assert!(!fold(&mut folds, verdict, now));
        }
        let mut off = Fold::new(Duration::ZERO);
        assert!(!fold(&mut off, &pinning(), now) && !fold(&mut off, &pinning(), now));
    }

    /// Connections of one app to one name, all of them revised at once.
    #[test]
    fn of_a_revised_group_one_is_written_and_the_count_names_what_the_others_replace() {
        let mut folds = Fold::new(MINUTE);
        let now = Instant::now();
        let revision = |port: u16| {
            let mut verdict = pinning();
            verdict.client.port = port;
            verdict.community_id = format!("1:{port}");
            verdict.set_revision(1);
            verdict.revises = Some("earlier".to_owned());
            verdict
        };
        assert!(!fold(&mut folds, &pinning(), now));
        assert!(!fold(&mut folds, &revision(1), now), "it replaces another");
        for port in 2..=8 {
            assert!(fold(&mut folds, &revision(port), now));
        }
        let counts = folds.take_rest();
        let ids: Vec<String> = (2..=8)
            .filter_map(|port| revision(port).supersedes)
            .collect();
        assert_eq!((counts.len(), counts[0].count), (1, 7));
        assert_eq!(counts[0].superseded, ids);
        for port in 0..=SUPERSEDED_MAX as u16 + 1 {
            let counted = fold(&mut folds, &revision(port), now);
            assert_eq!(
                counted,
                (1..=SUPERSEDED_MAX as u16).contains(&port),
                "{port}"
            );
        }
        // The count of those before is not forgotten.
        let counted: u64 = folds.take_rest().iter().map(|it| it.count).sum();
        assert_eq!(counted, SUPERSEDED_MAX as u64);
    }

    #[test]
    fn memory_is_bounded_and_what_is_evicted_is_reported() {
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
        // The least recently written kind had a repeat.
        assert_eq!(folds.take_due(now).len(), 1);
    }

    #[test]
    fn what_is_kept_is_merged_by_kind_and_bounded() {
        let mut folds = Fold::new(MINUTE);
        let start = Instant::now();
        fold(&mut folds, &pinning(), start);
        // The counts are not written, an interval after the other.
        for interval in 1..=3 {
            let now = start + interval * MINUTE;
            let mut verdict = pinning();
            verdict.time += jiff::SignedDuration::from_mins(i64::from(interval));
            folds.count(&verdict, now - Duration::from_secs(1));
            let due = folds.take_due(now);
            folds.defer(due);
        }
        assert_eq!((folds.pending.len(), folds.unreported()), (1, 3));
        let due = folds.take_due(start + 3 * MINUTE);
        assert_eq!((due.len(), due[0].count), (1, 3));
        let after = |minutes| pinning().time + jiff::SignedDuration::from_mins(minutes);
        assert_eq!((due[0].first, due[0].verdict.time), (after(1), after(3)));
        folds.confirm(&due[0]);
        assert_eq!(folds.unreported(), 0);
        let many = (0..KINDS_MAX + 5).map(|number| {
            let mut verdict = pinning();
            verdict.sni = Some(format!("{number}.test"));
            let first = verdict.time;
            let count = 2;
            Repeats {
                verdict,
                count,
                first,
                superseded: Vec::new(),
            }
        });
        folds.unreported = 2 * (KINDS_MAX as u64 + 5);
        folds.defer(many);
        assert_eq!(folds.pending.len(), KINDS_MAX);
        assert_eq!((folds.take_dropped(), folds.take_dropped()), (10, 0));
        assert_eq!(folds.unreported(), 2 * KINDS_MAX as u64);
    }
}
