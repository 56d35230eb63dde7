//! Failure rates by tap, by app and by server name, of connections that worked or failed since the start.
//!
//! In: verdicts and connections that worked. Out: [`FailureRates`] for the status and `tlswhy top`. Bounded: a name that
//! was quiet for longest is counted among the others, so that the sums stay those of `tlswhy_tap_connections_total`.

use hashlink::LruCache;
use serde::{Deserialize, Serialize};

use crate::outlet::database::{Acceptance, Rate, Rated};
use crate::outlet::recent_groups::{cut, server_of};
use crate::verdict::{Intercepted, Verdict};

/// Maximum taps, apps and names with numbers of their own, each.
const ROWS_MAX: usize = 4_096;

/// Failure rates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRates {
    /// By tap.
    pub taps: Rates,
    /// By JA4 fingerprint of the app.
    pub apps: Rates,
    /// By server name, or the server's address.
    pub names: Rates,
}

/// Failure rates by one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Those with the most failures, in this order.
    pub most: Vec<Rated>,
    /// All others together.
    pub others: Rated,
}

/// Counts connections.
#[derive(Debug, Default)]
pub struct RateCounter {
    taps: Counts,
    apps: Counts,
    names: Counts,
}

#[derive(Debug)]
struct Counts {
    rows: LruCache<String, [Rate; 2]>,
    others: [Rate; 2],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            rows: LruCache::new(ROWS_MAX),
            others: Default::default(),
        }
    }
}

impl RateCounter {
    /// Counts a connection that failed; a verdict that replaces another counts none.
    pub fn record(&mut self, verdict: &Verdict) {
        if verdict.revises.is_none() {
            let (app, name) = (verdict.ja4.as_deref(), server_of(verdict));
            self.count(&verdict.tap, app, &name, verdict.intercepted, true);
        }
    }

    /// Counts a connection that worked.
    pub fn record_acceptance(&mut self, acceptance: &Acceptance) {
        let name = acceptance.name.to_ascii_lowercase();
        let (tap, app) = (&acceptance.tap, acceptance.app.as_deref());
        self.count(tap, app, &name, acceptance.intercepted, false);
    }

    fn count(
        &mut self,
        tap: &str,
        app: Option<&str>,
        name: &str,
        intercepted: Intercepted,
        failed: bool,
    ) {
        let is_intercepted = intercepted == Intercepted::Yes;
        self.taps.count(tap, is_intercepted, failed);
        let app = app.unwrap_or_default();
        self.apps.count(app, is_intercepted, failed);
        self.names.count(name, is_intercepted, failed);
    }

    /// Returns the rates, at most so many of each.
    #[must_use]
    pub fn rates(&self, max: usize) -> FailureRates {
        FailureRates {
            taps: self.taps.rates(max),
            apps: self.apps.rates(max),
            names: self.names.rates(max),
        }
    }
}

impl Counts {
    fn count(&mut self, of: &str, is_intercepted: bool, failed: bool) {
        let of = cut(of);
        if self.rows.len() >= ROWS_MAX
            && !self.rows.contains_key(&of)
            && let Some((_, evicted)) = self.rows.remove_lru()
        {
            add(&mut self.others, evicted);
        }
        let one = Rate {
            failed: failed.into(),
            all: 1,
        };
        let intercepted = if is_intercepted { one } else { Rate::default() };
        let row = self.rows.entry(of).or_insert_with(Default::default);
        add(row, [one, intercepted]);
    }

    fn rates(&self, max: usize) -> Rates {
        let rows = self.rows.iter();
        let mut most: Vec<_> = rows.map(|(of, counts)| rated(of, *counts)).collect();
        most.sort_by(|a, b| {
            let order = (b.rate.failed, b.rate.all).cmp(&(a.rate.failed, a.rate.all));
            order.then_with(|| a.of.cmp(&b.of))
        });
        let mut others = self.others;
        for row in most.iter().skip(max) {
            add(&mut others, [row.rate, row.intercepted]);
        }
        most.truncate(max);
        Rates {
            most,
            others: rated("", others),
        }
    }
}

fn rated(of: &str, [rate, intercepted]: [Rate; 2]) -> Rated {
    Rated {
        of: of.to_owned(),
        rate,
        intercepted,
    }
}

fn add(to: &mut [Rate; 2], counts: [Rate; 2]) {
    for (to, counts) in to.iter_mut().zip(counts) {
        to.failed += counts.failed;
        to.all += counts.all;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::pinning;

    fn failure(name: &str) -> Verdict {
        let mut verdict = pinning();
        verdict.revises = None;
        verdict.sni = Some(name.to_owned());
        verdict
    }

    fn acceptance(tap: &str, app: Option<&str>, name: &str) -> Acceptance {
        Acceptance {
            client: pinning().client.ip,
            app: app.map(str::to_owned),
            name: name.to_owned(),
            intercepted: Intercepted::No,
            issuer: None,
            tap: tap.to_owned(),
            time_ns: 1,
        }
    }

    fn shares(rates: &Rates) -> Vec<(&str, u64, u64, u64)> {
        let rows = rates.most.iter().chain([&rates.others]);
        rows.map(|it| {
            let Rate { failed, all } = it.rate;
            (it.of.as_str(), failed, all, it.intercepted.all)
        })
        .collect()
    }

    #[test]
    fn each_connection_counts_once_by_tap_app_and_name() {
        let mut counter = RateCounter::default();
        counter.record(&failure("A.test"));
        let mut revision = failure("a.test");
        revision.revises = Some("before".to_owned());
        counter.record(&revision);
        let (tap, app) = (pinning().tap, pinning().ja4.unwrap());
        counter.record_acceptance(&acceptance(&tap, Some(&app), "a.test"));
        counter.record_acceptance(&acceptance("lan1", None, "B.test"));
        let rates = counter.rates(10);
        let others = ("", 0, 0, 0);
        assert_eq!(
            shares(&rates.taps),
            [(tap.as_str(), 1, 2, 1), ("lan1", 0, 1, 0), others]
        );
        assert_eq!(
            shares(&rates.apps),
            [(app.as_str(), 1, 2, 1), ("", 0, 1, 0), others]
        );
        assert_eq!(
            shares(&rates.names),
            [("a.test", 1, 2, 1), ("b.test", 0, 1, 0), others]
        );
        let one = counter.rates(1);
        assert_eq!(shares(&one.names), [("a.test", 1, 2, 1), ("", 0, 1, 0)]);
    }

    #[test]
    fn those_without_room_are_counted_among_the_others() {
        let mut counter = RateCounter::default();
        for number in 0..ROWS_MAX + 2 {
            counter.record(&failure(&format!("{number}.test")));
        }
        let names = counter.rates(usize::MAX).names;
        assert_eq!(names.most.len(), ROWS_MAX);
        assert_eq!(names.others.rate, Rate { failed: 2, all: 2 });
        assert!(names.most.iter().all(|it| it.of != "0.test"));
    }
}
