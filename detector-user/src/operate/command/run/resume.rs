//! State that an earlier agent left: facts it learned, and observations it had not judged.

use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use crate::operate::config::Settings;
use crate::operate::pipeline::Pipeline;
use crate::outlet::message_kind;
use crate::source::tap::carry::Carry;
use crate::source::tap::rings::Rings;
use crate::verdict::counted;

/// Loads the facts that were learned before, and warns of damage.
pub(super) fn keep_history(settings: &Settings, pipeline: &mut Pipeline) {
    let Some(directory) = &settings.state_directory else {
        return;
    };
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = since_epoch.map_or(0, |time| time.as_secs());
    let remembered = pipeline.keep_history(directory, settings.retention, now_s);
    for warning in &remembered.warnings {
        warn!(target: message_kind::STATE_UNUSABLE, "{warning}");
    }
    if remembered.facts > 0 {
        let facts = counted(remembered.facts, "learned fact", "learned facts");
        info!("loaded {facts}");
    }
}

/// Replays the observations that an earlier agent had read and not judged, and records new ones for
/// the next agent. Returns whether they are recorded.
pub(super) fn carry_over(settings: &Settings, rings: &mut Rings, pipeline: &mut Pipeline) -> bool {
    let Some(directory) = &settings.runtime_directory else {
        return false;
    };
    let (carry, carried) = match Carry::open(directory) {
        Ok(opened) => opened,
        Err(error) => {
            warn!(target: message_kind::STATE_UNUSABLE, "{error}");
            return false;
        }
    };
    if !carried.is_empty() {
        pipeline.begin_replay(carried.judged_ns());
        let observations = rings.replay(&carried, pipeline);
        pipeline.end_replay();
        if observations > 0 {
            let observations = counted(observations, "observation", "observations");
            info!("replayed {observations} of an earlier agent");
        }
    }
    rings.carry_in(carry);
    true
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use detector_common::observation::{ChunkHead, Observation};

    use super::*;
    use crate::cause::knowledge::Knowledge;
    use crate::flow::receiver::{Receiver, TimedReceiver};
    use crate::outlet::database::{Acceptances, Past, Query, Rate, Rated, Writer};
    use crate::outlet::failure_rates::FailureRates;
    use crate::outlet::metrics::{Metrics, TapConnections};
    use crate::outlet::sink::Sinks;
    use crate::outlet::tally::Tally;
    use crate::source::capture::CaptureFile;
    use crate::source::capture_tap::CaptureTap;

    enum Item {
        Observation(Box<Observation>),
        Chunk(ChunkHead, Vec<u8>),
    }

    #[derive(Default)]
    struct Items(Vec<Item>);

    impl Receiver for Items {
        fn observation(&mut self, observation: &Observation) {
            self.0.push(Item::Observation(Box::new(*observation)));
        }

        fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
            self.0.push(Item::Chunk(*head, bytes.to_vec()));
        }
    }

    impl Item {
        fn time_ns(&self) -> u64 {
            match self {
                Self::Observation(observation) => observation.time_ns,
                Self::Chunk(head, _) => head.time_ns,
            }
        }

        fn pass_on(&self, pipeline: &mut Pipeline) {
            match self {
                Self::Observation(observation) => pipeline.late_observation(observation),
                Self::Chunk(head, bytes) => pipeline.chunk(head, bytes),
            }
        }
    }

    /// The items of two connections that work and one whose client refuses a certificate, which the others show.
    fn items() -> Vec<Item> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/corpus");
        let mut items = Items::default();
        for name in ["pins-pinned", "accepts-cdnhost", "accepts-shop"] {
            let name = format!("pin-wget-sslsplit-1.3.{name}-wget-sslsplit-tls13.pcap.gz");
            let mut capture = CaptureFile::open(&Path::new(folder).join(name)).unwrap();
            let mut tap = CaptureTap::default();
            while let Some(frame) = capture.next_frame().unwrap() {
                tap.capture_frame(&frame, &mut items);
            }
        }
        items.0.sort_by_key(Item::time_ns);
        items.0
    }

    fn agent() -> (Pipeline, Acceptances) {
        let mut pipeline = Pipeline::new(100, Knowledge::default(), Sinks::new(Vec::new()), |_| {});
        let acceptances = Acceptances::default();
        pipeline.count_acceptances(acceptances.clone());
        pipeline.measure_by(Metrics::default().meter());
        pipeline.keep_groups();
        (pipeline, acceptances)
    }

    fn failed(tally: &Tally) -> u64 {
        tally.causes.values().sum()
    }

    fn rate((failed, all): (u64, u64)) -> Rate {
        Rate { failed, all }
    }

    /// Returns the sums of rates, of all connections and of those that were intercepted.
    fn sum(rows: &[Rated]) -> [(u64, u64); 2] {
        let of = |rate: fn(&Rated) -> Rate| {
            let failed = rows.iter().map(|it| rate(it).failed).sum();
            (failed, rows.iter().map(|it| rate(it).all).sum())
        };
        [of(|it| it.rate), of(|it| it.intercepted)]
    }

    /// Wherever one agent ends and the next begins, each connection is counted by one of them.
    #[test]
    fn replayed_connections_are_counted_by_the_agent_that_judged_them_first() {
        let items = items();
        let (mut only, worked) = agent();
        items.iter().for_each(|item| item.pass_on(&mut only));
        only.finish();
        let all = only.tally();
        assert_eq!((worked.connections(), failed(&all)), (2, 1));
        let connections = only.tap_connections();
        let by_tap = connections.with(std::iter::empty());
        let [(tap, counts)] = by_tap[..] else {
            panic!("{by_tap:?}");
        };
        let tap = Rated {
            of: tap.to_owned(),
            rate: rate(counts.rate()),
            intercepted: rate((counts.failed[0], counts.failed[0] + counts.established[0])),
        };
        assert_eq!(tap.rate, rate((1, 3)));
        let rates = only.failure_rates(10);
        for kind in [&rates.taps, &rates.apps, &rates.names] {
            assert_eq!(sum(&kind.most), sum(std::slice::from_ref(&tap)));
        }
        assert_eq!(rates.taps.most, std::slice::from_ref(&tap));
        let mut writer = Writer::in_memory().unwrap();
        let mut verdicts: Vec<_> = only.recent().collect();
        verdicts.reverse();
        verdicts.iter().for_each(|it| writer.insert(it).unwrap());
        writer.take(&worked).unwrap();
        writer.commit().unwrap();
        let query = Query {
            limit: 10,
            ..Query::default()
        };
        assert_eq!(Past::of(writer).rates_of_taps(&query).unwrap(), [tap]);
        let waits = [0, 300_000_000, 3_000_000_000, 60_000_000_000];
        let ends = items.iter().map(Item::time_ns);
        for judged_ns in ends.flat_map(|end| waits.map(|wait| end + wait)) {
            let read = items.iter().filter(|item| item.time_ns() <= judged_ns);
            let (mut first, worked) = agent();
            read.clone().for_each(|item| item.pass_on(&mut first));
            first.advance(judged_ns);
            let (mut second, worked_later) = agent();
            second.begin_replay(judged_ns);
            read.for_each(|item| item.pass_on(&mut second));
            second.end_replay();
            let nothing = second.tally();
            assert_eq!((nothing.judged_flows(), worked_later.connections()), (0, 0));
            assert_eq!(second.tap_connections(), TapConnections::default());
            assert_eq!(second.failure_rates(10), FailureRates::default());
            let unread = items.iter().filter(|item| item.time_ns() > judged_ns);
            unread.for_each(|item| item.pass_on(&mut second));
            second.finish();
            let [before, after] = [first, second].map(|agent| agent.tally());
            assert_eq!(worked.connections() + worked_later.connections(), 2);
            assert_eq!(failed(&before) + failed(&after), 1);
            let established = before.outcomes.established + after.outcomes.established;
            assert_eq!(established, all.outcomes.established);
            assert_eq!(after.tracker.flows, after.judged_flows(), "{after:?}");
        }
    }
}
