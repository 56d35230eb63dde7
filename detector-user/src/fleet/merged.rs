//! The facts of all gateways, merged: by subject, and in each by origin.
//!
//! A merge is a maximum of what each gateway saw last, how often, and how surely, so that neither order nor
//! repetition of messages matters, as long as the facts fit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::message::{FactKey, Seen, SharedFact};

/// Facts seen so long ago count no more, as in the history.
const FORGOTTEN_S: u64 = 7 * 86_400;
/// Share of the facts that go when there are too many, so that this is seldom: one of so many.
const SHARE: usize = 10;
/// A fact that was seen again is news after this time.
const NEWS_S: u64 = 3_600;

/// All gateways' facts.
#[derive(Debug)]
pub struct Merged {
    facts: HashMap<FactKey, BTreeMap<Arc<str>, Seen>>,
    max: usize,
    evicted: u64,
}

impl Merged {
    /// Creates one that holds at most `max` subjects.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            facts: HashMap::new(),
            max: max.max(SHARE),
            evicted: 0,
        }
    }

    /// Merges a fact of a gateway. Returns whether it is news: seen there for the first time, or again after an
    /// hour, or more surely.
    pub fn merge(&mut self, gateway: &Arc<str>, fact: &SharedFact) -> bool {
        if let Some(by_gateway) = self.facts.get_mut(&fact.key) {
            if let Some(seen) = by_gateway.get_mut(gateway) {
                let before = *seen;
                seen.merge(&fact.seen);
                return seen.last_s >= before.last_s.saturating_add(NEWS_S)
                    || seen.sure > before.sure;
            }
            by_gateway.insert(Arc::clone(gateway), fact.seen);
            return true;
        }
        if self.facts.len() >= self.max {
            self.evict();
        }
        let by_gateway = BTreeMap::from([(Arc::clone(gateway), fact.seen)]);
        self.facts.insert(fact.key.clone(), by_gateway);
        true
    }

    /// Removes the subjects seen longest ago.
    fn evict(&mut self) {
        let mut ages: Vec<u64> = self.facts.values().map(last_s).collect();
        let (_, limit, _) = ages.select_nth_unstable(self.max / SHARE);
        let limit = *limit;
        let before = self.facts.len();
        self.facts.retain(|_, it| last_s(it) > limit);
        self.evicted += (before - self.facts.len()) as u64;
    }

    /// Removes facts that count no more at `now_s`, seconds since the UNIX epoch.
    pub fn forget(&mut self, now_s: u64) {
        self.facts
            .retain(|_, it| now_s.saturating_sub(last_s(it)) < FORGOTTEN_S);
    }

    /// Returns each subject with its observations by gateway.
    pub fn iter(&self) -> impl Iterator<Item = (&FactKey, &BTreeMap<Arc<str>, Seen>)> {
        self.facts.iter()
    }

    /// Returns the number of subjects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Returns the number of subjects that made room for others.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

fn last_s(by_gateway: &BTreeMap<Arc<str>, Seen>) -> u64 {
    by_gateway.values().map(|it| it.last_s).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cause::history::Answer;
    use crate::fleet::message::AppId;
    use crate::flow::tls::app::App;

    fn fact(number: u8, seen: Seen) -> SharedFact {
        SharedFact {
            key: FactKey {
                client: [192, 0, 2, number].into(),
                app: AppId(App::of_number(1)),
                name: "a.test".to_owned(),
                issuer: None,
                intercepted: true,
                outcome: Answer::Refused,
            },
            seen,
        }
    }

    fn seen() -> impl Strategy<Value = Seen> {
        (0_u64..5, 1_u64..5, 0_u8..5).prop_map(|(last_s, count, sure)| Seen {
            last_s,
            count,
            sure: f64::from(sure) / 4.0,
        })
    }

    fn state(messages: &[(u8, u8, Seen)]) -> BTreeMap<FactKey, BTreeMap<Arc<str>, Seen>> {
        let mut merged = Merged::new(1_000);
        for (gateway, number, seen) in messages {
            merged.merge(&format!("gw-{gateway}").into(), &fact(*number, *seen));
        }
        merged.facts.into_iter().collect()
    }

    proptest! {
        #[test]
        fn any_order_and_any_repetition_give_the_same_state(
            (messages, others) in proptest::collection::vec((0_u8..3, 0_u8..3, seen()), 1..30).prop_flat_map(|it| {
                let again = proptest::collection::vec(proptest::sample::select(it.clone()), 0..30);
                let others = (Just(it.clone()), again).prop_map(|(all, again)| [all, again].concat()).prop_shuffle();
                (Just(it), others)
            }),
        ) {
            prop_assert_eq!(state(&messages), state(&others));
        }
    }

    #[test]
    fn repetition_is_no_news_and_the_oldest_make_room() {
        let at = |last_s| Seen {
            last_s,
            count: 1,
            sure: 1.0,
        };
        let mut merged = Merged::new(20);
        let gateway: Arc<str> = "gw-a".into();
        assert!(merged.merge(&gateway, &fact(1, at(100))));
        assert!(!merged.merge(&gateway, &fact(1, at(100))));
        assert!(!merged.merge(&gateway, &fact(1, at(200))));
        assert!(merged.merge(&"gw-b".into(), &fact(1, at(100))));
        assert!(merged.merge(&gateway, &fact(1, at(100 + 2 * NEWS_S))));
        for number in 2..60 {
            merged.merge(&gateway, &fact(number, at(u64::from(number))));
            assert!(merged.len() <= 20);
        }
        assert!(merged.evicted() > 0);
        assert!(merged.facts.contains_key(&fact(1, at(0)).key), "seen last");
        merged.forget(10_000 + FORGOTTEN_S);
        assert!(merged.is_empty());
    }
}
