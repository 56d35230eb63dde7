//! When flows are over: by time in slots that are sorted when theirs comes. What stands there may be
//! out of date, since most deadlines move before they come.

use std::collections::BTreeMap;

use hashlink::LruCache;

use super::FlowId;
use super::entry::Entry;

/// A slot is two to the power of this many nanoseconds wide: 8.4 ms.
const SLOT_BITS: u32 = 23;
/// What is out of date is thrown out when it is more than the rest and so much.
const TIDY: usize = 4096;
/// Empty slots whose room is kept.
const SPARE: usize = 128;

/// When one flow is over, and for when it is noted: not later.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    deadline: Option<u64>,
    noted: Option<u64>,
}

type Slot = Vec<(u64, FlowId)>;

/// All flows' deadlines, on the tap's clock.
#[derive(Default)]
pub(super) struct Deadlines {
    /// The earliest slot, the last to come first; empty only if all are.
    first: Slot,
    first_number: u64,
    later: BTreeMap<u64, Slot>,
    len: usize,
    spare: Vec<Slot>,
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
        if due.noted.is_none_or(|noted| deadline < noted) {
            due.noted = Some(deadline);
            self.note(deadline, id);
        }
    }

    /// Before when no deadline comes.
    pub(super) fn next(&self) -> Option<u64> {
        self.first.last().map(|(deadline, _)| *deadline)
    }

    /// The next flow that is over at `now_ns`.
    pub(super) fn next_over(
        &mut self,
        now_ns: u64,
        entries: &mut LruCache<FlowId, Box<Entry>>,
    ) -> Option<FlowId> {
        while self.next().is_some_and(|deadline| deadline <= now_ns) {
            let (noted, id) = self.pop()?;
            let Some(entry) = entries.peek_mut(&id) else {
                continue;
            };
            let due = entry.due_mut();
            if due.noted != Some(noted) {
                continue;
            }
            match due.deadline {
                Some(later) if later > noted => {
                    due.noted = Some(later);
                    self.note(later, id);
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Throws out what is out of date where that is most of it.
    pub(super) fn tidy(&mut self, entries: &LruCache<FlowId, Box<Entry>>) {
        if self.len <= 2 * entries.len() + TIDY {
            return;
        }
        for slot in self.later.values_mut().chain([&mut self.first]) {
            slot.retain(|(noted, id)| {
                let entry = entries.peek(id);
                entry.is_some_and(|entry| entry.due().noted == Some(*noted))
            });
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

    fn note(&mut self, deadline: u64, id: FlowId) {
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
            let slot = std::mem::replace(&mut self.first, room);
            self.later.insert(self.first_number, slot);
        }
        self.first_number = number;
        let at = self.first.partition_point(|it| *it > (deadline, id));
        self.first.insert(at, (deadline, id));
    }

    fn pop(&mut self) -> Option<(u64, FlowId)> {
        let popped = self.first.pop()?;
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
        let emptied = std::mem::replace(&mut self.first, slot);
        if self.spare.len() < SPARE {
            self.spare.push(emptied);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is noted when, it comes in order.
        #[test]
        fn the_earliest_comes_first(
            steps in proptest::collection::vec(proptest::option::of(0u64..1 << 27), 0..200),
        ) {
            let mut deadlines = Deadlines::default();
            let mut model = Vec::new();
            for (number, step) in (0..).zip(steps) {
                let id = FlowId { started_ns: number, ..FlowId::default() };
                if let Some(deadline) = step {
                    deadlines.note(deadline, id);
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
