//! Tracker, judge and sinks in a row: what both `run` and `pcap` feed.

use std::collections::BTreeMap;

use detector_common::observation::{ChunkHead, Observation};

use crate::cli::Knowledge;
use crate::judge::{Judgement, judge};
use crate::sink::{SinkError, Sinks};
use crate::tap::Receiver;
use crate::tracker::{Tracker, TrackerCounts};

/// From observations to verdicts.
pub struct Pipeline {
    tracker: Tracker,
    knowledge: Knowledge,
    sinks: Sinks,
    causes: BTreeMap<&'static str, u64>,
    established: u64,
    unfinished: u64,
    on_error: fn(&SinkError),
}

/// What a pipeline did.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Flows seen and given up.
    pub tracker: TrackerCounts,
    /// Flows under way.
    pub under_way: usize,
    /// Flows that worked.
    pub established: u64,
    /// Flows that did not end, or not in a way that says anything.
    pub unfinished: u64,
    /// Verdicts by cause.
    pub causes: BTreeMap<&'static str, u64>,
    /// Verdicts that did not get out: sink, why, how many.
    pub lost_verdicts: Vec<(&'static str, &'static str, u64)>,
}

impl Pipeline {
    /// A pipeline that follows at most `flows` flows at once. `on_error` is told of each kind of
    /// failure of each sink once.
    pub fn new(flows: usize, knowledge: Knowledge, sinks: Sinks, on_error: fn(&SinkError)) -> Self {
        Self {
            tracker: Tracker::new(flows),
            knowledge,
            sinks,
            causes: BTreeMap::new(),
            established: 0,
            unfinished: 0,
            on_error,
        }
    }

    /// Names the tap of an interface.
    pub fn name_tap(&mut self, interface: u32, name: &str) {
        self.tracker.name_tap(interface, name);
    }

    /// Says what to add to the tap's clock to get UNIX time, nanoseconds; at first nothing.
    pub fn set_unix_offset(&mut self, offset_ns: i64) {
        self.tracker.set_unix_offset(offset_ns);
    }

    /// Judges what is over at `now_ns` on the tap's clock.
    pub fn advance(&mut self, now_ns: u64) {
        self.tracker.advance(now_ns);
        self.judge();
    }

    /// When something will be over if nothing more is told, on the tap's clock.
    pub fn next_deadline(&self) -> Option<u64> {
        self.tracker.next_deadline()
    }

    /// Judges everything that is left.
    pub fn finish(&mut self) {
        self.tracker.finish();
        self.judge();
        for error in self.sinks.flush() {
            (self.on_error)(&error);
        }
    }

    /// Whether nobody is left to take a verdict.
    pub fn is_closed(&self) -> bool {
        self.sinks.is_closed()
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        Tally {
            tracker: self.tracker.counts(),
            under_way: self.tracker.len(),
            established: self.established,
            unfinished: self.unfinished,
            causes: self.causes.clone(),
            lost_verdicts: self
                .sinks
                .losses()
                .map(|loss| (loss.output, loss.kind, loss.verdicts))
                .collect(),
        }
    }

    fn judge(&mut self) {
        for timeline in self.tracker.take_over() {
            match judge(&timeline, &self.knowledge) {
                Judgement::Established => self.established += 1,
                Judgement::Unfinished => self.unfinished += 1,
                Judgement::Failed(verdict) => {
                    *self.causes.entry(verdict.cause.name()).or_default() += 1;
                    for error in self.sinks.verdict(&verdict) {
                        (self.on_error)(&error);
                    }
                }
            }
        }
    }
}

impl Receiver for Pipeline {
    fn observation(&mut self, observation: &Observation) {
        self.tracker.observation(observation);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.tracker.chunk(head, bytes);
    }
}
