//! With so few sets of tags that watched flows collide all the time, everything is told the same: a
//! set that is full costs look-ups, never an observation.

use std::path::{Path, PathBuf};

use detector_user::source::capture::{CaptureFile, LinkType};
use detector_user::source::tap::object::ObjectOptions;
use tests::engines::{Host, Kernel, Program};

const FEW: usize = 16;

/// The committed captures, in the order of their names.
fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".pcap"))
        .collect();
    files.sort();
    files
}

/// The frames of several captures as if they were one.
fn frames(files: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for file in files {
        let mut capture = CaptureFile::open(file).unwrap();
        while let Some(frame) = capture.next_frame().unwrap() {
            if frame.link_type == LinkType::ETHERNET {
                frames.push(frame.captured.to_vec());
            }
        }
    }
    frames
}

#[test]
fn colliding_tags_change_nothing_in_captures() {
    let files = corpus();
    assert!(files.len() > 200);
    let frames = frames(&files);
    let (mut roomy, mut crowded) = (Host::default(), Host::with_tag_sets(FEW));
    for frame in &frames {
        roomy.frame(frame);
        crowded.frame(frame);
    }
    assert!(roomy.told() == crowded.told());
    assert_eq!(roomy.counters(), crowded.counters());
}

#[test]
fn colliding_tags_change_nothing_in_the_kernel() {
    let options = ObjectOptions {
        tag_sets: FEW as u32,
        ..ObjectOptions::default()
    };
    let mut kernel = Kernel::new(Program::Xdp, &options).unwrap();
    let mut host = Host::default();
    for frame in frames(&corpus()) {
        kernel.frame(&frame).unwrap();
        host.frame(&frame);
        assert!(kernel.told() == host.told());
    }
    assert_eq!(kernel.counters().unwrap(), host.counters());
}
