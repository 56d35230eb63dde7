//! Captures that end early or contradict themselves: all that is whole comes out, then one error.

use std::io::{self, Read, Write};

use rstest::rstest;

use super::super::{CaptureError, CaptureFile};
use super::fixtures::Order::{Big, Little};
use super::fixtures::{
    Capture, Expected, Packet, PcapBuilder, PcapNgBuilder, gzip, payload, plain, read_all,
    read_bytes, sample_pcap, sample_pcapng, zstd,
};

#[rstest]
#[case::pcap_little(sample_pcap(Little, false))]
#[case::pcap_big(sample_pcap(Big, true))]
#[case::pcapng_little(sample_pcapng(Little, Big))]
#[case::pcapng_big(sample_pcapng(Big, Little))]
fn cut_anywhere(#[case] capture: Capture) {
    for cut in 0..=capture.bytes.len() {
        let end = cut as u64;
        let (frames, error) = read_bytes(&capture.bytes[..cut]);
        assert_eq!(frames, capture.expected_before(end), "cut at {cut}");
        let record = capture
            .ends
            .iter()
            .copied()
            .filter(|at| *at <= end)
            .max()
            .unwrap_or(0);
        match error {
            None => assert!(capture.ends.contains(&end), "cut at {cut}"),
            Some(CaptureError::Empty { .. }) => assert_eq!(cut, 0),
            Some(CaptureError::NotACapture { .. }) => assert!((1..4).contains(&cut)),
            Some(CaptureError::Truncated {
                offset,
                needed,
                present,
                ..
            }) => {
                assert_eq!((offset, offset + present), (record, end), "cut at {cut}");
                assert!(needed > present, "cut at {cut}");
            }
            Some(other) => panic!("cut at {cut}: {other}"),
        }
    }
}

fn is_prefix(frames: &[Expected], capture: &Capture) -> bool {
    capture.expected().starts_with(frames)
}

#[rstest]
fn cut_anywhere_in_a_compressed_stream(
    #[values(sample_pcap(Little, false), sample_pcapng(Big, Little))] capture: Capture,
    #[values(gzip, zstd)] compress: fn(&[u8]) -> Vec<u8>,
) {
    let whole = compress(&capture.bytes);
    for cut in 4..whole.len() {
        let (frames, error) = read_bytes(&whole[..cut]);
        assert!(is_prefix(&frames, &capture), "cut at {cut}");
        let Some(CaptureError::Compression { offset, .. }) = error else {
            panic!("cut at {cut}: {error:?}");
        };
        assert_eq!(frames, capture.expected_before(offset), "cut at {cut}");
    }
}

/// Frames that compress badly, so that the stream has much to damage.
fn hardly_compressible(frames: usize) -> Capture {
    let mut state = 0x9e37_79b9_u32;
    let mut builder = PcapBuilder::new(Little, false, 1);
    for at in 0..frames {
        let data: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8 & 0x3f
        })
        .take(100)
        .collect();
        builder = builder.frame(at as u32, 0, &data, 100);
    }
    builder.build()
}

#[rstest]
fn little_is_lost_before_damage_in_a_compressed_stream(
    #[values(gzip, zstd)] compress: fn(&[u8]) -> Vec<u8>,
) {
    let mut bytes = compress(&hardly_compressible(10_000).bytes);
    let middle = bytes.len() / 2;
    let (recoverable, _) = read_bytes(&bytes[..middle - 1024]);
    bytes[middle..middle + 4096].fill(0xff);
    let (frames, error) = read_bytes(&bytes);
    let error = error.unwrap();
    assert!(
        matches!(
            error,
            CaptureError::Compression { .. } | CaptureError::Corrupt { .. }
        ),
        "{error}"
    );
    assert!(recoverable.len() > 1000);
    assert!(
        frames.starts_with(&recoverable),
        "{} of {}",
        frames.len(),
        recoverable.len()
    );
}

/// Readers of gzip drop their output for the input that holds the damage.
#[test]
fn nothing_is_lost_before_damage_in_gzip() {
    let capture = hardly_compressible(1000);
    let (left, right) = capture.bytes.split_at(capture.bytes.len() / 2);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(left).unwrap();
    encoder.flush().unwrap();
    let damage = encoder.get_ref().len();
    encoder.write_all(right).unwrap();
    let mut bytes = encoder.finish().unwrap();
    // A deflate block of the reserved type.
    bytes[damage] |= 0b110;
    let Some(CaptureError::Compression { offset, .. }) = read_bytes(&bytes).1 else {
        panic!("the damage went unseen");
    };
    let lost = left.len() as u64 - offset;
    assert_eq!(lost, 0, "bytes before the damage were lost");
}

