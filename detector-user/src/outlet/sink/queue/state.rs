//! The state that a queue's two ends share.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::waiting::Waiting;
use crate::outlet::sink::SinkError;
use crate::outlet::sink::delivered::Earlier;
use crate::verdict::Verdict;

/// Time between two ticks of a sink.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// The numbers of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// Its name on the command line.
    pub output: &'static str,
    /// Verdicts queued in memory, including the one that is being written.
    pub queued: usize,
    /// Maximum verdicts queued in memory.
    pub capacity: usize,
    /// Size of spilled verdicts, bytes.
    pub spilled_bytes: u64,
    /// Verdicts written.
    pub written: u64,
    /// Repeats that were counted instead of written.
    pub folded: u64,
    /// Verdicts that were delivered before a restart.
    pub already_delivered: u64,
    /// Lost verdicts by reason.
    pub lost: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) waiting: Waiting,
    /// One was removed from there, and is being written.
    pub(super) has_in_hand: bool,
    /// Repeats that the sink has counted in no written entry yet.
    pub(super) unreported: u64,
    /// The verdicts that the previous process delivered.
    pub(super) earlier: Earlier,
    /// The kind of failure for which nothing can be spilled at the moment.
    pub(super) no_room: Option<&'static str>,
    pub(super) status: SinkStatus,
    pub(super) errors: Vec<SinkError>,
    pub(super) reopen: bool,
    /// Deadline for queued verdicts, once the sink is to end.
    pub(super) end: Option<Instant>,
    /// Its reader is gone: it accepts nothing any more.
    pub(super) closed: bool,
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

impl Shared {
    /// Locks the state. It is consistent between any two statements, so that a panic does no harm.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.status.capacity
    }

    /// Returns a verdict to the front; it is the oldest, and is dropped if the queue filled meanwhile.
    pub(super) fn put_back(&mut self, verdict: Arc<Verdict>) {
        self.has_in_hand = false;
        if self.is_full() {
            self.overflow();
        } else {
            self.waiting.push_front(verdict);
        }
    }

    /// Counts one verdict that fits neither memory nor disk.
    pub(super) fn overflow(&mut self) {
        let output = self.status.output;
        match self.no_room {
            Some(kind) => self.count(kind, 1),
            None => self.record_loss(SinkError::Overflow { output }, 1),
        }
    }

    /// Counts verdicts as lost; the first for each reason is reported.
    pub(super) fn record_loss(&mut self, error: SinkError, number: u64) {
        if number > 0 {
            let kind = error.kind();
            self.report(error);
            self.count(kind, number);
        }
    }

    pub(super) fn count(&mut self, kind: &'static str, number: u64) {
        *self.status.lost.entry(kind).or_default() += number;
    }

    /// Reports a failure, each kind once.
    pub(super) fn report(&mut self, error: SinkError) {
        if !self.status.lost.contains_key(error.kind()) {
            self.status.lost.insert(error.kind(), 0);
            self.errors.push(error);
        }
    }

    /// Removes the oldest verdict for the worker to write.
    pub(super) fn pop(&mut self) -> Option<Arc<Verdict>> {
        let oldest = self.waiting.pop_front();
        self.has_in_hand = oldest.is_some();
        oldest
    }
}
