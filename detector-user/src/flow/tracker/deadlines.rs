//! Deadlines of flows: listed by time in slots, each of which is sorted when its time comes. A listed
//! deadline may be stale, since most deadlines move before they are reached.

use std::collections::{BTreeMap, VecDeque};

use hashlink::LruCache;

use crate::flow::flow_id::FlowId;

/// A slot is two to the power of this many nanoseconds wide: 8.4 ms.
const SLOT_BITS: u32 = 23;
/// Stale deadlines that are listed beside as many as there are flows before they are removed.
const STALE_MAX: usize = 4096;
/// Empty slots whose memory is reused.
const SPARE: usize = 128;

/// The deadline of one flow, and the time under which it is listed, which is not later.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    deadline: Option<u64>,
    listed: Option<u64>,
}

/// A flow with a deadline.
pub(super) trait Scheduled {
    fn due(&self) -> &Due;
    fn due_mut(&mut self) -> &mut Due;
}

/// Returns the earliest of some times; the greatest number is none. It is asked with each observation.
#[must_use]
pub fn earliest<const N: usize>(times: [Option<u64>; N]) -> Option<u64> {
    let times = times.map(|time| time.unwrap_or(u64::MAX));
    let first = times.into_iter().fold(u64::MAX, u64::min);
    (first != u64::MAX).then_some(first)
}

type Slot = Vec<(u64, FlowId)>;

/// All flows' deadlines, on the tap's clock.
#[derive(Default)]
pub(super) struct Deadlines {
    /// The earliest slot, the last to come first; empty only if all are. Most that are listed late are of the
    /// slot's end.
    first: VecDeque<(u64, FlowId)>,
    first_number: u64,
    later: BTreeMap<u64, Slot>,
    len: usize,
    spare: Vec<Slot>,
}

impl Due {
    pub(super) const fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    pub(super) fn is_set(&self) -> bool {
        self.deadline.is_some()
    }
}

impl Deadlines {
    /// Sets a flow's deadline in place of an earlier one.
    pub(super) fn set(&mut self, due: &mut Due, id: FlowId, deadline: u64) {
        due.deadline = Some(deadline);
        if due.listed.is_none_or(|listed| deadline < listed) {
            due.listed = Some(deadline);
            self.list(deadline, id);
        }
    }

    /// Returns the earliest listed time: no deadline is before it.
    pub(super) fn next(&self) -> Option<u64> {
        self.first.back().map(|(deadline, _)| *deadline)
    }

    /// Removes the next flow whose deadline is at or before `now_ns`.
    pub(super) fn pop_over(
        &mut self,
        now_ns: u64,
        flows: &mut LruCache<FlowId, Box<impl Scheduled>>,
    ) -> Option<FlowId> {
        while self.next().is_some_and(|deadline| deadline <= now_ns) {
            let (listed, id) = self.pop()?;
            let Some(flow) = flows.peek_mut(&id) else {
                continue;
            };
            let due = flow.due_mut();
            if due.listed != Some(listed) {
                continue;
            }
            match due.deadline {
                Some(later) if later > listed => {
                    due.listed = Some(later);
                    self.list(later, id);
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Removes stale deadlines where they are more than there are `flows`.
    pub(super) fn remove_stale(&mut self, flows: &LruCache<FlowId, Box<impl Scheduled>>) {
        if self.len <= 2 * flows.len() + STALE_MAX {
            return;
        }
        let is_listed = |(listed, id): &(u64, FlowId)| {
            let flow = flows.peek(id);
            flow.is_some_and(|flow| flow.due().listed == Some(*listed))
        };
        self.first.retain(is_listed);
        for slot in self.later.values_mut() {
            slot.retain(is_listed);
        }
        let spare = &mut self.spare;
        self.later.retain(|_, slot| {
            if slot.is_empty() && spare.len() < SPARE {
                spare.push(std::mem::take(slot));
            }
            !slot.is_empty()
        });
        self.len = self.first.len() + self.later.values().map(Vec::len).sum::<usize>();
        self.refill();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn list(&mut self, deadline: u64, id: FlowId) {
        self.len += 1;
        let number = deadline >> SLOT_BITS;
        if !self.first.is_empty() && number > self.first_number {
            let spare = &mut self.spare;
            let slot = self.later.entry(number);
            let slot = slot.or_insert_with(|| spare.pop().unwrap_or_default());
            slot.push((deadline, id));
            return;
        }
        if number != self.first_number && !self.first.is_empty() {
            let room = self.spare.pop().unwrap_or_default();
            let slot = std::mem::replace(&mut self.first, room.into());
            self.later.insert(self.first_number, slot.into());
        }
        self.first_number = number;
        let at = self.first.partition_point(|it| *it > (deadline, id));
        self.first.insert(at, (deadline, id));
    }

    fn pop(&mut self) -> Option<(u64, FlowId)> {
        let popped = self.first.pop_back()?;
        self.len -= 1;
        self.refill();
        Some(popped)
    }

    fn refill(&mut self) {
        if !self.first.is_empty() {
            return;
        }
        let Some((number, mut slot)) = self.later.pop_first() else {
            return;
        };
        slot.sort_unstable_by(|a, b| b.cmp(a));
        self.first_number = number;
        let emptied = std::mem::replace(&mut self.first, slot.into());
        if self.spare.len() < SPARE {
            self.spare.push(emptied.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Deadlines come in order, in whatever order they are listed.
        #[test]
        fn the_earliest_comes_first(
            steps in proptest::collection::vec(proptest::option::of(0u64..1 << 27), 0..200),
        ) {
            let mut deadlines = Deadlines::default();
            let mut model = Vec::new();
            for (number, step) in (0..).zip(steps) {
                let id = FlowId { started_ns: number, ..FlowId::default() };
                if let Some(deadline) = step {
                    deadlines.list(deadline, id);
                    model.push((deadline, id));
                    model.sort_unstable();
                } else {
                    let earliest = (!model.is_empty()).then(|| model.remove(0));
                    prop_assert_eq!(deadlines.pop(), earliest);
                }
                prop_assert_eq!(deadlines.next(), model.first().map(|(deadline, _)| *deadline));
                prop_assert_eq!(deadlines.len, model.len());
            }
        }
    }
}
