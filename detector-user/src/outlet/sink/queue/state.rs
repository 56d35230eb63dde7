//! The state that a queue's two ends share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::outlet::sink::SinkError;
use crate::outlet::sink::delivered::Earlier;
use crate::verdict::Verdict;

/// Time between two ticks of a sink.
pub(super) const TICK: Duration = Duration::from_secs(1);

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
pub(super) struct State {
    pub(super) waiting: VecDeque<Arc<Verdict>>,
    /// One was taken from there, and it is not known yet what becomes of it.
    pub(super) has_in_hand: bool,
    /// Verdicts that the sink has counted as repeats and not told of.
    pub(super) untold: u64,
    /// What the process before this one gave.
    pub(super) earlier: Earlier,
    /// The kind of failure for which nothing can be put on disk at the moment.
    pub(super) no_room: Option<&'static str>,
    pub(super) status: SinkStatus,
    pub(super) news: Vec<SinkError>,
    pub(super) reopen: bool,
    /// Until when to try, once it is to end.
    pub(super) end: Option<Instant>,
    /// Its reader is gone: it takes nothing any more.
    pub(super) closed: bool,
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

impl Shared {
    /// The state is whole between any two statements, so that a panic elsewhere harms nothing.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.status.capacity
    }

    /// Puts a verdict back in front of the others; it is the oldest, and the one to go if others came
    /// meanwhile.
    pub(super) fn put_back(&mut self, verdict: Arc<Verdict>) {
        self.has_in_hand = false;
        if self.is_full() {
            self.overflow();
        } else {
            self.waiting.push_front(verdict);
        }
    }

    /// Counts one verdict that there was no room for, in memory and on disk.
    pub(super) fn overflow(&mut self) {
        let output = self.status.output;
        match self.no_room {
            Some(kind) => self.count(kind, 1),
            None => self.lose(SinkError::Overflow { output }, 1),
        }
    }

    /// Counts verdicts as lost; the first for each reason is news.
    pub(super) fn lose(&mut self, error: SinkError, number: u64) {
        if number > 0 {
            let kind = error.kind();
            self.tell(error);
            self.count(kind, number);
        }
    }

    pub(super) fn count(&mut self, kind: &'static str, number: u64) {
        *self.status.lost.entry(kind).or_default() += number;
    }

    /// Tells of a failure, each kind once.
    pub(super) fn tell(&mut self, error: SinkError) {
        if !self.status.lost.contains_key(error.kind()) {
            self.status.lost.insert(error.kind(), 0);
            self.news.push(error);
        }
    }

    /// The oldest verdict in memory, in the worker's hands from here on.
    pub(super) fn take(&mut self) -> Option<Arc<Verdict>> {
        let oldest = self.waiting.pop_front();
        self.has_in_hand = oldest.is_some();
        oldest
    }
}
