//! The far end of a queue: a sink's thread.

use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::schedule::{Situation, Step};
use super::state::{Shared, TICK};
use crate::outlet::sink::delivered::Delivered;
use crate::outlet::sink::spill::Spill;
use crate::outlet::sink::{Sink, SinkError};
use crate::verdict::Verdict;

/// Pauses between attempts at a sink that accepts nothing at the moment.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// Pause before another attempt to spill to a disk that had no room.
const SPILL_AGAIN: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    sink: Box<dyn Sink>,
    shared: Arc<Shared>,
    /// Spilled verdicts; they are older than all in memory.
    spill: Option<Spill>,
    /// Time of the next attempt to spill, after one failed.
    spill_at: Option<Instant>,
    /// Bytes on disk that cannot be read in this process.
    unreadable: u64,
    delivered: Option<Delivered>,
    pause: Duration,
    /// Time of the next attempt to write, after the sink accepted nothing.
    retry_at: Option<Instant>,
    ticked: Instant,
    /// It wrote since then.
    wrote: bool,
}

impl Worker {
    pub(super) fn new(
        sink: Box<dyn Sink>,
        shared: Arc<Shared>,
        spill: Option<Spill>,
        delivered: Option<Delivered>,
    ) -> Self {
        Self {
            sink,
            shared,
            spill,
            spill_at: None,
            unreadable: 0,
            delivered,
            pause: RETRY_FIRST,
            retry_at: None,
            ticked: Instant::now(),
            wrote: false,
        }
    }

    pub(super) fn run(mut self, done: &Sender<()>) {
        loop {
            match self.next() {
                Step::Verdict(verdict) => self.write_queued(verdict),
                Step::Spilled => self.write_spilled(),
                Step::Spill(verdict) => self.spill(verdict),
                Step::Tick => self.tick(),
                Step::Reopen => {
                    let reopened = self.sink.reopen();
                    self.report(reopened);
                }
                Step::End => break,
            }
        }
        self.end();
        let _ = done.send(());
    }