#[test]
fn a_wrong_gzip_checksum_is_told_after_all_frames() {
    let capture = sample_pcap(Little, false);
    let mut bytes = gzip(&capture.bytes);
    let crc = bytes.len() - 8;
    bytes[crc] ^= 1;
    let (frames, error) = read_bytes(&bytes);
    assert_eq!(frames, capture.expected());
    let message = error.unwrap().to_string();
    let expected = format!(
        "test.pcap is a damaged gzip stream: it can be decompressed up to byte {}: ",
        capture.end()
    );
    assert!(message.starts_with(&expected), "{message}");
}

#[rstest]
fn garbage_after_the_capture_costs_no_frame(
    #[values(sample_pcap(Little, false), sample_pcapng(Little, Little))] capture: Capture,
    #[values(1, 7, 15, 16, 100)] garbage: usize,
) {
    let (frames, error) = read_bytes(&[capture.bytes.clone(), vec![0xa5; garbage]].concat());
    assert_eq!(frames, capture.expected());
    match error.unwrap() {
        CaptureError::Truncated { offset, .. } | CaptureError::Corrupt { offset, .. } => {
            assert_eq!(offset, capture.end());
        }
        other => panic!("{other}"),
    }
}

fn ng() -> PcapNgBuilder {
    let builder = PcapNgBuilder::new(Little);
    let packet = Packet {
        interface: 0,
        ticks: 1,
        data: &payload(1, 10),
        len: 10,
        expected_time_ns: 1000,
        expected_interface: 0,
        expected_link_type: 1,
    };
    builder.interface(1, 50, &[]).enhanced(&packet, &[])
}

fn classic() -> PcapBuilder {
    PcapBuilder::new(Little, false, 1).frame(1, 1, &[1], 1)
}

/// The first of two files joined without a tool.
fn joined() -> Capture {
    let mut first = classic().build();
    first.bytes.extend(classic().build().bytes);
    first
}

