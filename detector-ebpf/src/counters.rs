//! Per-CPU counters.

use detector_common::counter::Counter;

use crate::maps::COUNTERS;

/// Increments a counter on this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(number) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a live, aligned value of the map, and this CPU's own: softirqs are off while a
        // program runs, so that no other runs in between.
        unsafe { *number += 1 };
    }
}
