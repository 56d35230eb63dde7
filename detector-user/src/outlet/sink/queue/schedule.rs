//! A worker's next step: disk before memory, and disk instead of memory when that fills.

use std::sync::Arc;
use std::time::Instant;

use super::state::State;
use crate::verdict::Verdict;

/// A worker's next step.
pub(super) enum Step {
    /// Write a verdict from memory.
    Verdict(Arc<Verdict>),
    /// Write the oldest verdict on disk.
    Spilled,
    /// Put a verdict on disk.
    Spill(Arc<Verdict>),
    Tick,
    Reopen,
    End,
}

/// The worker's side of the decision.
pub(super) struct Situation {
    pub(super) now: Instant,
    /// The sink accepts nothing at the moment.
    pub(super) is_away: bool,
    /// Verdicts wait on disk: they are older than all in memory.
    pub(super) has_spilled: bool,
    /// The disk accepts verdicts.
    pub(super) can_spill: bool,
    /// The sink's tick is due.
    pub(super) is_tick_due: bool,
}

impl Situation {
    /// Returns the step that is due now, if any. A queue that is half full goes to disk before the
    /// sink gets its next verdict: a slow sink is no better than one that is away.
    pub(super) fn step(&self, state: &mut State) -> Option<Step> {
        let is_half_full = state.waiting.len() * 2 >= state.status.capacity;
        let is_ending = state.end.is_some();
        if std::mem::take(&mut state.reopen) {
            return Some(Step::Reopen);
        }
        // With verdicts on disk only, the queue does not wait for a sink that is away.
        let has_nothing = state.waiting.is_empty() && (self.is_away || !self.has_spilled);
        if state.closed || state.end.is_some_and(|end| has_nothing || self.now >= end) {
            return Some(Step::End);
        }
        if self.is_tick_due {
            return Some(Step::Tick);
        }
        if self.can_spill
            && (is_half_full || is_ending && self.is_away)
            && let Some(verdict) = state.pop()
        {
            return Some(Step::Spill(verdict));
        }
        if self.is_away {
            return None;
        }
        if self.has_spilled {
            return Some(Step::Spilled);
        }
        state.pop().map(Step::Verdict)
    }
}
