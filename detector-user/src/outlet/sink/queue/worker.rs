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

/// Pauses between attempts at a sink that takes nothing at the moment.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// When to try again to put something on a disk that had no room for it.
const SPILL_AGAIN: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    sink: Box<dyn Sink>,
    shared: Arc<Shared>,
    /// What is there is older than all that waits in memory.
    spill: Option<Spill>,
    /// There was no room on disk, and it is not tried before.
    spill_at: Option<Instant>,
    /// Bytes on disk that cannot be read in this process.
    unreadable: u64,
    delivered: Option<Delivered>,
    pause: Duration,
    /// The sink takes nothing before.
    retry_at: Option<Instant>,
    ticked: Instant,
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
        }
    }

    pub(super) fn run(mut self, done: &Sender<()>) {
        loop {
            match self.next() {
                Step::Verdict(verdict) => self.verdict(verdict),
                Step::Spilled => self.spilled(),
                Step::Spill(verdict) => self.spill(verdict),
                Step::Tick => self.tick(),
                Step::Reopen => {
                    let reopened = self.sink.reopen();
                    self.tell(reopened);
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
            let wakes = [self.retry_at.filter(|at| *at > now), state.end];
            let tick_at = self.ticked + TICK;
            let wake = wakes.into_iter().flatten().fold(tick_at, Instant::min);
            let wait = wake.saturating_duration_since(now);
            let waited = shared.changed.wait_timeout(state, wait);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn situation(&self, now: Instant) -> Situation {
        Situation {
            now,
            is_away: self.retry_at.is_some_and(|at| at > now),
            has_spilled: self.spilled_bytes() > 0,
            can_spill: self.can_spill(now),
            is_tick_due: now >= self.ticked + TICK,
        }
    }

    fn spilled_bytes(&self) -> u64 {
        self.spill.as_ref().map_or(0, Spill::bytes)
    }

    fn can_spill(&self, now: Instant) -> bool {
        self.spill.is_some() && self.spill_at.is_none_or(|at| now >= at)
    }

    /// Writes a verdict from memory.
    fn verdict(&mut self, verdict: Arc<Verdict>) {
        match self.write(&verdict) {
            Ok(()) => self.note(&verdict),
            Err(error) if error.is_temporary() => {
                self.shared.lock().put_back(verdict);
                self.away(error);
            }
            Err(error) => self.failed(error),
        }
    }

    /// Writes the oldest verdict that waits on disk. It was noted when it was put there.
    fn spilled(&mut self) {
        let output = self.sink.name();
        let Some(mut spill) = self.spill.take() else {
            return;
        };
        let broken = match spill.first() {
            Ok(Some(verdict)) => {
                match self.write(verdict) {
                    Err(error) if error.is_temporary() => self.away(error),
                    written => {
                        let taken = spill.take();
                        self.tell(taken.map_err(|source| SinkError::Spill { output, source }));
                        if let Err(error) = written {
                            self.failed(error);
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
        self.shared.lock().lose(error, damaged);
        if spill.bytes() == 0 {
            // There is room again.
            self.spill_at = None;
        }
        match broken {
            None => self.spill = Some(spill),
            Some(source) => self.give_up(&spill, source),
        }
    }

    /// Nothing more can be read from disk: it stays for another start, and does not hold up the others.
    fn give_up(&mut self, spill: &Spill, source: std::io::Error) {
        let (output, bytes) = (self.sink.name(), spill.bytes());
        self.unreadable = bytes;
        let mut state = self.shared.lock();
        state.no_room = None;
        state.tell(SinkError::SpillUnreadable {
            output,
            bytes,
            source,
        });
    }

    /// Puts a verdict on disk, or back where it was.
    fn spill(&mut self, verdict: Arc<Verdict>) {
        let output = self.sink.name();
        let pushed = self.spill.as_mut().map(|spill| spill.push(&verdict));
        let error = match pushed {
            Some(Ok(true)) => {
                self.spill_at = None;
                let mut state = self.shared.lock();
                (state.has_in_hand, state.no_room) = (false, None);
                drop(state);
                return self.note(&verdict);
            }
            None | Some(Ok(false)) => SinkError::SpillFull { output },
            Some(Err(source)) => SinkError::Spill { output, source },
        };
        self.spill_at = Some(Instant::now() + SPILL_AGAIN);
        let mut state = self.shared.lock();
        state.no_room = Some(error.kind());
        state.tell(error);
        state.put_back(verdict);
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let folded = self.sink.folded();
        self.sink.verdict(verdict)?;
        (self.pause, self.retry_at) = (RETRY_FIRST, None);
        let mut state = self.shared.lock();
        (state.has_in_hand, state.untold) = (false, self.sink.untold());
        match self.sink.folded() - folded {
            0 => state.status.written += 1,
            more => state.status.folded += more,
        }
        Ok(())
    }

    /// Notes that a verdict got out, or will without being given here once more.
    fn note(&mut self, verdict: &Verdict) {
        if let Some(Err(source)) = self.delivered.as_mut().map(|it| it.note(verdict)) {
            self.delivered = None;
            let output = self.sink.name();
            self.tell(Err(SinkError::Delivered { output, source }));
        }
    }

    fn tick(&mut self) {
        self.ticked = Instant::now();
        let ticked = self.sink.tick();
        self.tell(ticked);
        self.look_at_repeats();
    }

    /// Counts repeats whose count cannot be kept.
    fn look_at_repeats(&mut self) {
        let output = self.sink.name();
        let mut state = self.shared.lock();
        state.untold = self.sink.untold();
        state.lose(SinkError::Overflow { output }, self.sink.take_forgotten());
    }

    /// The sink takes nothing at the moment: another attempt later.
    fn away(&mut self, error: SinkError) {
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(RETRY_LONGEST);
        self.tell(Err(error));
    }

    /// A verdict is lost to this sink.
    fn failed(&self, error: SinkError) {
        let mut state = self.shared.lock();
        state.has_in_hand = false;
        if error.is_final() {
            state.closed = true;
            state.waiting.clear();
            state.news.push(error);
        } else {
            state.lose(error, 1);
        }
    }

    /// Tells of a failure that costs no verdict.
    fn tell(&self, result: Result<(), SinkError>) {
        if let Err(error) = result {
            self.shared.lock().tell(error);
        }
    }

    /// Whatever did not get out waits on disk, or is lost.
    fn end(mut self) {
        // There may be room by now, and there is no later. Before the sink is asked for anything more,
        // which may take longer than there is.
        self.spill_at = None;
        while self.can_spill(Instant::now())
            && let Some(verdict) = self.take()
        {
            self.spill(verdict);
        }
        self.count_left();
        let flushed = self.sink.flush();
        self.tell(flushed);
        self.look_at_repeats();
        let output = self.sink.name();
        let mut state = self.shared.lock();
        if !state.closed {
            let untold = std::mem::take(&mut state.untold);
            state.lose(SinkError::Undelivered { output }, untold);
        }
    }

    /// Counts what is in memory as lost.
    fn count_left(&self) {
        let output = self.sink.name();
        let mut state = self.shared.lock();
        state.status.spilled_bytes = self.spilled_bytes() + self.unreadable;
        let left = std::mem::take(&mut state.waiting).len() as u64;
        match state.no_room {
            // Told already.
            Some(kind) => state.count(kind, left),
            None => state.lose(SinkError::Undelivered { output }, left),
        }
    }

    fn take(&self) -> Option<Arc<Verdict>> {
        self.shared.lock().take()
    }
}
