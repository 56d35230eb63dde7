//! A small set of numbers that is only counted.

/// Members at most; further ones are left out.
const CAPACITY: usize = 8;

/// At most eight numbers: enough to tell a few from many.
#[derive(Debug, Default)]
pub(super) struct SmallSet(Vec<u64>);

impl SmallSet {
    /// Inserts a number unless it is there or the set is full.
    pub(super) fn insert(&mut self, value: u64) {
        if self.0.len() < CAPACITY && !self.contains(value) {
            self.0.push(value);
        }
    }

    pub(super) fn contains(&self, value: u64) -> bool {
        self.0.contains(&value)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes all numbers and returns them in the order they were inserted.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.0.drain(..)
    }
}
