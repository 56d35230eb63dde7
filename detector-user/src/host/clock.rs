//! The clock of the kernel's programs, and its offset to UNIX time.

use nix::time::{ClockId, clock_gettime};

/// Number of readings; the tightest counts.
const READINGS: usize = 3;

fn nanoseconds(clock: ClockId) -> i64 {
    // Both clocks exist on every Linux, so asking does not fail.
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// Returns the nanoseconds from the kernel programs' clock (`bpf_ktime_get_ns`, CLOCK_MONOTONIC) to UNIX
/// time. They change when CLOCK_REALTIME is set.
pub fn unix_offset_ns() -> i64 {
    // This process may lose the CPU between two readings; the pair closest together was not hit.
    (0..READINGS)
        .map(|_| {
            let before = nanoseconds(ClockId::CLOCK_MONOTONIC);
            let unix = nanoseconds(ClockId::CLOCK_REALTIME);
            let after = nanoseconds(ClockId::CLOCK_MONOTONIC);
            let gap = after - before;
            (gap, unix - before - gap / 2)
        })
        .min()
        .map_or(0, |(_, offset)| offset)
}

/// Returns the time of the kernel programs' clock in nanoseconds.
pub fn kernel_now_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_offset_leads_to_the_calendar() {
        let before = SystemTime::now();
        let now = i128::from(kernel_now_ns()) + i128::from(unix_offset_ns());
        let unix = before.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        // A minute: this proves clocks and sign, not the machine's speed.
        assert!((now - unix.as_nanos().cast_signed()).abs() < 60_000_000_000);
    }
}
