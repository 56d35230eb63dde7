//! This gateway's own facts, and those among them that others do not know yet.
//!
//! Facts that wait for the server wait here, each once with its latest numbers: a server that is away costs no more
//! room than one that is there.

use std::collections::VecDeque;

use hashlink::LruCache;

use super::message::{AppId, FactKey, Seen, SharedFact};
use crate::cause::history::Lesson;

/// A fact that is no news is published again after this time, or once its count has doubled.
const AGAIN_S: u64 = 3_600;

/// This gateway's facts.
pub(super) struct Ledger {
    facts: LruCache<FactKey, Entry>,
    /// Those that wait, in order.
    waiting: VecDeque<FactKey>,
    /// Facts that made room for others before they were published.
    lost: u64,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    seen: Seen,
    /// The part of it that an earlier agent counted.
    base: Seen,
    published: Seen,
    is_waiting: bool,
}

impl Ledger {
    /// Creates one that holds at most `max` facts.
    pub(super) fn new(max: usize) -> Self {
        Self {
            facts: LruCache::new(max),
            waiting: VecDeque::new(),
            lost: 0,
        }
    }

    /// Records a lesson. Returns whether a fact begins to wait.
    pub(super) fn record(&mut self, lesson: &Lesson) -> bool {
        let key = FactKey {
            client: lesson.client,
            app: AppId(lesson.app),
            name: (*lesson.name).to_owned(),
            issuer: lesson.issuer.as_deref().map(str::to_owned),
            intercepted: lesson.intercepted,
            outcome: lesson.answer,
        };
        self.make_room(&key);
        let entry = self.facts.entry(key.clone()).or_insert_with(Entry::default);
        entry.seen.count = entry.seen.count.saturating_add(1);
        entry.seen.last_s = entry.seen.last_s.max(lesson.time_s);
        entry.seen.sure = entry.seen.sure.max(lesson.sure);
        let is_due = lesson.is_news
            || entry.seen.count >= entry.published.count.saturating_mul(2)
            || entry.seen.last_s >= entry.published.last_s.saturating_add(AGAIN_S);
        if !is_due || entry.is_waiting {
            return false;
        }
        entry.is_waiting = true;
        self.waiting.push_back(key);
        true
    }

    /// Counts a fact as lost that makes room before it was published.
    fn make_room(&mut self, key: &FactKey) {
        if self.facts.len() >= self.facts.capacity()
            && !self.facts.contains_key(key)
            && let Some((_, entry)) = self.facts.remove_lru()
        {
            self.lost += u64::from(entry.is_waiting);
        }
    }

    /// Restores a fact that others know.
    pub(super) fn restore(&mut self, fact: &SharedFact) {
        self.make_room(&fact.key);
        let entry = self
            .facts
            .entry(fact.key.clone())
            .or_insert_with(Entry::default);
        // Connections since this start come on top of those that were counted before.
        let before = entry.base.count;
        entry.base.merge(&fact.seen);
        let more = entry.base.count - before;
        entry.seen.count = entry.seen.count.saturating_add(more);
        entry.seen.last_s = entry.seen.last_s.max(fact.seen.last_s);
        entry.seen.sure = entry.seen.sure.max(fact.seen.sure);
        entry.published.merge(&fact.seen);
    }

    /// Removes at most so many of the facts that wait, the first ones first.
    pub(super) fn take(&mut self, max: usize) -> Vec<SharedFact> {
        let mut facts = Vec::new();
        while facts.len() < max
            && let Some(key) = self.waiting.pop_front()
        {
            if let Some(entry) = self.facts.peek_mut(&key)
                && entry.is_waiting
            {
                entry.is_waiting = false;
                entry.published = entry.seen;
                let seen = entry.seen;
                facts.push(SharedFact { key, seen });
            }
        }
        facts
    }

    /// Makes facts wait that an earlier agent could not publish. It had counted them.
    pub(super) fn restore_waiting(&mut self, facts: &[SharedFact]) {
        for fact in facts {
            self.restore(fact);
            if let Some(entry) = self.facts.peek_mut(&fact.key)
                && !entry.is_waiting
            {
                entry.is_waiting = true;
                self.waiting.push_back(fact.key.clone());
            }
        }
    }

    /// Returns the facts that wait, in order.
    pub(super) fn all_waiting(&self) -> Vec<SharedFact> {
        let fact = |key: &FactKey| {
            let seen = self.facts.peek(key)?.seen;
            let key = key.clone();
            Some(SharedFact { key, seen })
        };
        self.waiting.iter().filter_map(fact).collect()
    }

    /// Returns all facts.
    pub(super) fn all(&self) -> Vec<SharedFact> {
        let facts = self.facts.iter();
        facts
            .map(|(key, entry)| SharedFact {
                key: key.clone(),
                seen: entry.seen,
            })
            .collect()
    }

    /// Returns the number of facts that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of facts that were never published.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::history::Answer;
    use crate::flow::tls::app::App;

    fn lesson(client: u8, time_s: u64, is_news: bool) -> Lesson {
        Lesson {
            client: [192, 0, 2, client].into(),
            app: App::of_number(7),
            name: "a.test".into(),
            issuer: None,
            intercepted: true,
            answer: Answer::Accepted,
            sure: 1.0,
            time_s,
            is_news,
        }
    }

    #[test]
    fn news_go_at_once_and_repeats_when_they_double_or_after_an_hour() {
        let mut ledger = Ledger::new(100);
        assert!(ledger.record(&lesson(1, 1_000, true)));
        assert!(!ledger.record(&lesson(1, 1_001, true)), "waits already");
        let [first] = ledger.take(10).try_into().unwrap();
        assert_eq!((first.seen.count, first.seen.last_s), (2, 1_001));
        assert!(!ledger.record(&lesson(1, 1_002, false)));
        assert!(ledger.record(&lesson(1, 1_003, false)), "doubled");
        assert_eq!(ledger.take(10)[0].seen.count, 4);
        assert!(ledger.record(&lesson(1, 1_003 + AGAIN_S, false)));
        assert_eq!(ledger.take(10).len(), 1);
        assert_eq!(ledger.take(10).len(), 0);
    }

    #[test]
    fn counts_go_on_after_a_restart() {
        let mut ledger = Ledger::new(100);
        ledger.record(&lesson(1, 2_000, true));
        let mut known = ledger.all();
        known[0].seen = Seen {
            last_s: 1_000,
            count: 40,
            sure: 1.0,
        };
        ledger.restore(&known[0]);
        ledger.restore(&known[0]);
        let [fact] = ledger.take(10).try_into().unwrap();
        assert_eq!(
            fact.seen,
            Seen {
                last_s: 2_000,
                count: 41,
                sure: 1.0
            }
        );
    }

    #[test]
    fn what_waits_is_bounded_and_what_goes_unpublished_is_counted() {
        let mut ledger = Ledger::new(4);
        for client in 1..=10 {
            ledger.record(&lesson(client, 1_000, true));
        }
        assert_eq!((ledger.all().len(), ledger.lost()), (4, 6));
        let clients: Vec<_> = ledger
            .take(100)
            .iter()
            .map(|it| it.key.client.to_string())
            .collect();
        assert_eq!(
            clients,
            ["192.0.2.7", "192.0.2.8", "192.0.2.9", "192.0.2.10"]
        );
    }
}
