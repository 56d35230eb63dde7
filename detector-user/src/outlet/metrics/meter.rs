//! Counts and latencies of verdicts.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use crate::verdict::{Cause, Intercepted, Verdict};

/// Buckets in seconds, from the time of a single connection to that of many that end together.
const BUCKETS: [f64; 17] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0,
    300.0,
];
/// Maximum taps with numbers of their own: containers' interfaces have ever new names.
const TAPS_MAX: usize = 256;
/// Label of all further taps.
const OTHER: &str = "other";

/// Verdicts of one cause at one tap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// First verdicts on connections.
    pub given: u64,
    /// Verdicts that replace an earlier one.
    pub revised: u64,
}

/// Verdicts by tap and cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerdictCounts(BTreeMap<String, [Counted; Cause::ALL.len()]>);

impl VerdictCounts {
    fn count(&mut self, verdict: &Verdict) {
        let has_own = self.0.len() < TAPS_MAX || self.0.contains_key(&verdict.tap);
        let tap = if has_own { &verdict.tap } else { OTHER };
        if !self.0.contains_key(tap) {
            self.0.insert(tap.to_owned(), Default::default());
        }
        let counts = self.0.get_mut(tap);
        let Some(counted) = counts.and_then(|it| it.get_mut(verdict.cause as usize)) else {
            return;
        };
        match verdict.revises {
            None => counted.given += 1,
            Some(_) => counted.revised += 1,
        }
    }

    /// Returns every cause at every tap, also at those of `taps` without verdicts.
    pub fn with<'a>(
        &'a self,
        taps: impl Iterator<Item = &'a str>,
    ) -> Vec<(&'a str, Cause, Counted)> {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).chain(taps).collect();
        names.sort_unstable();
        names.dedup();
        let causes = || Cause::ALL.into_iter().enumerate();
        let of = |name: &str, at: usize| {
            let counts = self.0.get(name).and_then(|counts| counts.get(at));
            counts.copied().unwrap_or_default()
        };
        names
            .iter()
            .flat_map(|name| causes().map(move |(at, cause)| (*name, cause, of(name, at))))
            .collect()
    }
}

/// Connections at one tap, by whether they were intercepted, as [`Intercepted::ALL`] has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapCounts {
    /// Those that were established.
    pub established: [u64; Intercepted::ALL.len()],
    /// Those that failed.
    pub failed: [u64; Intercepted::ALL.len()],
}

impl TapCounts {
    /// Returns how many failed, and of how many.
    #[must_use]
    pub fn rate(&self) -> (u64, u64) {
        let failed: u64 = self.failed.iter().sum();
        (failed, failed + self.established.iter().sum::<u64>())
    }
}

/// Connections by tap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapConnections(BTreeMap<String, TapCounts>);

impl TapConnections {
    fn at(&mut self, tap: &str) -> &mut TapCounts {
        let has_own = self.0.len() < TAPS_MAX || self.0.contains_key(tap);
        let tap = if has_own { tap } else { OTHER };
        self.0.entry(tap.to_owned()).or_default()
    }

    /// Returns the counts of each tap, also of those of `taps` without connections.
    pub fn with<'a>(&'a self, taps: impl Iterator<Item = &'a str>) -> Vec<(&'a str, TapCounts)> {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).chain(taps).collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| (name, self.of(name)))
            .collect()
    }

    /// Returns the counts of a tap.
    #[must_use]
    pub fn of(&self, tap: &str) -> TapCounts {
        self.0.get(tap).copied().unwrap_or_default()
    }
}

/// Counts verdicts and measures their latency. The server shares its histograms, and nothing else.
#[derive(Debug)]
pub struct Meter {
    latency: Histogram,
    lateness: Histogram,
    counts: VerdictCounts,
    connections: TapConnections,
}

impl Meter {
    pub(super) fn new(latency: Histogram, lateness: Histogram) -> Self {
        Self {
            latency,
            lateness,
            counts: VerdictCounts::default(),
            connections: TapConnections::default(),
        }
    }

    /// Records a connection at a tap that was established.
    pub fn record_established(&mut self, tap: &str, intercepted: Intercepted) {
        let counts = self.connections.at(tap);
        if let Some(count) = counts.established.get_mut(intercepted as usize) {
            *count += 1;
        }
    }

    /// Records a verdict. `latency` is the time since its connection's last packet, `lateness` the time
    /// since the wait for evidence ended. The times of a revision are not recorded: it waited for other
    /// connections.
    pub fn record(&mut self, verdict: &Verdict, latency: Duration, lateness: Duration) {
        self.counts.count(verdict);
        if verdict.revises.is_none() {
            let counts = self.connections.at(&verdict.tap);
            if let Some(count) = counts.failed.get_mut(verdict.intercepted as usize) {
                *count += 1;
            }
            self.latency.observe(latency.as_secs_f64());
            self.lateness.observe(lateness.as_secs_f64());
        }
    }

    /// Returns connections by tap.
    #[must_use]
    pub const fn connections(&self) -> &TapConnections {
        &self.connections
    }

    /// Returns the counts.
    #[must_use]
    pub fn counts(&self) -> &VerdictCounts {
        &self.counts
    }
}

pub(super) fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::metrics::Metrics;
    use crate::verdict::tests::pinning;

    fn counts_of(verdicts: impl Iterator<Item = Verdict>) -> (Meter, Metrics) {
        let metrics = Metrics::default();
        let mut meter = metrics.meter();
        for verdict in verdicts {
            meter.record(&verdict, Duration::from_millis(30), Duration::ZERO);
        }
        (meter, metrics)
    }

    #[test]
    fn what_replaces_another_is_counted_apart_and_not_timed() {
        let first = pinning();
        let again = Verdict {
            revises: Some("x".into()),
            ..pinning()
        };
        let (meter, metrics) = counts_of([first, again.clone(), again].into_iter());
        let counts = meter.counts().with(std::iter::empty());
        let counted = |given, revised| Counted { given, revised };
        assert!(counts.contains(&("lan0", Cause::Pinning, counted(1, 2))));
        assert!(counts.contains(&("lan0", Cause::Abandoned, counted(0, 0))));
        let text = metrics.openmetrics().unwrap();
        for line in [
            "tlswhy_verdict_latency_seconds_bucket{le=\"0.025\"} 0\n",
            "tlswhy_verdict_latency_seconds_bucket{le=\"0.05\"} 1\n",
            "tlswhy_verdict_latency_seconds_count 1\n",
            "tlswhy_verdict_lateness_seconds_count 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn every_cause_is_there_from_the_start() {
        let counts = VerdictCounts::default();
        assert_eq!(
            counts.with(["a", "b"].into_iter()).len(),
            2 * Cause::ALL.len()
        );
    }

    #[test]
    fn ever_new_names_of_taps_do_not_fill_the_memory() {
        let named = |number| Verdict {
            tap: format!("veth{number}"),
            ..pinning()
        };
        let (meter, _) = counts_of((0..1000).map(named));
        let counts = meter.counts().with(std::iter::empty());
        assert_eq!(counts.len(), (TAPS_MAX + 1) * Cause::ALL.len());
        let other: u64 = counts
            .iter()
            .filter(|(tap, ..)| *tap == OTHER)
            .map(|(.., counted)| counted.given)
            .sum();
        assert_eq!(other, 1000 - TAPS_MAX as u64);
    }
}