    /// Waits for the next step.
    fn next(&mut self) -> Step {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        loop {
            let now = Instant::now();
            state.status.spilled_bytes = self.spilled_bytes() + self.unreadable;
            if let Some(step) = self.situation(now).step(&mut state) {
                return step;
            }
            let retry_at = self.retry_at.filter(|at| *at > now);
            let wakes = [retry_at, state.end, self.tick_at()].into_iter().flatten();
            state = if let Some(wake) = wakes.min() {
                let wait = wake.saturating_duration_since(now);
                let waited = shared.changed.wait_timeout(state, wait);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let woken = shared.changed.wait(state);
                woken.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    fn situation(&self, now: Instant) -> Situation {
        Situation {
            now,
            is_away: self.retry_at.is_some_and(|at| at > now),
            has_spilled: self.spilled_bytes() > 0,
            can_spill: self.can_spill(now),
            is_tick_due: self.tick_at().is_some_and(|at| now >= at),
        }
    }

    /// Returns the time of the next tick; `None` if a verdict has to come before.
    fn tick_at(&self) -> Option<Instant> {
        let is_wanted = self.wrote || self.sink.has_periodic_work();
        is_wanted.then(|| self.ticked + TICK)
    }

    fn spilled_bytes(&self) -> u64 {
        self.spill.as_ref().map_or(0, Spill::bytes)
    }

    fn can_spill(&self, now: Instant) -> bool {
        self.spill.is_some() && self.spill_at.is_none_or(|at| now >= at)
    }

    /// Writes a verdict from memory.
    fn write_queued(&mut self, verdict: Arc<Verdict>) {
        match self.write(&verdict) {
            Ok(()) => self.record(&verdict),
            Err(error) if error.is_temporary() => {
                self.shared.lock().put_back(verdict);
                self.retry_later(error);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Writes the oldest spilled verdict. It was recorded when it was spilled.
    fn write_spilled(&mut self) {
        let output = self.sink.name();
        let Some(mut spill) = self.spill.take() else {
            return;
        };
        let broken = match spill.first() {
            Ok(Some(verdict)) => {
                match self.write(verdict) {
                    Err(error) if error.is_temporary() => self.retry_later(error),
                    written => {
                        let removed = spill.remove_first();
                        self.report(removed.map_err(|source| SinkError::Spill { output, source }));
                        if let Err(error) = written {
                            self.fail(error);
                        }
                    }
                }
                None
            }
            Ok(None) => None,
            Err(source) => Some(source),
        };
        let damaged = spill.take_damaged();
        let error = SinkError::SpillDamaged { output };
        self.shared.lock().record_loss(error, damaged);
        if spill.bytes() == 0 {
            // There is room again.
            self.spill_at = None;
        }
        match broken {
            None => self.spill = Some(spill),
            Some(source) => self.give_up(&spill, source),
        }
    }

    /// Abandons a spill that cannot be read: it stays for the next start, and delays no later verdict.
    fn give_up(&mut self, spill: &Spill, source: std::io::Error) {
        let (output, bytes) = (self.sink.name(), spill.bytes());
        self.unreadable = bytes;
        let mut state = self.shared.lock();
        state.no_room = None;
        state.report(SinkError::SpillUnreadable {
            output,
            bytes,
            source,
        });
    }

    /// Spills a verdict to disk, or returns it to the queue.
    fn spill(&mut self, verdict: Arc<Verdict>) {
        let output = self.sink.name();
        let pushed = self.spill.as_mut().map(|spill| spill.push(&verdict));
        let error = match pushed {
            Some(Ok(true)) => {
                self.spill_at = None;
                let mut state = self.shared.lock();
                (state.has_in_hand, state.no_room) = (false, None);
                drop(state);
                return self.record(&verdict);
            }
            None | Some(Ok(false)) => SinkError::SpillFull { output },
            Some(Err(source)) => SinkError::Spill { output, source },
        };
        self.spill_at = Some(Instant::now() + SPILL_AGAIN);
        let mut state = self.shared.lock();
        state.no_room = Some(error.kind());
        state.report(error);
        state.put_back(verdict);
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let folded = self.sink.folded();
        self.wrote = true;
        self.sink.write(verdict)?;
        (self.pause, self.retry_at) = (RETRY_FIRST, None);
        let mut state = self.shared.lock();
        (state.has_in_hand, state.unreported) = (false, self.sink.unreported());
        match self.sink.folded() - folded {
            0 => state.status.written += 1,
            more => state.status.folded += more,
        }
        Ok(())
    }

    /// Records a verdict as delivered.
    fn record(&mut self, verdict: &Verdict) {
        if let Some(Err(source)) = self.delivered.as_mut().map(|it| it.record(verdict)) {
            self.delivered = None;
            let output = self.sink.name();
            self.report(Err(SinkError::Delivered { output, source }));
        }
    }

    fn tick(&mut self) {
        (self.ticked, self.wrote) = (Instant::now(), false);
        let ticked = self.sink.tick();
        self.report(ticked);
        self.count_repeats();
    }

    /// Counts repeats whose own count was dropped as lost.
    fn count_repeats(&mut self) {
        let output = self.sink.name();
        let mut state = self.shared.lock();
        state.unreported = self.sink.unreported();
        state.record_loss(SinkError::Overflow { output }, self.sink.take_dropped());
    }

    /// Schedules another attempt at a sink that accepts nothing at the moment.
    fn retry_later(&mut self, error: SinkError) {
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(RETRY_LONGEST);
        self.report(Err(error));
    }

    /// Counts a verdict as lost.
    fn fail(&self, error: SinkError) {
        let mut state = self.shared.lock();
        state.has_in_hand = false;
        if error.is_final() {
            state.closed = true;
            state.waiting.clear();
            state.errors.push(error);
        } else {
            state.record_loss(error, 1);
        }
    }

    /// Reports a failure that loses no verdict.
    fn report(&self, result: Result<(), SinkError>) {
        if let Err(error) = result {
            self.shared.lock().report(error);
        }
    }

    /// Spills the queue, or counts it as lost, and flushes the sink.
    fn end(mut self) {
        // There may be room by now, and there is no later attempt. Before the flush, which may take
        // longer than the deadline.
        self.spill_at = None;
        while self.can_spill(Instant::now())
            && let Some(verdict) = self.pop()
        {
            self.spill(verdict);
        }
        self.count_left();
        let flushed = self.sink.flush();
        self.report(flushed);
        self.count_repeats();
        let output = self.sink.name();
        let mut state = self.shared.lock();
        if !state.closed {
            let unreported = std::mem::take(&mut state.unreported);
            state.record_loss(SinkError::Undelivered { output }, unreported);
        }
    }

    /// Counts the verdicts in memory as lost.
    fn count_left(&self) {
        let output = self.sink.name();
        let mut state = self.shared.lock();
        state.status.spilled_bytes = self.spilled_bytes() + self.unreadable;
        let left = std::mem::take(&mut state.waiting).len() as u64;
        match state.no_room {
            // Reported already.
            Some(kind) => state.count(kind, left),
            None => state.record_loss(SinkError::Undelivered { output }, left),
        }
    }

    fn pop(&self) -> Option<Arc<Verdict>> {
        self.shared.lock().pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::sink::queue::tests::scripted::Scripted;
    use crate::verdict::tests::pinning;

    #[test]
    fn a_sink_without_periodic_work_is_called_once_after_it_wrote() {
        let sink = Arc::<Scripted>::default();
        let mut worker = Worker::new(Box::new(sink), Arc::default(), None, None);
        assert_eq!(worker.tick_at(), None);
        worker.write(&pinning()).unwrap();
        assert!(worker.tick_at().is_some());
        worker.tick();
        assert_eq!(worker.tick_at(), None);
    }
}
