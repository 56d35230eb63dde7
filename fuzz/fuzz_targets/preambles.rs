//! A connection from a script of steps, as only captures show it: requests to proxies, PROXY protocol headers,
//! TDS, hellos of SSL 2.0, and ICMP errors about its segments. Each step is a 16-bit length and as many bytes, of
//! which the first is the kind.
//!
//! Holds: as in `verdicts`, and a target is one line of text without control characters.
#![no_main]

use detector_user::cause::knowledge::Knowledge;
use detector_user::flow::receiver::TimedReceiver;
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::sink::{Folds, Sinks};
use detector_user::source::capture::{Frame, LinkType};
use detector_user::source::capture_tap::CaptureTap;
use libfuzzer_sys::fuzz_target;
use tlswhy_fuzz::{Connection, check_verdict, frames};

fuzz_target!(|input: &[u8]| {
    let sinks = Sinks::open(&[], Folds::default()).expect("no output is opened");
    let mut pipeline = Pipeline::new(64, Knowledge::default(), sinks, |error| panic!("{error}"));
    let mut tap = CaptureTap::with_tag_sets(16);
    pipeline.name_tap(1, "fuzzed");
    let mut connection = Connection::default();
    let mut time_ns = 1_700_000_000_000_000_000;
    for step in frames(input).take(256) {
        let Some((kind, bytes)) = step.split_first() else {
            time_ns += 5_000_000_000;
            continue;
        };
        let captured = connection.step(*kind, bytes);
        let frame = Frame {
            time_ns,
            captured: &captured,
            original_len: captured.len() as u32,
            link_type: LinkType::ETHERNET,
            interface: 1,
        };
        pipeline.advance_if_due(time_ns);
        tap.capture_frame(&frame, &mut pipeline);
        time_ns += 1_000_000;
    }
    pipeline.advance(time_ns);
    pipeline.finish();
    for verdict in pipeline.recent() {
        check_verdict(verdict);
        let target = verdict.target.as_deref().unwrap_or_default();
        assert!(!target.contains(char::is_control), "{target:?}");
    }
});
