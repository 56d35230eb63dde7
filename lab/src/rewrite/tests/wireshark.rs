//! Rewrites as Wireshark reads them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::success;
use crate::capture::{Capture, Format};
use crate::labels::Label;
use crate::rewrite::{variants, with_honest_resets, with_injected_resets};

/// Wireshark agrees that nothing is malformed and every checksum right, where it is installed.
#[test]
fn wireshark_finds_nothing_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Label::of("established");
    let all = [
        variants(&success(), &truth),
        with_injected_resets(&success(), &truth),
        with_honest_resets(&success(), &truth),
    ];
    let mut by_link: BTreeMap<u32, Capture> = BTreeMap::new();
    for variant in all.concat() {
        if variant.suffix.starts_with("snaplen") {
            continue;
        }
        // One run of tshark for each link type, as each takes a second.
        let all = by_link.entry(variant.capture.link_type);
        let all = all.or_insert_with(|| Capture {
            format: Format::PcapNg,
            frames: Vec::new(),
            ..variant.capture.clone()
        });
        all.frames.extend(variant.capture.frames);
    }
    assert_eq!(by_link.len(), 4);
    for (link_type, capture) in by_link {
        let path = folder.path().join(link_type.to_string());
        std::fs::write(&path, capture.to_bytes()).unwrap();
        let Some([all, wrong]) = wireshark(&path) else {
            eprintln!("tshark is not installed");
            return;
        };
        assert_eq!(
            (all, wrong),
            (capture.frames.len(), 0),
            "link type {link_type}"
        );
    }
}

/// Frames that Wireshark reads, and those it finds wrong.
fn wireshark(path: &Path) -> Option<[usize; 2]> {
    let wrong = "!tcp || _ws.malformed || tcp.checksum.status != 1 || ip.checksum.status == 0";
    let count = |filter| {
        let output = Command::new("tshark")
            .args([
                "-o",
                "tcp.check_checksum:TRUE",
                "-o",
                "ip.check_checksum:TRUE",
            ])
            // Many captures in one: streams begin again and again.
            .args(["--disable-protocol", "tls", "-Y", filter, "-r"])
            .arg(path)
            .output();
        Some(
            String::from_utf8_lossy(&output.ok()?.stdout)
                .lines()
                .count(),
        )
    };
    Some([count("frame")?, count(wrong)?])
}
