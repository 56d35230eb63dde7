//! A sink on a thread of its own behind a bounded queue: however long it takes, nobody waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::delivered::Delivered;
use super::spill::Spill;
use super::{Sink, SinkError};
use crate::privileges::give_up_all;
use crate::verdict::Verdict;

/// How often a sink is asked whether time alone calls for something.
const TICK: Duration = Duration::from_secs(1);
/// Pauses between attempts at a sink that takes nothing at the moment.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// What became of the verdicts that a sink was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// What the command line calls it.
    pub output: &'static str,
    /// Verdicts that wait in memory.
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
        }
        let (done, is_done) = channel();
        let worker = Worker {
            sink,
            shared: Arc::clone(&shared),
            spill: extras.spill,
            delivered: extras.delivered,
            pause: RETRY_FIRST,
            retry_at: None,
            ticked: Instant::now(),
        };
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

    /// Puts a verdict behind the others. Where there is no room the oldest is lost.
    pub(super) fn push(&self, verdict: &Arc<Verdict>) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        if state.waiting.len() >= state.status.capacity {
            state.waiting.pop_front();
            let output = self.name;
            lose(&mut state, SinkError::Overflow { output }, 1);
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
            queued: state.waiting.len(),
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
            let number = state.waiting.len() as u64;
            state.waiting.clear();
            let output = self.name;
            lose(&mut state, SinkError::Undelivered { output }, number);
        }
    }
}

/// Counts verdicts as lost; the first for each reason is news.
fn lose(state: &mut State, error: SinkError, number: u64) {
    if number == 0 {
        return;
    }
    let known = state.status.lost.contains_key(error.kind());
    *state.status.lost.entry(error.kind()).or_default() += number;
    if !known {
        state.news.push(error);
    }
}

/// What to do next.
enum Step {
    Verdict(Arc<Verdict>),
    Spilled,
    Spill(VecDeque<Arc<Verdict>>),
    Tick,
    Reopen,
    End,
}

/// The far end: the sink and its thread.
struct Worker {
    sink: Box<dyn Sink>,
    shared: Arc<Shared>,
    spill: Option<Spill>,
    delivered: Option<Delivered>,
    pause: Duration,
    /// The sink takes nothing before.
    retry_at: Option<Instant>,
    ticked: Instant,
}

