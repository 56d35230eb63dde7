//! A sequence of frames through the engine with tables of a few flows.
//!
//! Holds, after each frame (see `Host`): at most one observation and eleven chunks, each of this
//! frame's segment and with a cause in it; chunks lie within the payload and the bytes are the
//! frame's; every field sent was written; state is bounded; the filter of tags misses no watched
//! flow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlswhy_fuzz::{Host, frames, tap};

/// From one frame to the next, nanoseconds.
const STEPS: [u64; 4] = [1_000, 1_000_000, 20_000_000_000, 7_200_000_000_000];

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else {
        return;
    };
    let tap = tap(*choice);
    let step = STEPS[usize::from(choice >> 5) % STEPS.len()];
    let mut host = Host::following_halves(choice & 128 != 0);
    for frame in frames(input).take(512) {
        host.frame(frame, &tap, step);
    }
});
