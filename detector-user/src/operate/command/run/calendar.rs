//! The offset from the kernel's clock to UNIX time.

use crate::flow::receiver::TimedReceiver;
use crate::host::clock::unix_offset_ns;
use crate::operate::pipeline::Pipeline;
use crate::source::tap::rings::Rings;

/// Maximum difference of two readings of the clocks if neither was set.
const READINGS_DIFFER_NS: u64 = 1_000_000;

/// Updates the offset from the kernel's clock to UNIX time, for this agent's verdicts and for those
/// of an agent may replay.
pub(super) fn follow_calendar(pipeline: &mut Pipeline, rings: &mut Rings) {
    let offset_ns = offset_to_use(unix_offset_ns(), pipeline.unix_offset());
    pipeline.set_unix_offset(offset_ns);
    rings.record_unix_offset(offset_ns);
}

/// Returns the offset that was read only if a clock was set. Two readings are never the same, and a
/// verdict that is given again must have its first time.
fn offset_to_use(read_ns: i64, used_ns: i64) -> i64 {
    if read_ns.abs_diff(used_ns) > READINGS_DIFFER_NS {
        read_ns
    } else {
        used_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_not_set_keeps_its_offset() {
        assert_eq!(offset_to_use(5_000_000, 5_000_300), 5_000_300);
        assert_eq!(offset_to_use(5_000_000, 8_000_000), 5_000_000);
        assert_eq!(
            offset_to_use(1_700_000_000_000_000_000, 0),
            1_700_000_000_000_000_000
        );
    }
}
