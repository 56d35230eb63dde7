use std::path::PathBuf;

use detector_common::observation::{ChunkHead, Observation};

use super::watched::WatchedFlows;
use super::*;
use crate::flow::preamble::PreambleReport;
use crate::flow::unreachable::UnreachableReport;
use crate::source::capture::CaptureFile;

/// All that a tap gives.
#[derive(Default)]
struct Given(Vec<String>);

impl Receiver for Given {
    fn observation(&mut self, observation: &Observation) {
        self.0.push(format!("{observation:?}"));
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.0.push(format!("{head:?} {bytes:?}"));
    }

    fn preamble(&mut self, report: &PreambleReport) {
        self.0.push(format!("{report:?}"));
    }

    fn unreachable(&mut self, report: &UnreachableReport) {
        self.0.push(format!("{report:?}"));
    }
}

fn captures() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures");
    let mut captures: Vec<PathBuf> = ["", "/corpus"]
        .iter()
        .flat_map(|below| std::fs::read_dir(format!("{folder}{below}")).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    captures.sort();
    captures
}

/// Shows a capture to a tap by its way through most frames, and to another one without it.
#[test]
fn frames_that_a_first_look_passes_would_have_had_no_effect() {
    let mut passed: u64 = 0;
    for path in captures() {
        let Ok(mut capture) = CaptureFile::open(&path) else {
            continue;
        };
        let (mut quick, mut thorough) = (CaptureTap::default(), CaptureTap::with_tag_sets(1));
        let (mut from_quick, mut from_thorough) = (Given::default(), Given::default());
        while let Ok(Some(frame)) = capture.next_frame() {
            passed += u64::from(quick.is_uneventful(&frame));
            quick.capture_frame(&frame, &mut from_quick);
            thorough.examine(&frame, &mut from_thorough);
        }
        let name = path.display();
        assert!(from_quick.0 == from_thorough.0, "{name}");
        assert!(quick.counters().eq(thorough.counters()), "{name}");
        assert_eq!(quick.unread(), thorough.unread(), "{name}");
        assert_eq!(quick.now_ns(), thorough.now_ns(), "{name}");
    }
    assert!(passed > 500, "{passed} frames passed");
}

/// A tap that packs all flows at rest but so many and one more.
fn packing(resting_max: usize) -> CaptureTap {
    let mut tap = CaptureTap::default();
    tap.tables
        .set_watched(WatchedFlows::new(resting_max, usize::MAX));
    tap
}

/// Shows captures to a tap, a frame of each in turn, as if all had been taken at the same place.
fn shown(tap: &mut CaptureTap, paths: &[PathBuf]) -> Vec<String> {
    let mut given = Given::default();
    let captures = paths.iter().map(|path| CaptureFile::open(path));
    let mut captures: Vec<CaptureFile> = captures.filter_map(Result::ok).collect();
    while !captures.is_empty() {
        captures.retain_mut(|capture| {
            let Ok(Some(frame)) = capture.next_frame() else {
                return false;
            };
            tap.capture_frame(&frame, &mut given);
            true
        });
    }
    given.0
}

#[test]
fn packed_flows_go_on_as_if_they_had_not_been() {
    let mut observed = 0;
    for paths in captures().chunks(8) {
        let mut unpacked = packing(usize::MAX);
        let expected = shown(&mut unpacked, paths);
        observed += expected.len();
        for resting_max in [0, 1, 3] {
            let mut tap = packing(resting_max);
            assert!(
                shown(&mut tap, paths) == expected,
                "{paths:?}, {resting_max}"
            );
            assert!(tap.counters().eq(unpacked.counters()), "{paths:?}");
        }
    }
    assert!(observed > 5_000, "{observed}");
}
