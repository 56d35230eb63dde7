//! Captures made in memory, and the agent's verdicts on them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::gateway::agent;

/// Link type of Ethernet frames.
pub const ETHERNET: u32 = 1;
/// Nanoseconds of the first frame.
pub const START: u64 = 1_700_000_000_000_000_000;
/// Nanoseconds between frames.
pub const STEP: u64 = 1_000_000;

/// Returns a capture of these frames, whole, with their times in nanoseconds.
pub fn pcap(link_type: u32, frames: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Vec<u8> {
    snapped(link_type, 65_535, frames)
}

/// Returns a capture of as many bytes of each frame as `snap_len` lets through.
pub fn snapped(
    link_type: u32,
    snap_len: usize,
    frames: impl IntoIterator<Item = (u64, Vec<u8>)>,
) -> Vec<u8> {
    let mut bytes = [
        0xa1b2_3c4d_u32,
        0x0004_0002,
        0,
        0,
        snap_len as u32,
        link_type,
    ]
    .map(u32::to_le_bytes)
    .concat();
    for (time, frame) in frames {
        let (seconds, fraction) = (time / 1_000_000_000, time % 1_000_000_000);
        let len = frame.len() as u32;
        let captured = &frame[..frame.len().min(snap_len)];
        let head = [seconds as u32, fraction as u32, captured.len() as u32, len];
        bytes.extend(head.map(u32::to_le_bytes).concat());
        bytes.extend(captured);
    }
    bytes
}

/// Returns the agent's verdicts on a capture, and its standard error.
pub fn judge(capture: &[u8]) -> (Vec<Value>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.pcap");
    std::fs::write(&path, capture).unwrap();
    let output = run(&path);
    let lines = String::from_utf8(output.stdout).unwrap();
    let verdicts = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (
        verdicts.collect(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Runs `tlswhy pcap` on a capture.
pub fn run(path: &Path) -> Output {
    let mut command = Command::new(agent());
    command.args(["pcap", "--output", "json"]).arg(path);
    command.output().unwrap()
}

/// Judges a capture of one connection.
pub fn one_verdict(capture: &[u8]) -> Value {
    let (mut verdicts, said) = judge(capture);
    assert_eq!(verdicts.len(), 1, "{said}");
    verdicts.remove(0)
}
