//! Counting.

use detector_common::counter::Counter;

use crate::maps::COUNTERS;

/// Adds one on this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(number) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a per-CPU slot; programs on one CPU do not interrupt each other here but in
        // rare nesting, where a count may be missed.
        unsafe { *number += 1 };
    }
}
