//! A sink on a thread of its own behind a bounded queue: the caller never waits for it.

mod schedule;
mod state;
mod waiting;
mod worker;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use super::delivered::{Delivered, Earlier};
use super::spill::Spill;
use super::{Sink, SinkError};
use crate::host::privileges::give_up_all;
use crate::verdict::Verdict;
use state::{Shared, TICK};
use worker::Worker;

pub use state::SinkStatus;

/// The near end of a sink's queue.
pub(super) struct Queue {
    name: &'static str,
    shared: Arc<Shared>,
    is_done: Receiver<()>,
}

/// Parameters of a queue beside its sink.
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

    /// Appends a verdict, unless the previous process had delivered it. If the queue is full, one is dropped:
    /// see [`waiting::Waiting::replace`].
    pub(super) fn push(&self, verdict: &Arc<Verdict>) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        if state.earlier.remove(verdict) {
            state.status.already_delivered += 1;
            return;
        }
        if state.is_full() {
            state.waiting.replace(Arc::clone(verdict));
            state.overflow();
        } else {
            state.waiting.push_back(Arc::clone(verdict));
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Returns, and removes, failures of a kind that was not reported before.
    pub(super) fn take_errors(&self) -> Vec<SinkError> {
        std::mem::take(&mut self.shared.lock().errors)
    }

    /// Records that failures of a kind were reported.
    pub(super) fn mark_reported(&self, error: &SinkError) {
        let mut state = self.shared.lock();
        state.status.lost.entry(error.kind()).or_default();
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

    /// Asks the sink to end; queued verdicts are written until `end`.
    pub(super) fn request_end(&self, end: Instant) {
        self.shared.lock().end = Some(end);
        self.shared.changed.notify_one();
    }

    /// Waits until it has ended, a little longer than `end`. A sink that hangs is abandoned, and its
    /// verdicts are counted as lost.
    pub(super) fn await_end(&self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now()) + TICK;
        if self.is_done.recv_timeout(left).is_err() {
            let mut state = self.shared.lock();
            let number =
                state.waiting.len() as u64 + u64::from(state.has_in_hand) + state.unreported;
            state.waiting.clear();
            state.closed = true;
            let output = self.name;
            state.record_loss(SinkError::Undelivered { output }, number);
        }
    }
}

#[cfg(test)]
mod tests;
