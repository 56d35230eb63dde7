//! Verdicts that wait for a sink, and the choice of the one that goes if there is no room.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::flow::fair_share::{Held, Network};
use crate::verdict::Verdict;

/// Oldest verdicts of which the one to drop is chosen.
const COMPARED_MAX: usize = 1024;

/// Verdicts, oldest first.
#[derive(Default)]
pub(super) struct Waiting {
    verdicts: VecDeque<Arc<Verdict>>,
    held: Held,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.verdicts.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }

    pub(super) fn push_back(&mut self, verdict: Arc<Verdict>) {
        self.held.add(of(&verdict));
        self.verdicts.push_back(verdict);
    }

    pub(super) fn push_front(&mut self, verdict: Arc<Verdict>) {
        self.held.add(of(&verdict));
        self.verdicts.push_front(verdict);
    }

    pub(super) fn pop_front(&mut self) -> Option<Arc<Verdict>> {
        let verdict = self.verdicts.pop_front()?;
        self.held.remove(of(&verdict));
        Some(verdict)
    }

    /// Adds a verdict to a queue without room, and drops one: of the oldest ones and the new one the first whose client
    /// has most verdicts there. So failures of one client do not displace those of others.
    pub(super) fn replace(&mut self, verdict: Arc<Verdict>) {
        let all = self.verdicts.len() as u32;
        let mut most = (0, None);
        for (at, oldest) in self.verdicts.iter().take(COMPARED_MAX).enumerate() {
            let held = self.held.of(of(oldest));
            if held > most.0 {
                most = (held, Some(at));
            }
            if 2 * held > all {
                break;
            }
        }
        if self.held.of(of(&verdict)) > most.0 {
            return;
        }
        if let Some(dropped) = most.1.and_then(|at| self.verdicts.remove(at)) {
            self.held.remove(of(&dropped));
        }
        self.push_back(verdict);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn of(verdict: &Verdict) -> Network {
    Network::of_address(verdict.client.ip)
}
