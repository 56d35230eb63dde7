//! Whether a reset came sooner than the server can answer.

use detector_common::flow::{Sender, side_flags};
use detector_common::headers::tcp_flags;

use super::tell::Tell;
use crate::flow::timeline::{Close, Timeline};

/// The least round trip that says anything, microseconds: hosts next door answer at any time.
const ROUND_TRIP_MIN_US: u64 = 2000;

/// Returns a reset in the server's name, before anything else came of it since its SYN,ACK, after
/// less than half of the round trip: behind the ClientHello if it acknowledges some of it, or else
/// behind the SYN,ACK.
pub(super) fn too_soon(timeline: &Timeline, reset: &Close) -> Option<Tell<'static>> {
    let [client, server] = &reset.sides;
    if reset.sender != Sender::Server || server.has(side_flags::SEEN) {
        return None;
    }
    let round_trip_us = timeline.syn_round_trip_ns()? / 1000;
    let answers_hello = reset.measured.flags & tcp_flags::ACK != 0
        && client.has(side_flags::STARTED)
        && reset.measured.ack.wrapping_sub(client.start_seq) as i32 > 0;
    let hello_us = timeline.micros_until(reset.time_ns);
    let after_us = if answers_hello {
        hello_us
    } else {
        hello_us.saturating_add(timeline.syn_ack_to_hello_ns()? / 1000)
    };
    (round_trip_us >= ROUND_TRIP_MIN_US && after_us < round_trip_us / 2).then_some(Tell::TooSoon {
        after_us,
        round_trip_us,
    })
}
