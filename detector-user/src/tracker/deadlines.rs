//! When flows are over: a heap whose entries may be out of date, since most deadlines move before
//! they come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashlink::LruCache;

use super::FlowId;
use super::entry::Entry;

/// Entries that are out of date are thrown out when they are thrice the others and so many.
const TIDY: usize = 4096;

/// When one flow is over, and for when it stands in the heap: not later.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    deadline: Option<u64>,
    queued: Option<u64>,
}

/// All flows' deadlines, on the tap's clock.
#[derive(Default)]
pub(super) struct Deadlines {
    queue: BinaryHeap<Reverse<(u64, FlowId)>>,
}

impl Due {
    pub(super) fn is_set(&self) -> bool {
        self.deadline.is_some()
    }
}

impl Deadlines {
    /// Sets a flow's deadline in place of an earlier one.
    pub(super) fn set(&mut self, due: &mut Due, id: FlowId, deadline: u64) {
        due.deadline = Some(deadline);
        if due.queued.is_none_or(|queued| deadline < queued) {
            due.queued = Some(deadline);
            self.queue.push(Reverse((deadline, id)));
        }
    }

    /// Before when no deadline comes.
    pub(super) fn next(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// The next flow that is over at `now_ns`.
    pub(super) fn next_over(
        &mut self,
        now_ns: u64,
        entries: &mut LruCache<FlowId, Box<Entry>>,
    ) -> Option<FlowId> {
        while self.next().is_some_and(|deadline| deadline <= now_ns) {
            let Reverse((queued, id)) = self.queue.pop()?;
            let Some(entry) = entries.peek_mut(&id) else {
                continue;
            };
            let due = entry.due_mut();
            if due.queued != Some(queued) {
                continue;
            }
            match due.deadline {
                Some(later) if later > queued => {
                    due.queued = Some(later);
                    self.queue.push(Reverse((later, id)));
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Throws out what is out of date where that is most of it.
    pub(super) fn tidy(&mut self, entries: &LruCache<FlowId, Box<Entry>>) {
        if self.queue.len() > 4 * entries.len() + TIDY {
            self.queue.retain(|Reverse((queued, id))| {
                let entry = entries.peek(id);
                entry.is_some_and(|entry| entry.due().queued == Some(*queued))
            });
        }
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}
