//! Frames of a capture through everything that `tlswhy pcap` runs, up to written verdicts.
//!
//! Holds: a verdict's confidence is between 0 and 1, it is one line of JSON, its text has no
//! control characters, and a connection gets at most three.
#![no_main]

use detector_user::cause::knowledge::Knowledge;
use detector_user::flow::receiver::TimedReceiver;
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::sink::{Folds, Sinks};
use detector_user::source::capture::{Frame, LinkType};
use detector_user::source::capture_tap::CaptureTap;
use libfuzzer_sys::fuzz_target;
use tlswhy_fuzz::{check_verdict, frames};

/// From one frame to the next, nanoseconds.
const STEPS: [u64; 4] = [10_000, 1_000_000, 700_000_000, 40_000_000_000];
const LINKS: [LinkType; 4] = [
    LinkType::ETHERNET,
    LinkType::RAW,
    LinkType::LINUX_SLL2,
    LinkType::ETHERNET,
];

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else {
        return;
    };
    let link_type = LINKS[usize::from(choice & 3)];
    let step = STEPS[usize::from(choice >> 2) % STEPS.len()];
    let sinks = Sinks::open(&[], Folds::default()).expect("no output is opened");
    let mut pipeline = Pipeline::new(64, Knowledge::default(), sinks, |error| panic!("{error}"));
    let mut tap = CaptureTap::with_tag_sets(16);
    pipeline.name_tap(1, "fuzzed");
    let mut time_ns = 1_700_000_000_000_000_000;
    for captured in frames(input).take(512) {
        let frame = Frame {
            time_ns,
            captured,
            original_len: captured.len() as u32,
            link_type,
            interface: 1,
        };
        pipeline.advance_if_due(time_ns);
        tap.capture_frame(&frame, &mut pipeline);
        time_ns += step;
    }
    pipeline.advance(time_ns);
    pipeline.finish();
    pipeline.recent().for_each(check_verdict);
});