impl Worker {
    fn run(mut self, done: &Sender<()>) {
        loop {
            match self.next() {
                Step::Verdict(verdict) => self.verdict(verdict),
                Step::Spilled => self.spilled(),
                Step::Spill(verdicts) => self.spill(verdicts),
                Step::Tick => {
                    self.ticked = Instant::now();
                    let ticked = self.sink.tick();
                    self.tell(ticked);
                }
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
            let is_away = self.retry_at.is_some_and(|at| at > now);
            let has_spilled = self.spill.as_ref().is_some_and(|spill| spill.bytes() > 0);
            state.status.spilled_bytes = self.spill.as_ref().map_or(0, Spill::bytes);
            if std::mem::take(&mut state.reopen) {
                return Step::Reopen;
            }
            let is_idle = state.waiting.is_empty() && !has_spilled;
            if state.closed
                || state
                    .end
                    .is_some_and(|end| is_idle || is_away || now >= end)
            {
                return Step::End;
            }
            if !is_away && has_spilled {
                return Step::Spilled;
            }
            if !is_away && let Some(verdict) = state.waiting.pop_front() {
                return Step::Verdict(verdict);
            }
            if self.spill.is_some() && state.waiting.len() * 2 >= state.status.capacity {
                return Step::Spill(std::mem::take(&mut state.waiting));
            }
            let tick_at = self.ticked + TICK;
            if now >= tick_at {
                return Step::Tick;
            }
            let wake = self
                .retry_at
                .filter(|_| is_away)
                .map_or(tick_at, |at| at.min(tick_at));
            let wait = shared.changed.wait_timeout(state, wake - now);
            (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn verdict(&mut self, verdict: Arc<Verdict>) {
        match self.write(&verdict) {
            Ok(()) => {}
            Err(error) if error.is_temporary() => {
                self.shared.lock().waiting.push_front(verdict);
                self.away(error);
            }
            Err(error) => self.failed(error),
        }
    }

    /// Writes the oldest verdict that waits on disk.
    fn spilled(&mut self) {
        let Some(mut spill) = self.spill.take() else {
            return;
        };
        match spill.first() {
            Ok(Some(verdict)) => match self.write(verdict) {
                Err(error) if error.is_temporary() => self.away(error),
                written => {
                    spill.take();
                    if let Err(error) = written {
                        self.failed(error);
                    }
                }
            },
            Ok(None) => {}
            Err(source) => {
                let output = self.sink.name();
                self.tell(Err(SinkError::Spill { output, source }));
                // Nothing more can be read of it: what is in it stays for another start.
                return;
            }
        }
        let damaged = spill.take_damaged();
        if damaged > 0 {
            let output = self.sink.name();
            lose(
                &mut self.shared.lock(),
                SinkError::SpillDamaged { output },
                damaged,
            );
        }
        self.spill = Some(spill);
    }

    fn spill(&mut self, verdicts: VecDeque<Arc<Verdict>>) {
        let output = self.sink.name();
        for verdict in verdicts {
            let Some(spill) = &mut self.spill else {
                lose(&mut self.shared.lock(), SinkError::Overflow { output }, 1);
                continue;
            };
            match spill.push(&verdict) {
                Ok(true) => {}
                Ok(false) => lose(&mut self.shared.lock(), SinkError::SpillFull { output }, 1),
                Err(source) => lose(
                    &mut self.shared.lock(),
                    SinkError::Spill { output, source },
                    1,
                ),
            }
        }
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        if self.delivered.as_ref().is_some_and(|it| it.has(verdict)) {
            self.shared.lock().status.already_delivered += 1;
            return Ok(());
        }
        let folded = self.sink.folded();
        self.sink.verdict(verdict)?;
        (self.pause, self.retry_at) = (RETRY_FIRST, None);
        let mut state = self.shared.lock();
        match self.sink.folded() - folded {
            0 => state.status.written += 1,
            more => state.status.folded += more,
        }
        drop(state);
        if let Some(Err(source)) = self.delivered.as_mut().map(|it| it.note(verdict)) {
            self.delivered = None;
            let output = self.sink.name();
            self.tell(Err(SinkError::Delivered { output, source }));
        }
        Ok(())
    }

    /// The sink takes nothing at the moment: another attempt later.
    fn away(&mut self, error: SinkError) {
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(RETRY_LONGEST);
        self.tell(Err(error));
    }

    /// A verdict is lost to this sink.
    fn failed(&mut self, error: SinkError) {
        let mut state = self.shared.lock();
        if error.is_final() {
            state.closed = true;
            state.news.push(error);
        } else {
            lose(&mut state, error, 1);
        }
    }

    /// Tells of a failure that costs no verdict, each kind once.
    fn tell(&self, result: Result<(), SinkError>) {
        let Err(error) = result else {
            return;
        };
        let mut state = self.shared.lock();
        if !state.status.lost.contains_key(error.kind()) {
            state.status.lost.insert(error.kind(), 0);
            state.news.push(error);
        }
    }

    /// Whatever did not get out waits on disk, or is lost.
    fn end(mut self) {
        let flushed = self.sink.flush();
        self.tell(flushed);
        let (waiting, closed) = {
            let mut state = self.shared.lock();
            (std::mem::take(&mut state.waiting), state.closed)
        };
        if closed {
            return;
        }
        let output = self.sink.name();
        if self.spill.is_none() {
            let number = waiting.len() as u64;
            lose(
                &mut self.shared.lock(),
                SinkError::Undelivered { output },
                number,
            );
            return;
        }
        self.spill(waiting);
        if let Some(Err(source)) = self.spill.take().map(Spill::close) {
            self.tell(Err(SinkError::Spill { output, source }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::verdict::tests::pinning;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Takes verdicts while it is told to, or hangs.
    #[derive(Default)]
    struct Scripted {
        is_away: AtomicBool,
        hangs: AtomicBool,
        got: Mutex<Vec<u16>>,
    }

    impl Sink for Arc<Scripted> {
        fn name(&self) -> &'static str {
            "scripted"
        }

        fn verdict(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
            while self.hangs.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            if self.is_away.load(Ordering::Relaxed) {
                let socket = "/x".into();
                return Err(SinkError::JournalMissing { socket });
            }
            self.got.lock().unwrap().push(verdict.client.port);
            Ok(())
        }

        fn flush(&mut self) -> Result<(), SinkError> {
            Ok(())
        }
    }

    fn numbered(number: u16) -> Arc<Verdict> {
        let mut verdict = pinning();
        verdict.client.port = number;
        verdict.community_id = format!("1:{number}");
        Arc::new(verdict)
    }

    fn start(sink: &Arc<Scripted>, extras: Extras) -> Queue {
        Queue::start(Box::new(Arc::clone(sink)), extras).unwrap()
    }

    fn until(what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "{what} did not come");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(queue: &Queue, patience: Duration) {
        let end = Instant::now() + patience;
        queue.ask_to_end(end);
        queue.await_end(end);
    }

    #[test]
    fn one_that_hangs_holds_nobody_up_and_loses_the_oldest() {
        let sink = Arc::<Scripted>::default();
        sink.hangs.store(true, Ordering::Relaxed);
        let queue = start(
            &sink,
            Extras {
                capacity: 10,
                ..Extras::default()
            },
        );
        queue.push(&numbered(0));
        until("the first is being written", || queue.status().queued == 0);
        for number in 1..=15 {
            queue.push(&numbered(number));
        }
        assert_eq!(queue.status().queued, 10);
        assert_eq!(queue.status().lost["overflow"], 5);
        assert_eq!(queue.take_news().len(), 1, "told once");
        sink.hangs.store(false, Ordering::Relaxed);
        end(&queue, PATIENCE);
        let expected: Vec<u16> = [0].into_iter().chain(6..=15).collect();
        assert_eq!(*sink.got.lock().unwrap(), expected);
    }

    #[test]
    fn what_waits_for_one_that_is_away_spills_and_follows_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let spill = || {
            Some(
                Spill::open(&folder.path().join("spilled"), 1 << 20)
                    .unwrap()
                    .0,
            )
        };
        let sink = Arc::<Scripted>::default();
        sink.is_away.store(true, Ordering::Relaxed);
        let queue = start(
            &sink,
            Extras {
                capacity: 8,
                spill: spill(),
                delivered: None,
            },
        );
        for number in 1..=30 {
            queue.push(&numbered(number));
            until("there is room", || queue.status().queued < 8);
        }
        until("it spilled", || queue.status().spilled_bytes > 0);
        end(&queue, Duration::ZERO);
        assert!(sink.got.lock().unwrap().is_empty());
        assert_eq!(queue.status().lost.values().sum::<u64>(), 0);
        // Another life, in which it is away at first.
        let queue = start(
            &sink,
            Extras {
                capacity: 8,
                spill: spill(),
                delivered: None,
            },
        );
        queue.push(&numbered(31));
        sink.is_away.store(false, Ordering::Relaxed);
        until("all are there", || sink.got.lock().unwrap().len() >= 31);
        assert!(sink.got.lock().unwrap().iter().copied().eq(1..=31));
        end(&queue, PATIENCE);
        assert_eq!(queue.status().written, 31);
    }

    #[test]
    fn without_a_place_to_spill_what_is_left_at_the_end_is_counted() {
        let sink = Arc::<Scripted>::default();
        sink.is_away.store(true, Ordering::Relaxed);
        let queue = start(
            &sink,
            Extras {
                capacity: 8,
                ..Extras::default()
            },
        );
        for number in 1..=3 {
            queue.push(&numbered(number));
        }
        end(&queue, Duration::ZERO);
        assert_eq!(queue.status().lost["undelivered"], 3);
    }

    #[test]
    fn a_spill_that_is_full_loses_what_it_has_no_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::open(&folder.path().join("spilled"), 3000).unwrap().0;
        let sink = Arc::<Scripted>::default();
        sink.is_away.store(true, Ordering::Relaxed);
        let queue = start(
            &sink,
            Extras {
                capacity: 4,
                spill: Some(spill),
                delivered: None,
            },
        );
        for number in 1..=20 {
            queue.push(&numbered(number));
            until("there is room", || queue.status().queued < 4);
        }
        end(&queue, Duration::ZERO);
        let lost = queue.status().lost["spill-full"];
        assert!((1..20).contains(&lost), "{lost}");
    }

    #[test]
    fn what_an_earlier_process_gave_is_not_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let delivered = || Delivered::open(&folder.path().join("delivered")).ok();
        let sink = Arc::<Scripted>::default();
        let extras = || Extras {
            capacity: 8,
            spill: None,
            delivered: delivered(),
        };
        let queue = start(&sink, extras());
        queue.push(&numbered(1));
        end(&queue, PATIENCE);
        let queue = start(&sink, extras());
        for number in [1, 2, 2] {
            queue.push(&numbered(number));
        }
        end(&queue, PATIENCE);
        assert_eq!(*sink.got.lock().unwrap(), [1, 2, 2]);
        assert_eq!(queue.status().already_delivered, 1);
    }
}
