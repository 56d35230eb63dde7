//! The kernel's clock and the calendar's.

use nix::time::{ClockId, clock_gettime};

fn nanoseconds(clock: ClockId) -> i64 {
    // Both clocks exist on every Linux, so asking does not fail.
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// What to add to the kernel programs' clock (`bpf_ktime_get_ns`, CLOCK_MONOTONIC) to get UNIX
/// time, nanoseconds. To be asked for anew now and then: the calendar's clock may be set.
pub fn unix_offset_ns() -> i64 {
    nanoseconds(ClockId::CLOCK_REALTIME) - nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// Now on the kernel programs' clock, nanoseconds.
pub fn kernel_now_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC).unsigned_abs()
}
