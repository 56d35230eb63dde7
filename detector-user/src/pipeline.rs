//! Tracker, legs, judge, history and sinks in a row: what both `run` and `pcap` feed.

use std::collections::BTreeMap;

use detector_common::observation::{ChunkHead, Observation};

use crate::cli::Knowledge;
use crate::history::History;
use crate::interception::Interceptors;
use crate::judge::{Judged, Judgement, judge};
use crate::legs::Legs;
use crate::sink::{SinkError, Sinks};
use crate::tap::Receiver;
use crate::tracker::{Tracker, TrackerCounts};
use crate::verdict::Verdict;

/// From observations to verdicts.
pub struct Pipeline {
    tracker: Tracker,
    legs: Legs,
    interceptors: Interceptors,
    history: History,
    knowledge: Knowledge,
    sinks: Sinks,
    causes: BTreeMap<&'static str, u64>,
    established: u64,
    unused: u64,
    unfinished: u64,
    revised: u64,
    /// Nothing is to be done before, unless something is told.
    due_ns: u64,
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
    /// Flows whose handshake went through and that nobody had a use for.
    pub unused: u64,
    /// Flows that did not end, or not in a way that says anything.
    pub unfinished: u64,
    /// Verdicts that replace earlier ones.
    pub revised: u64,
    /// Verdicts by cause, those that replace others not counted.
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
            legs: Legs::default(),
            interceptors: Interceptors::default(),
            history: History::default(),
            knowledge,
            sinks,
            causes: BTreeMap::new(),
            established: 0,
            unused: 0,
            unfinished: 0,
            revised: 0,
            due_ns: 0,
            on_error,
        }
    }

    /// Says that taps tell what comes in from what goes out.
    pub fn set_knows_direction(&mut self) {
        self.tracker.set_knows_direction();
    }

    /// Names the tap of an interface.
    pub fn name_tap(&mut self, interface: u32, name: &str) {
        self.tracker.name_tap(interface, name);
    }

    /// Says what to add to the tap's clock to get UNIX time, nanoseconds; at first nothing.
    pub fn set_unix_offset(&mut self, offset_ns: i64) {
        self.tracker.set_unix_offset(offset_ns);
    }

    /// Judges what is over at `now_ns` on the tap's clock. What was due earlier is judged as of then,
    /// so that it does not matter how often one looks.
    pub fn advance(&mut self, now_ns: u64) {
        let mut reached_ns = 0;
        while let Some(due_ns) = self.next_deadline()
            && reached_ns < due_ns
            && due_ns < now_ns
        {
            self.advance_to(due_ns);
            reached_ns = due_ns;
        }
        self.advance_to(now_ns);
        self.due_ns = self.next_deadline().unwrap_or(u64::MAX);
    }

    /// The same for callers with a clock of packets: to be called before and after each, it costs a
    /// comparison unless there is something to do.
    pub fn keep_up(&mut self, now_ns: u64) {
        if now_ns >= self.due_ns {
            self.advance(now_ns);
        }
    }

    fn advance_to(&mut self, now_ns: u64) {
        self.tracker.advance(now_ns);
        self.judge(now_ns);
    }

    /// When something will be over if nothing more is told, on the tap's clock.
    pub fn next_deadline(&self) -> Option<u64> {
        let deadlines = [
            self.tracker.next_deadline(),
            self.legs.next_deadline(),
            self.history.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Judges everything that is left; what was learned stays.
    pub fn end_flows(&mut self) {
        self.tracker.finish();
        self.judge(u64::MAX);
        self.due_ns = 0;
    }

    /// Judges everything that is left and pushes it out.
    pub fn finish(&mut self) {
        self.end_flows();
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
            unused: self.unused + self.history.spare(),
            unfinished: self.unfinished,
            revised: self.revised,
            causes: self.causes.clone(),
            lost_verdicts: self
                .sinks
                .losses()
                .map(|loss| (loss.output, loss.kind, loss.verdicts))
                .collect(),
        }
    }

    fn judge(&mut self, now_ns: u64) {
        for event in self.tracker.take_events() {
            self.legs.take(event, now_ns);
        }
        self.legs.advance(now_ns);
        let mut ready = self.legs.take_ready();
        for connection in ready.drain(..) {
            let interception = self.interceptors.look(&connection, &self.knowledge);
            let judged = judge(&connection, interception);
            if !connection.goes_on {
                self.count(&judged);
            } else if judged.judgement != Judgement::Established {
                continue;
            }
            let verdicts = self.history.take(judged, now_ns);
            self.give(verdicts);
        }
        self.legs.reuse(ready);
        let verdicts = self.history.advance(now_ns);
        self.give(verdicts);
    }

    fn count(&mut self, judged: &Judged) {
        match &judged.judgement {
            Judgement::Established => self.established += 1,
            Judgement::Unused => self.unused += 1,
            Judgement::Unfinished => self.unfinished += 1,
            // Counted when its verdict is given, if it is.
            Judgement::Failed(_) => {}
        }
    }

    fn give(&mut self, verdicts: Vec<Verdict>) {
        for verdict in verdicts {
            if verdict.revises.is_some() {
                self.revised += 1;
            } else {
                *self.causes.entry(verdict.cause.name()).or_default() += 1;
            }
            for error in self.sinks.verdict(&verdict) {
                (self.on_error)(&error);
            }
        }
    }
}

impl Receiver for Pipeline {
    fn observation(&mut self, observation: &Observation) {
        self.due_ns = 0;
        self.tracker.observation(observation);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.due_ns = 0;
        self.tracker.chunk(head, bytes);
    }
}
