//! Random damage: no panic, no endless loop, and never a frame lost or changed before the damage.

use std::io;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{CaptureError, CaptureFile};
use super::fixtures::Order::{Big, Little};
use super::fixtures::{Capture, gzip, read_bytes, sample_pcap, sample_pcapng, zstd};

fn samples() -> impl Strategy<Value = Capture> {
    prop_oneof![
        Just(sample_pcap(Little, false)),
        Just(sample_pcap(Big, true)),
        Just(sample_pcapng(Little, Big)),
        Just(sample_pcapng(Big, Little)),
    ]
}

/// Beginnings that let garbage get past the first look.
fn beginnings() -> impl Strategy<Value = Vec<u8>> {
    let head = |capture: Capture, len: usize| capture.bytes[..len].to_vec();
    prop_oneof![
        Just(Vec::new()),
        Just(head(sample_pcap(Little, false), 4)),
        Just(head(sample_pcap(Big, true), 24)),
        Just(head(sample_pcapng(Little, Little), 8)),
        Just(head(sample_pcapng(Little, Little), 12)),
        Just(head(sample_pcapng(Big, Big), 40)),
        Just(head(sample_pcapng(Little, Little), 100)),
        Just(vec![0x1f, 0x8b, 8, 0]),
        Just(vec![0x28, 0xb5, 0x2f, 0xfd]),
    ]
}

/// The pieces pcapng is made of, so that random blocks are often rightly framed.
fn blocks() -> impl Strategy<Value = Vec<u8>> {
    let block = (prop_oneof![1..7_u32, any::<u32>()], vec(any::<u8>(), 0..64)).prop_map(
        |(kind, mut body)| {
            body.resize(body.len().next_multiple_of(4), 0);
            let len = (body.len() as u32 + 12).to_le_bytes();
            [&kind.to_le_bytes()[..], &len, &body, &len].concat()
        },
    );
    vec(block, 0..20).prop_map(|blocks| blocks.concat())
}

/// Reads to the end and checks the invariants of any bytes.
fn survives(bytes: &[u8]) -> Result<(), TestCaseError> {
    let len = bytes.len() as u64;
    let (frames, error) = read_bytes(bytes);
    for frame in &frames {
        prop_assert!(frame.captured.len() <= 256 * 1024);
        prop_assert!(frame.time_ns <= i64::MAX as u64);
    }
    if let Some(CaptureError::Truncated { offset, .. } | CaptureError::Corrupt { offset, .. }) =
        error
    {
        prop_assert!(offset <= len);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes(beginning in beginnings(), garbage in vec(any::<u8>(), 0..2000)) {
        let bytes = [beginning, garbage].concat();
        let compressed = bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5]);
        if compressed { read_bytes(&bytes); } else { survives(&bytes)?; }
    }

    #[test]
    fn any_blocks(blocks in blocks()) {
        let section = &sample_pcapng(Little, Little).bytes[..40];
        survives(&[section, &blocks].concat())?;
    }

    #[test]
    fn any_damage(
        capture in samples(),
        damage in vec((any::<prop::sample::Index>(), 1..=255_u8), 1..6),
    ) {
        let mut bytes = capture.bytes.clone();
        let mut first = bytes.len();
        for (at, flip) in damage {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            first = first.min(at);
        }
        let (frames, _) = read_bytes(&bytes);
        prop_assert!(frames.starts_with(&capture.expected_before(first as u64)));
    }

    #[test]
    fn any_damage_of_a_compressed_stream(
        capture in samples(),
        with_zstd in any::<bool>(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut bytes = if with_zstd { zstd(&capture.bytes) } else { gzip(&capture.bytes) };
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        read_bytes(&bytes);
    }

    #[test]
    fn memory_is_bounded(capture in samples(), claim in any::<u32>(), at in 0..60_usize) {
        let mut bytes = capture.bytes;
        let at = at * 4;
        if let Some(word) = bytes.get_mut(at..at + 4) {
            word.copy_from_slice(&claim.to_le_bytes());
        }
        if let Ok(mut file) = CaptureFile::from_reader(io::Cursor::new(bytes), "claims") {
            while let Ok(Some(_)) = file.next_frame() {}
            prop_assert!(file.window.capacity() <= 1 << 20);
        }
    }
}