fn le(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[rstest]
#[case::frame_too_long(
    classic().words(&[1, 1, 256 * 1024 + 1, 1]).build(),
    "a packet record claims 262145 captured bytes, more than any capture holds"
)]
#[case::frame_of_4_gb(classic().words(&[1, 1, u32::MAX, 1]).build(), "claims 4294967295 captured")]
#[case::joined(joined(), "another pcap file begins here, as in files joined by cat")]
#[case::block_too_short(ng().words(&[6, 8, 8]).build(), "type 0x6 claims to be 8 bytes long")]
#[case::block_of_4_gb(
    ng().words(&[0xbad, 0xffff_fffc]).build(),
    "a block of type 0xbad claims to be 4294967292 bytes long"
)]
#[case::block_beyond_the_limit(
    ng().words(&[0xbad, (64 << 20) + 4]).build(),
    "a block of type 0xbad claims to be 67108868 bytes long"
)]
#[case::lengths_differ(
    ng().words(&[5, 16, 0, 20]).build(),
    "a block of type 0x5 begins with the length 16 and ends with 20"
)]
#[case::unknown_interface(
    ng().block(6, &le(&[1, 0, 0, 0, 0])).build(),
    "a packet refers to interface 1, its section describes 1"
)]
#[case::packet_beyond_its_block(
    ng().block(6, &le(&[0, 0, 0, 5, 5, 0])).build(),
    "a packet claims 5 captured bytes in a block of 36 bytes"
)]
#[case::packet_of_4_gb(
    ng().block(6, &le(&[0, 0, 0, u32::MAX, 5, 0])).build(),
    "a packet claims 4294967295 captured bytes in a block of 36 bytes"
)]
#[case::obsolete_packet_beyond_its_block(
    ng().block(2, &le(&[0, 0, 0, 1, 1])).build(),
    "a packet claims 1 captured bytes in a block of 32 bytes"
)]
#[case::simple_packet_beyond_its_block(
    ng().block(3, &le(&[60, 0])).build(),
    "a packet claims 50 captured bytes in a block of 20 bytes"
)]
#[case::short_enhanced(ng().block(6, &[0; 16]).build(), "an Enhanced Packet Block is too short")]
#[case::short_obsolete(ng().block(2, &[0; 16]).build(), "a Packet Block is too short")]
#[case::short_simple(ng().block(3, &[]).build(), "a Simple Packet Block is too short")]
#[case::short_interface(ng().block(1, &[0; 4]).build(), "an interface description is too short")]
#[case::options_beyond_the_block(
    ng().block(1, &le(&[1, 0, 0x0008_0002, 0])).build(),
    "an interface's options reach beyond their block"
)]
#[case::time_resolution(
    ng().block(1, &le(&[1, 0, 0x0002_0009, 0])).build(),
    "an interface's time resolution is not one byte"
)]
#[case::time_offset(
    ng().block(1, &le(&[1, 0, 0x0004_000e, 0])).build(),
    "an interface's time offset is not 8 bytes"
)]
#[case::section_without_magic(
    ng().words(&[0x0a0d_0d0a, 28, 0x1234_5678]).build(),
    "a section header without the byte-order magic"
)]
#[case::section_version(
    ng().block(0x0a0d_0d0a, &le(&[0x1a2b_3c4d, 2, 0, 0])).build(),
    "a section claims pcapng version 2.0, known is 1.0"
)]
#[case::section_too_short(
    ng().block(0x0a0d_0d0a, &le(&[0x1a2b_3c4d])).build(),
    "a section header is too short for a version"
)]
fn tells_what_is_corrupt(#[case] capture: Capture, #[case] expected: &str) {
    let (frames, error) = read_bytes(&capture.bytes);
    assert_eq!(frames, capture.expected());
    let Some(CaptureError::Corrupt { offset, detail, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(offset, capture.frames[0].0);
    assert!(detail.contains(expected), "{detail}");
}

#[test]
fn interfaces_are_forgotten_at_a_new_section() {
    let capture = ng().section(Big).block(3, &[0; 4]).build();
    let (frames, error) = read_bytes(&capture.bytes);
    assert_eq!(frames, capture.expected());
    let message = error.unwrap().to_string();
    assert!(
        message.contains("interface 0, its section describes 0"),
        "{message}"
    );
}

#[test]
fn a_pcap_of_an_unknown_version_is_told() {
    let capture = PcapBuilder::with_version(Big, false, 1, 3, 1).build();
    let error = read_bytes(&capture.bytes).1.unwrap().to_string();
    let expected =
        "test.pcap is corrupt at byte 0: its pcap file header claims version 3.1, known is 2.4";
    assert_eq!(error, expected);
}

#[rstest]
#[case::text(
    b"{\"a\": 1, \"b\": 2}",
    "it begins with 7b 22 61 22 3a 20 31 2c; known are pcap"
)]
#[case::short(b"ab", "2 bytes are too few for any file header")]
#[case::xz(
    b"\xfd7zXZ\0\0\0\0",
    "it is an xz file; decompress it: xz -dc FILE | tlswhy pcap -"
)]
fn tells_what_is_no_capture(#[case] bytes: &[u8], #[case] expected: &str) {
    for bytes in [bytes.to_vec(), gzip(bytes), zstd(bytes)] {
        let error = read_bytes(&bytes).1.unwrap();
        assert!(
            matches!(error, CaptureError::NotACapture { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_empty_file_is_told_apart() {
    for bytes in [Vec::new(), gzip(&[]), zstd(&[])] {
        let error = read_bytes(&bytes).1.unwrap();
        assert!(matches!(error, CaptureError::Empty { .. }), "{error:?}");
        assert!(
            error.to_string().contains("test.pcap: the file is empty"),
            "{error}"
        );
    }
}

/// A disk that fails after some bytes.
struct Failing(io::Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.0.read(room)? {
            0 => Err(io::Error::other("the disk is on fire")),
            read => Ok(read),
        }
    }
}

#[rstest]
fn a_failing_disk_is_not_blamed_on_the_capture(
    #[values(plain, gzip, zstd)] compress: fn(&[u8]) -> Vec<u8>,
) {
    let capture = sample_pcap(Little, false);
    let mut bytes = compress(&capture.bytes);
    bytes.truncate(bytes.len() - 3);
    let (frames, error) = read_all(Failing(io::Cursor::new(bytes)));
    assert!(is_prefix(&frames, &capture));
    let Some(CaptureError::Io { error, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.to_string(), "the disk is on fire");
}

#[test]
fn a_claimed_length_costs_no_memory() {
    let capture = ng().words(&[0xbad, 60 << 20, 1, 2, 3]).build();
    let mut file = CaptureFile::from_reader(io::Cursor::new(capture.bytes), "claims").unwrap();
    assert!(file.next_frame().unwrap().is_some());
    let error = file.next_frame().unwrap_err();
    assert!(
        matches!(
            error,
            CaptureError::Truncated {
                needed: 62_914_560,
                present: 20,
                ..
            }
        ),
        "{error}"
    );
    assert!(file.window.capacity() <= 1 << 20);
}
