//! How fast gateways speak, by the server's clock.

use std::collections::BTreeMap;

/// Seconds that are counted together.
const SPAN_S: i64 = 10;
/// Spans that are remembered: ten minutes.
const SPANS: usize = 60;
/// Facts and verdicts a second that no gateway has, whatever the others do.
const ABSOLUTE_MAX: u64 = 50_000;
/// Those from which a gateway is compared with the others.
const COMPARED_MIN: u64 = 1_000;
/// Times the median of the others beyond which it is implausible.
const TIMES_MAX: u64 = 20;
/// Others that there must be.
const OTHERS_MIN: usize = 2;

/// Facts and verdicts of each gateway, by ten seconds each.
#[derive(Debug, Default)]
pub(super) struct Pace {
    spans: BTreeMap<i64, BTreeMap<String, u64>>,
}

impl Pace {
    /// Counts what a gateway said in a message that the server took at a time, seconds since the UNIX epoch.
    pub(super) fn count(&mut self, gateway: &str, time_s: i64, number: usize) {
        let span = self.spans.entry(time_s.div_euclid(SPAN_S)).or_default();
        match span.get_mut(gateway) {
            Some(count) => *count += number as u64,
            None => {
                span.insert(gateway.to_owned(), number as u64);
            }
        }
        while self.spans.len() > SPANS {
            self.spans.pop_first();
        }
    }

    /// Returns the gateways that said more than they can have seen, with their highest rate a second.
    pub(super) fn too_many(&self) -> BTreeMap<String, u64> {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for span in self.spans.values() {
            for (gateway, count) in span {
                let rate = count / SPAN_S.unsigned_abs();
                if is_implausible(gateway, rate, span) {
                    let highest = found.entry(gateway.clone()).or_default();
                    *highest = rate.max(*highest);
                }
            }
        }
        found
    }
}

fn is_implausible(gateway: &str, rate: u64, span: &BTreeMap<String, u64>) -> bool {
    if rate > ABSOLUTE_MAX {
        return true;
    }
    let others = span.iter().filter(|(name, _)| *name != gateway);
    let mut others: Vec<u64> = others
        .map(|(_, count)| count / SPAN_S.unsigned_abs())
        .collect();
    others.sort_unstable();
    let median = others.get(others.len() / 2).copied().unwrap_or_default();
    rate >= COMPARED_MIN && others.len() >= OTHERS_MIN && rate > median.max(1) * TIMES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_says_far_more_than_the_others_is_found() {
        let mut pace = Pace::default();
        for second in 0..30 {
            for (gateway, number) in [("a", 50), ("b", 80), ("c", 40), ("loud", 3_000)] {
                pace.count(gateway, 1_000 + second, number);
            }
        }
        assert_eq!(
            pace.too_many(),
            BTreeMap::from([("loud".to_owned(), 3_000)])
        );
    }

    #[test]
    fn a_busy_gateway_among_busy_ones_is_none() {
        let mut pace = Pace::default();
        for second in 0..10 {
            for (gateway, number) in [("a", 800), ("b", 900), ("busy", 9_000)] {
                pace.count(gateway, second, number);
            }
        }
        // A site of one gateway has none to compare with.
        pace.count("alone", 5_000, 100_000);
        assert_eq!(pace.too_many(), BTreeMap::new());
    }
}
