//! The engine's counters in the kernel, and reports of losses.

use std::time::{Duration, Instant};

use aya::maps::{MapData, MapError, PerCpuArray};
use detector_common::counter::Counter;

use crate::source::tap::Maps;

/// Reads the per-CPU counters.
pub struct Counters(PerCpuArray<MapData, u64>);

impl Counters {
    /// Opens the counters' map.
    ///
    /// # Errors
    /// If the object has none.
    pub fn take(maps: &mut impl Maps) -> Result<Self, MapError> {
        let map = maps.take("COUNTERS").ok_or_else(|| MapError::InvalidName {
            name: "COUNTERS".to_owned(),
        })?;
        Ok(Self(PerCpuArray::try_from(map)?))
    }

    /// Reads each counter, summed over all CPUs.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn read(&self) -> Result<Vec<(Counter, u64)>, MapError> {
        Counter::ALL
            .iter()
            .map(|counter| Ok((*counter, self.0.get(&(*counter as u32), 0)?.iter().sum())))
            .collect()
    }
}

/// Returns the number of settled flows that their table of `capacity` evicted. The kernel does not count
/// them: they are those that went in, did not come out, and exceed the capacity.
pub fn forgotten(counters: &[(Counter, u64)], capacity: u64) -> u64 {
    let of = |wanted| {
        counters
            .iter()
            .find(|(counter, _)| *counter == wanted)
            .map_or(0, |(_, number)| *number)
    };
    of(Counter::Settled)
        .saturating_sub(of(Counter::Resumed))
        .saturating_sub(capacity)
}

/// Shortest time between two reports of one reason for losses.
const QUIET: Duration = Duration::from_secs(10);

/// Reports of losses as they grow, each reason at most once in ten seconds.
#[derive(Debug, Default)]
pub struct Losses {
    told: Vec<Told>,
}

#[derive(Debug)]
struct Told {
    reason: String,
    count: u64,
    at: Instant,
}

impl Losses {
    /// Records that a reason's count is `total` at `now`; returns its growth since the last report. `None`
    /// without growth, or too soon after that report.
    pub fn grown(&mut self, reason: &str, total: u64, now: Instant) -> Option<u64> {
        let told = self.told.iter_mut().find(|told| told.reason == reason);
        let Some(told) = told else {
            if total > 0 {
                self.told.push(Told {
                    reason: reason.to_owned(),
                    count: total,
                    at: now,
                });
            }
            return (total > 0).then_some(total);
        };
        let more = total.saturating_sub(told.count);
        if more == 0 || now.saturating_duration_since(told.at) < QUIET {
            return None;
        }
        told.count = total;
        told.at = now;
        Some(more)
    }
}

/// Returns the meaning of a loss for an operator.
pub const fn meaning(loss: Counter, number: u64) -> &'static str {
    match (loss, number) {
        (Counter::ObservationLost, 1) => "observation: the agent is slower than the traffic",
        (Counter::ObservationLost, _) => "observations: the agent is slower than the traffic",
        (Counter::HandshakeLost, 1) => {
            "piece of a handshake: names and fingerprints may be missing from verdicts"
        }
        (Counter::HandshakeLost, _) => {
            "pieces of handshakes: names and fingerprints may be missing from verdicts"
        }
        (Counter::TableFull, 1) => "connection: the flow table was full; raise tables.flows",
        (Counter::TableFull, _) => "connections: the flow table was full; raise tables.flows",
        (Counter::EvictedBusy, 1) => {
            "connection under way, to make room for a new one: see --flows"
        }
        (Counter::EvictedBusy, _) => {
            "connections under way, to make room for new ones: see --flows"
        }
        (Counter::ObservationsCapped, 1) => "observation beyond the limit of a flow",
        (Counter::ObservationsCapped, _) => "observations beyond the limit of a flow",
        _ => loss.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_is_told_once_and_then_only_its_growth_now_and_then() {
        let mut losses = Losses::default();
        let start = Instant::now();
        let mut at = |seconds, reason, total| {
            losses.grown(reason, total, start + Duration::from_secs(seconds))
        };
        assert_eq!(at(0, "a", 0), None);
        assert_eq!(at(1, "a", 3), Some(3));
        assert_eq!(at(2, "a", 5), None, "too soon");
        assert_eq!(at(2, "b", 1), Some(1), "another reason");
        assert_eq!(at(12, "a", 9), Some(6), "all since it was told");
        assert_eq!(at(30, "a", 9), None, "nothing new");
    }

    #[test]
    fn a_settled_flow_that_has_no_room_is_forgotten() {
        let counters = [(Counter::Settled, 110), (Counter::Resumed, 7)];
        assert_eq!(forgotten(&counters, 100), 3);
        assert_eq!(forgotten(&counters, 1000), 0);
        assert_eq!(forgotten(&[], 10), 0);
    }

    #[test]
    fn every_loss_has_words() {
        for loss in Counter::ALL.iter().filter(|counter| counter.is_loss()) {
            for number in [1, 2] {
                assert_ne!(meaning(*loss, number), loss.name());
            }
        }
    }
}
