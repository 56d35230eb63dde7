//! The state that the pipeline and the fleet's thread share. Nobody waits for I/O while it is locked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::halves::Outgoing;
use super::ledger::Ledger;
use super::merged::Merged;
use super::message::{HalfMessage, Skipped};
use super::muting::Muted;
use crate::cause::history::Lesson;
use crate::outlet::status::FleetCounts;

/// Maximum lessons of other gateways that wait for the pipeline; then no more messages are read.
const ARRIVALS_MAX: usize = 16_384;

/// The shared state.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Own facts wait.
    pub(super) waits: Notify,
    /// Halves wait for the servers.
    pub(super) halves_wait: Notify,
    /// Lessons or halves of others wait.
    pub(super) arrived: Arc<Notify>,
    /// There is room for more of those.
    pub(super) room: Notify,
    /// The connection broke, or is there again: no answer will come to earlier questions.
    pub(super) changed: Notify,
    /// A server was not reached, for a reason that nobody told.
    pub(super) refused: Notify,
    /// The thread is to end.
    pub(super) end: Notify,
    pub(super) is_ending: AtomicBool,
    /// Gateways whose facts are not taken in.
    pub(super) muted: Muted,
}

/// Its changing part.
pub(super) struct State {
    pub(super) ledger: Ledger,
    pub(super) merged: Merged,
    pub(super) arrivals: VecDeque<(Arc<str>, Lesson)>,
    pub(super) counts: FleetCounts,
    /// Halves on their way to other gateways, and of others for the pipeline.
    pub(super) halves_out: VecDeque<Outgoing>,
    pub(super) halves_in: VecDeque<(Arc<str>, HalfMessage)>,
    /// Signs of life of gateways, and whether each joins halves.
    pub(super) members_in: Vec<(String, bool)>,
    /// Sequence number up to which the earlier agent's facts are in its snapshot, and the stream's last one then.
    pub(super) restored: u64,
    pub(super) catch_up: u64,
    /// Sequence number of the message read last.
    pub(super) followed: u64,
    /// Sequence number of the message acknowledged last.
    pub(super) acknowledged: u64,
    /// When the log had a message of a failure.
    pub(super) complained: Option<Instant>,
    pub(super) taps: Vec<String>,
    /// Losses of the agent other than facts.
    pub(super) losses: u64,
}

impl State {
    /// Returns the sequence number up to which all of this gateway's messages are in its ledger.
    pub(super) fn covered(&self) -> u64 {
        if self.followed < self.catch_up {
            return self.restored;
        }
        self.acknowledged.max(self.catch_up)
    }
}

impl Shared {
    pub(super) fn new(gateway: &str, max_facts: usize) -> Self {
        Self {
            state: Mutex::new(State {
                ledger: Ledger::new(max_facts),
                merged: Merged::new(max_facts),
                arrivals: VecDeque::new(),
                counts: FleetCounts {
                    gateway: gateway.to_owned(),
                    ..FleetCounts::default()
                },
                halves_out: VecDeque::new(),
                halves_in: VecDeque::new(),
                members_in: Vec::new(),
                restored: 0,
                catch_up: 0,
                followed: 0,
                acknowledged: 0,
                complained: None,
                taps: Vec::new(),
                losses: 0,
            }),
            waits: Notify::new(),
            halves_wait: Notify::new(),
            arrived: Arc::default(),
            room: Notify::new(),
            changed: Notify::new(),
            refused: Notify::new(),
            end: Notify::new(),
            is_ending: AtomicBool::new(false),
            muted: Muted::default(),
        }
    }

    /// Locks the state. It is consistent between any two statements, so that a panic does no harm.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the thread is to end.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// Waits until there is room for lessons of others.
    pub(super) async fn wait_for_room(&self) {
        while self.lock().arrivals.len() >= ARRIVALS_MAX {
            self.room.notified().await;
        }
    }

    /// Counts a message that is skipped.
    pub(super) fn skip(&self, reason: Skipped) {
        let mut state = self.lock();
        *state
            .counts
            .skipped
            .entry(reason.name().to_owned())
            .or_default() += 1;
    }

    /// Returns the counts so far.
    pub(super) fn counts(&self) -> FleetCounts {
        let state = self.lock();
        FleetCounts {
            facts_waiting: state.ledger.waiting() as u64,
            facts_lost: state.ledger.lost(),
            facts_known: state.merged.len() as u64,
            facts_evicted: state.merged.evicted(),
            gateways_doubtful: self.muted.doubtful(),
            ..state.counts.clone()
        }
    }
}
