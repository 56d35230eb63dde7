//! The capture reader on a file of any bytes: pcap, pcapng, gzip and zstd.
//!
//! Holds: it comes to an end, no frame is longer than 256 KiB, an error is the last word.
#![no_main]

use std::io::Cursor;

use detector_user::source::capture::CaptureFile;
use libfuzzer_sys::fuzz_target;

/// Compressed captures of a few bytes may hold gigabytes of frames.
const FRAMES_MAX: u64 = 20_000;

fuzz_target!(|input: &[u8]| {
    let Ok(mut capture) = CaptureFile::from_reader(Cursor::new(input.to_vec()), "fuzzed") else {
        return;
    };
    while capture.frames() < FRAMES_MAX {
        let before = capture.offset();
        match capture.next_frame() {
            Ok(Some(frame)) => assert!(frame.captured.len() <= 256 * 1024),
            Ok(None) => break,
            Err(_) => {
                assert!(matches!(capture.next_frame(), Ok(None)));
                break;
            }
        }
        assert!(capture.offset() > before);
    }
});
