//! Messages of other gateways, as a fleet's servers deliver them.
//!
//! Holds: a message is read or skipped, and what was read is written and read alike. Halves are composed, whatever they
//! say, and verdicts on them are as in `verdicts`.
#![no_main]

use detector_user::cause::knowledge::Knowledge;
use detector_user::fleet::message::{
    FactBatch, GatewayVerdict, HalfMessage, Health, Mute, SnapshotPart, gateway_of, muted_of, read,
    write,
};
use detector_user::flow::halves::{Half, Item, JOINED_INTERFACES, compose};
use detector_user::flow::receiver::{Receiver, TimedReceiver};
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::sink::{Folds, Sinks};
use libfuzzer_sys::fuzz_target;
use tlswhy_fuzz::{check_verdict, frames};

/// Compresses what the fuzzer says in clear: it would hardly ever guess it.
fn stored(text: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(text, 1).expect("memory is compressed")
}

fn half(text: &[u8]) -> Option<Half> {
    let message = HalfMessage::read(&stored(text)).ok()?;
    let again = HalfMessage::read(&message.compressed().expect("it is compressed"));
    assert_eq!(again.as_ref(), Ok(&message));
    match message {
        HalfMessage::Half(half) => Some(*half),
        HalfMessage::Joined(_) => None,
    }
}

fuzz_target!(|input: &[u8]| {
    let _ = HalfMessage::read(input);
    let _ = SnapshotPart::read(input, "clear");
    if let Ok(subject) = std::str::from_utf8(input) {
        let _ = (gateway_of(subject), muted_of(subject));
    }
    let mut halves = Vec::new();
    for text in frames(input).take(4) {
        let _ = SnapshotPart::read(&stored(text), "clear");
        let _ = read::<GatewayVerdict>(text);
        let _ = Health::read(text);
        let _ = read::<Mute>(text);
        if let Ok(batch) = FactBatch::read(text, "clear") {
            let written = write(&batch).expect("facts have a form");
            assert_eq!(FactBatch::read(&written, "clear"), Ok(batch));
        }
        halves.extend(half(text));
    }
    let [client, server] = halves.as_slice() else {
        return;
    };
    let Some(composed) = compose(client, server, JOINED_INTERFACES, 0) else {
        return;
    };
    let sinks = Sinks::open(&[], Folds::default()).expect("no output is opened");
    let mut pipeline = Pipeline::new(8, Knowledge::default(), sinks, |error| panic!("{error}"));
    for item in &composed.items {
        match item {
            Item::Chunk(head, bytes) => pipeline.chunk(head, bytes),
            Item::Observation(observation) => pipeline.observation(observation),
        }
    }
    pipeline.advance(composed.last_ns);
    pipeline.finish();
    pipeline.recent().for_each(check_verdict);
});
