//! Items of the rings with any bytes, as a damaged file of unread items has them after a kill.
//!
//! Holds: whatever they say, the tracker stays within its flows, and verdicts are as in `verdicts`.
#![no_main]

use detector_common::observation::{ChunkHead, Observation};
use detector_user::cause::knowledge::Knowledge;
use detector_user::flow::receiver::{Receiver, TimedReceiver};
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::sink::{Folds, Sinks};
use libfuzzer_sys::fuzz_target;
use tlswhy_fuzz::{check_verdict, frames};

const FLOWS_MAX: usize = 64;

fuzz_target!(|input: &[u8]| {
    let sinks = Sinks::open(&[], Folds::default()).expect("no output is opened");
    let mut pipeline = Pipeline::new(FLOWS_MAX, Knowledge::default(), sinks, |error| {
        panic!("{error}")
    });
    for item in frames(input).take(512) {
        if let Some(observation) = Observation::read(item) {
            pipeline.late_observation(&observation);
        } else if let Some((head, room)) = ChunkHead::read(item) {
            let bytes = room.get(..usize::from(head.len)).unwrap_or(room);
            pipeline.chunk(&head, bytes);
        }
    }
    pipeline.finish();
    pipeline.recent().for_each(check_verdict);
});
