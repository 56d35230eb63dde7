//! Baselines of connections that have not spoken yet, as in the kernel.

use detector_common::syn::SynSlot;

/// Slots, a power of two. How many there are decides which connections share one, and with it verdicts.
const SLOTS: usize = 1 << 16;
/// Slots of a page, a power of two.
const PAGE: usize = 16;

/// A lossy array of slots. Its pages exist once a SYN fell into one: most captures have few.
pub(super) struct SynSlots {
    pages: Box<[Option<Box<[SynSlot; PAGE]>>]>,
}

impl Default for SynSlots {
    fn default() -> Self {
        Self {
            pages: (0..SLOTS / PAGE).map(|_| None).collect(),
        }
    }
}

impl SynSlots {
    /// Returns the slot of a hash, if any SYN fell near it.
    pub(super) fn get_mut(&mut self, hash: u64) -> Option<&mut SynSlot> {
        let (page, at) = place(hash);
        self.pages.get_mut(page)?.as_mut()?.get_mut(at)
    }

    /// Returns the slot of a hash, for a SYN.
    pub(super) fn make(&mut self, hash: u64) -> Option<&mut SynSlot> {
        let (page, at) = place(hash);
        let page = self.pages.get_mut(page)?;
        page.get_or_insert_default().get_mut(at)
    }
}

/// Returns the page of a slot and its place there.
const fn place(hash: u64) -> (usize, usize) {
    let number = (hash >> 32) as usize & (SLOTS - 1);
    (number / PAGE, number % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_that_of_all_hashes_with_its_number() {
        let hash = |number: u64| number << 32 | 7;
        let mut slots = SynSlots::default();
        assert!(slots.get_mut(hash(5)).is_none());
        slots.make(hash(5)).unwrap().claim(hash(5));
        assert!(slots.get_mut(hash(5)).unwrap().is_of(hash(5)));
        let other = hash(5 + SLOTS as u64);
        assert!(!slots.get_mut(other).unwrap().is_of(other));
        slots.make(other).unwrap().claim(other);
        assert!(!slots.get_mut(hash(5)).unwrap().is_of(hash(5)));
        assert!(slots.get_mut(hash(5 + PAGE as u64)).is_none());
    }
}
