//! The far end of a queue: a sink's thread.

use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::super::delivered::Delivered;
use super::super::spill::Spill;
use super::super::{Sink, SinkError};
use super::{Shared, State, TICK};
use crate::verdict::Verdict;

/// Pauses between attempts at a sink that takes nothing at the moment.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// When to try again to put something on a disk that had no room for it.
const SPILL_AGAIN: Duration = Duration::from_secs(5);

/// What to do next.
enum Step {
    /// Give the sink a verdict from memory.
    Verdict(Arc<Verdict>),
    /// Give the sink the oldest verdict on disk.
    Spilled,
    /// Put a verdict on disk.
    Spill(Arc<Verdict>),
    Tick,
    Reopen,
    End,
}

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

    /// Waits for something to do.
    fn next(&mut self) -> Step {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        loop {
            let now = Instant::now();
            state.status.spilled_bytes = self.spilled_bytes() + self.unreadable;
            if let Some(step) = self.step(&mut state, now) {
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

    /// What there is to do now. A queue that is half full goes to disk before the sink gets its next
    /// verdict: one that is slow is no better than one that is away.
    fn step(&self, state: &mut State, now: Instant) -> Option<Step> {
        let is_away = self.retry_at.is_some_and(|at| at > now);
        let has_spilled = self.spilled_bytes() > 0;
        let is_half_full = state.waiting.len() * 2 >= state.status.capacity;
        let is_ending = state.end.is_some();
        if std::mem::take(&mut state.reopen) {
            return Some(Step::Reopen);
        }
        // With nothing but what is on disk, a sink that is away is not waited for.
        let has_nothing = state.waiting.is_empty() && (is_away || !has_spilled);
        if state.closed || state.end.is_some_and(|end| has_nothing || now >= end) {
            return Some(Step::End);
        }
        if now >= self.ticked + TICK {
            return Some(Step::Tick);
        }
        if self.can_spill(now)
            && (is_half_full || is_ending && is_away)
            && let Some(verdict) = state.take()
        {
            return Some(Step::Spill(verdict));
        }
        if is_away {
            return None;
        }
        if has_spilled {
            return Some(Step::Spilled);
        }
        state.take().map(Step::Verdict)
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

impl State {
    /// The oldest verdict in memory, in the worker's hands from here on.
    fn take(&mut self) -> Option<Arc<Verdict>> {
        let oldest = self.waiting.pop_front();
        self.has_in_hand = oldest.is_some();
        oldest
    }
}
