//! Atomic instructions (Linux 5.12) that the compiler cannot select for this target.

use core::arch::asm;

/// Adds to a number; returns the previous value.
///
/// # Safety
/// `number` is a live, aligned value of a map.
#[inline(always)]
pub(crate) unsafe fn fetch_add(number: *mut u64, more: u64) -> u64 {
    let old;
    // SAFETY: the caller's contract; the instruction is atomic.
    unsafe {
        asm!(
            "{more} = atomic_fetch_add((u64 *)({number} + 0), {more})",
            number = in(reg) number,
            more = inlateout(reg) more => old,
            options(nostack),
        );
    }
    old
}

/// Replaces `old` by `new`; `false` if the number is another.
///
/// # Safety
/// `number` is a live, aligned value of a map.
#[inline(always)]
pub(crate) unsafe fn compare_exchange(number: *mut u64, old: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: the caller's contract; the instruction is atomic.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({number} + 0, r0, {new})",
            number = in(reg) number,
            new = in(reg) new,
            inlateout("r0") old => found,
            options(nostack),
        );
    }
    found == old
}
