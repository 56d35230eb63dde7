//! A sink on a thread of its own behind a bounded queue: however long it takes, nobody waits for it.

mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::delivered::{Delivered, Earlier};
use super::spill::Spill;
use super::{Sink, SinkError};
use crate::host::privileges::give_up_all;
use crate::verdict::Verdict;
use worker::Worker;

/// How often a sink is asked whether time alone calls for something.
const TICK: Duration = Duration::from_secs(1);

/// What became of the verdicts that a sink was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// What the command line calls it.
    pub output: &'static str,
    /// Verdicts that wait in memory, the one that is being written among them.
    pub queued: usize,
    /// How many may.
    pub capacity: usize,
    /// Bytes of verdicts that wait on disk.
    pub spilled_bytes: u64,
    /// Verdicts written.
    pub written: u64,
    /// Repeats that were counted instead.
    pub folded: u64,
    /// Verdicts that had got out before a restart.
    pub already_delivered: u64,
    /// Verdicts that were lost, by reason.
    pub lost: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Verdict>>,
    /// One was taken from there, and it is not known yet what becomes of it.
    has_in_hand: bool,
    /// Verdicts that the sink has counted as repeats and not told of.
    untold: u64,
    /// What the process before this one gave.
    earlier: Earlier,
    /// The kind of failure for which nothing can be put on disk at the moment.
    no_room: Option<&'static str>,
    status: SinkStatus,
    news: Vec<SinkError>,
    reopen: bool,
    /// Until when to try, once it is to end.
    end: Option<Instant>,
    /// Its reader is gone: it takes nothing any more.
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// The state is whole between any two statements, so that a panic elsewhere harms nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The near end of a sink's queue.
pub(super) struct Queue {
    name: &'static str,
    shared: Arc<Shared>,
    is_done: Receiver<()>,
}

/// What a queue has beside its sink.
#[derive(Default)]
pub(super) struct Extras {
    pub(super) capacity: usize,
    pub(super) spill: Option<Spill>,
    pub(super) delivered: Option<Delivered>,
    pub(super) earlier: Earlier,
}

impl Queue {
    /// Starts the sink's thread.
    pub(super) fn start(sink: Box<dyn Sink>, extras: Extras) -> std::io::Result<Self> {
        let name = sink.name();
        let shared = Arc::<Shared>::default();
        {
            let mut state = shared.lock();
            state.status.output = name;
            state.status.capacity = extras.capacity.max(1);
            state.earlier = extras.earlier;
        }
        let (done, is_done) = channel();
        let worker = Worker::new(sink, Arc::clone(&shared), extras.spill, extras.delivered);
        thread::Builder::new()
            .name(format!("sink-{name}"))
            .spawn(move || {
                give_up_all();
                worker.run(&done);
            })?;
        Ok(Self {
            name,
            shared,
            is_done,
        })
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Puts a verdict behind the others, unless the process before this one has given it. Where there
    /// is no room the oldest is lost.
    pub(super) fn push(&self, verdict: &Arc<Verdict>) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        if state.earlier.take(verdict) {
            state.status.already_delivered += 1;
            return;
        }
        if state.is_full() {
            state.waiting.pop_front();
            state.overflow();
        }
        state.waiting.push_back(Arc::clone(verdict));
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Failures of a kind not seen before, since this was asked last.
    pub(super) fn take_news(&self) -> Vec<SinkError> {
        std::mem::take(&mut self.shared.lock().news)
    }

    pub(super) fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    pub(super) fn status(&self) -> SinkStatus {
        let state = self.shared.lock();
        SinkStatus {
            queued: state.waiting.len() + usize::from(state.has_in_hand),
            ..state.status.clone()
        }
    }

    /// Asks the sink to end, with what waits written until `end`.
    pub(super) fn ask_to_end(&self, end: Instant) {
        self.shared.lock().end = Some(end);
        self.shared.changed.notify_one();
    }

    /// Waits for it to have ended, a little longer than it was given. One that hangs is left behind,
    /// and what it still has is counted.
    pub(super) fn await_end(&self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now()) + TICK;
        if self.is_done.recv_timeout(left).is_err() {
            let mut state = self.shared.lock();
            let number = state.waiting.len() as u64 + u64::from(state.has_in_hand) + state.untold;
            state.waiting.clear();
            state.closed = true;
            let output = self.name;
            state.lose(SinkError::Undelivered { output }, number);
        }
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting.len() >= self.status.capacity
    }

    /// Puts a verdict back in front of the others; it is the oldest, and the one to go if others came
    /// meanwhile.
    fn put_back(&mut self, verdict: Arc<Verdict>) {
        self.has_in_hand = false;
        if self.is_full() {
            self.overflow();
        } else {
            self.waiting.push_front(verdict);
        }
    }

    /// Counts one verdict that there was no room for, in memory and on disk.
    fn overflow(&mut self) {
        let output = self.status.output;
        match self.no_room {
            Some(kind) => self.count(kind, 1),
            None => self.lose(SinkError::Overflow { output }, 1),
        }
    }

    /// Counts verdicts as lost; the first for each reason is news.
    fn lose(&mut self, error: SinkError, number: u64) {
        if number > 0 {
            let kind = error.kind();
            self.tell(error);
            self.count(kind, number);
        }
    }

    fn count(&mut self, kind: &'static str, number: u64) {
        *self.status.lost.entry(kind).or_default() += number;
    }

    /// Tells of a failure, each kind once.
    fn tell(&mut self, error: SinkError) {
        if !self.status.lost.contains_key(error.kind()) {
            self.status.lost.insert(error.kind(), 0);
            self.news.push(error);
        }
    }
}

#[cfg(test)]
mod tests;
