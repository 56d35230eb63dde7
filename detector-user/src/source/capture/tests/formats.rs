//! Whole captures, in every format, byte order and compression.

use std::io::{self, Read};
use std::path::Path;

use rstest::rstest;

use super::super::{CaptureFile, LinkType};
use super::fixtures::Order::{self, Big, Little};
use super::fixtures::{
    Capture, Packet, PcapBuilder, PcapNgBuilder, gzip, payload, plain, read_all, read_bytes,
    sample_pcap, sample_pcapng, zstd,
};

/// Two compressed streams, one after the other, as log rotation and `cat` make them.
fn in_two(compress: fn(&[u8]) -> Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    let (left, right) = bytes.split_at(bytes.len() / 2);
    [compress(left), compress(right)].concat()
}

fn gzip_in_two(bytes: &[u8]) -> Vec<u8> {
    in_two(gzip, bytes)
}

fn zstd_in_two(bytes: &[u8]) -> Vec<u8> {
    in_two(zstd, bytes)
}

/// A skippable frame first, as pzstd and seekable archives have it.
fn zstd_after_skippable(bytes: &[u8]) -> Vec<u8> {
    [
        &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'a', b'b', b'c'][..],
        &zstd(bytes),
    ]
    .concat()
}

#[rstest]
#[case::us_little(sample_pcap(Little, false))]
#[case::us_big(sample_pcap(Big, false))]
#[case::ns_little(sample_pcap(Little, true))]
#[case::ns_big(sample_pcap(Big, true))]
#[case::pcapng_little(sample_pcapng(Little, Little))]
#[case::pcapng_big(sample_pcapng(Big, Big))]
#[case::pcapng_little_big(sample_pcapng(Little, Big))]
#[case::pcapng_big_little(sample_pcapng(Big, Little))]
fn reads_every_format(
    #[case] capture: Capture,
    #[values(plain, gzip, zstd, gzip_in_two, zstd_in_two, zstd_after_skippable)]
    compress: fn(&[u8]) -> Vec<u8>,
) {
    let (frames, error) = read_bytes(&compress(&capture.bytes));
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames, capture.expected());
}

/// Gives one byte at a time and is interrupted before each.
struct Drip {
    bytes: io::Cursor<Vec<u8>>,
    interrupt: bool,
}

impl Read for Drip {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let room = if room.is_empty() {
            room
        } else {
            &mut room[..1]
        };
        self.bytes.read(room)
    }
}

#[rstest]
fn reads_a_dripping_pipe(
    #[values(sample_pcap(Big, true), sample_pcapng(Little, Big))] capture: Capture,
    #[values(plain, gzip, zstd)] compress: fn(&[u8]) -> Vec<u8>,
) {
    let bytes = io::Cursor::new(compress(&capture.bytes));
    let (frames, error) = read_all(Drip {
        bytes,
        interrupt: false,
    });
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames, capture.expected());
}

/// Returns the bytes that are there and then fails the test: nobody may wait for more than a frame
/// needs.
struct Live(io::Cursor<Vec<u8>>);

impl Read for Live {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(room)?;
        assert!(read > 0, "a frame that is there was held back");
        Ok(read)
    }
}

#[rstest]
fn hands_out_a_frame_of_a_live_pipe_at_once(
    #[values(sample_pcap(Little, false), sample_pcapng(Little, Big))] capture: Capture,
) {
    let live = Live(io::Cursor::new(capture.bytes.clone()));
    let mut file = CaptureFile::from_reader(live, "live").unwrap();
    for (end, expected) in &capture.frames {
        let frame = file.next_frame().unwrap().unwrap();
        assert_eq!(frame.captured, expected.captured);
        assert_eq!(file.offset(), *end);
    }
}

#[test]
fn reads_more_than_the_buffer_holds() {
    let mut builder = PcapBuilder::new(Little, true, 1);
    for at in 0..4000_u32 {
        let data = payload(at as u8, at as usize);
        builder = builder.frame(at, at, &data, at);
    }
    let largest = payload(9, 256 * 1024);
    let capture = builder
        .frame(1, 1, &largest, u32::MAX)
        .frame(2, 2, &largest, 1)
        .build();
    for bytes in [
        capture.bytes.clone(),
        gzip(&capture.bytes),
        zstd(&capture.bytes),
    ] {
        let (frames, error) = read_bytes(&bytes);
        assert!(error.is_none(), "{error:?}");
        assert!(frames == capture.expected());
    }
}

#[rstest]
#[case::microseconds(Some(6), None, 1_700_000_000_123_456, 1_700_000_000_123_456_000)]
#[case::default(None, None, 1_700_000_000_123_456, 1_700_000_000_123_456_000)]
#[case::seconds(Some(0), None, 1_700_000_000, 1_700_000_000_000_000_000)]
#[case::nanoseconds(Some(9), None, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789)]
#[case::picoseconds(Some(12), Some(1_700_000_000), 1_999, 1_700_000_000_000_000_001)]
#[case::far_too_fine(Some(127), Some(3), u64::MAX - 1, 3_000_000_000)]
#[case::binary_seconds(Some(0x80), None, 5, 5_000_000_000)]
#[case::binary(Some(0x80 | 32), None, (7 << 32) | (1 << 31), 7_500_000_000)]
#[case::binary_all(Some(0x80 | 64), Some(1), 1 << 63, 1_500_000_000)]
#[case::binary_too_fine(Some(0xff), Some(1), u64::MAX, 1_000_000_000)]
#[case::offset_back(Some(6), Some(-1), 3_000_000, 2_000_000_000)]
#[case::before_the_epoch(Some(6), Some(-10), 3_000_000, 0)]
#[case::beyond_64_bits(Some(6), None, u64::MAX, i64::MAX as u64)]
#[case::offset_beyond(Some(0), Some(i64::MAX), u64::MAX, i64::MAX as u64)]
#[case::offset_long_before(Some(0), Some(i64::MIN), u64::MAX, i64::MAX as u64)]
#[case::offset_very_long_before(Some(9), Some(i64::MIN), u64::MAX, 0)]
fn reads_every_clock(
    #[values(Little, Big)] order: Order,
    #[case] resolution: Option<u8>,
    #[case] offset: Option<i64>,
    #[case] ticks: u64,
    #[case] expected_time_ns: u64,
) {
    let builder = PcapNgBuilder::new(order);
    let mut options = Vec::new();
    options.extend(resolution.map(|resolution| builder.option(9, &[resolution])));
    options.extend(offset.map(|seconds| builder.offset_option(seconds)));
    let packet = Packet {
        interface: 0,
        ticks,
        data: &[1, 2, 3],
        len: 3,
        expected_time_ns,
        expected_interface: 0,
        expected_link_type: 1,
    };
    let capture = builder
        .interface(1, 0, &options)
        .enhanced(&packet, &[])
        .build();
    let (frames, error) = read_bytes(&capture.bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames, capture.expected());
}

#[test]
fn names_interfaces_through_all_sections() {
    let capture = sample_pcapng(Little, Big);
    let mut file = CaptureFile::from_reader(io::Cursor::new(capture.bytes), "names").unwrap();
    while file.next_frame().unwrap().is_some() {}
    let names: Vec<_> = (0..4)
        .map(|interface| file.interface_name(interface))
        .collect();
    assert_eq!(names, [Some("eth0"), Some("tun0"), None, None]);
}

#[test]
fn an_interface_keeps_its_number_only_at_its_place() {
    let packet = |interface, expected_interface| Packet {
        interface,
        ticks: 0,
        data: &[7],
        len: 1,
        expected_time_ns: 0,
        expected_interface,
        expected_link_type: 1,
    };
    let builder = PcapNgBuilder::new(Little);
    let (lan, wan) = ([builder.option(2, b"lan")], [builder.option(2, b"wan")]);
    let capture = builder
        .interface(1, 0, &lan)
        .interface(1, 0, &lan)
        .enhanced(&packet(0, 0), &[])
        .enhanced(&packet(1, 1), &[])
        .section(Little)
        .interface(1, 0, &lan)
        .interface(1, 0, &wan)
        .enhanced(&packet(0, 0), &[])
        .enhanced(&packet(1, 2), &[])
        .build();
    let (frames, error) = read_bytes(&capture.bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames, capture.expected());
}

#[test]
fn a_long_interface_name_is_cut_between_characters() {
    let builder = PcapNgBuilder::new(Little);
    let name = [builder.option(2, "ä".repeat(200).as_bytes())];
    let odd = [builder.option(2, format!("x{}", "ä".repeat(200)).as_bytes())];
    let capture = builder.interface(1, 0, &name).interface(1, 0, &odd).build();
    let mut file = CaptureFile::from_reader(io::Cursor::new(capture.bytes), "names").unwrap();
    assert_eq!(file.next_frame().unwrap(), None);
    assert_eq!(file.interface_name(0), Some("ä".repeat(128).as_str()));
    assert_eq!(
        file.interface_name(1),
        Some(format!("x{}", "ä".repeat(127)).as_str())
    );
}

#[test]
fn the_link_type_is_freed_of_the_frame_check_sequence_bits() {
    let capture = PcapBuilder::new(Big, false, 0x5400_0001)
        .frame(1, 1, &[1], 1)
        .build();
    let (frames, _) = read_bytes(&capture.bytes);
    assert_eq!(frames[0].link_type, LinkType::ETHERNET);
}

#[test]
fn a_block_whose_length_omits_the_padding_is_read() {
    let capture = PcapNgBuilder::new(Little).interface(1, 0, &[]).build();
    let words = [6, 34, 0, 0, 0, 2, 2, 0xbbaa, 34];
    let tail: Vec<u8> = words
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    let (frames, error) = read_bytes(&[capture.bytes, tail].concat());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames[0].captured, [0xaa, 0xbb]);
}

#[rstest]
#[case::always(2, 3, 1)]
#[case::where_it_shows(3, 3, 1)]
#[case::not_where_it_does_not(3, 1, 3)]
fn old_versions_swap_the_lengths(#[case] minor: u16, #[case] first: u32, #[case] second: u32) {
    let builder = PcapBuilder::with_version(Little, false, 1, 2, minor);
    let mut bytes = builder.words(&[0, 0, first, second]).build().bytes;
    bytes.push(0xee);
    let (frames, error) = read_bytes(&bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        (frames[0].captured.as_slice(), frames[0].original_len),
        (&[0xee][..], 3)
    );
}

#[test]
fn opens_a_file_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("capture.pcap");
    let capture = sample_pcap(Little, false);
    std::fs::write(&path, zstd(&capture.bytes)).unwrap();
    let mut file = CaptureFile::open(&path).unwrap();
    assert_eq!(file.name(), path.display().to_string());
    while file.next_frame().unwrap().is_some() {}
    assert_eq!((file.frames(), file.offset()), (5, capture.end()));
}

#[rstest]
#[case("/nonexistent/a.pcap", "cannot open /nonexistent/a.pcap: No such file")]
#[case("/", "cannot read /: it is a directory; name the captures in it")]
fn tells_why_a_file_cannot_be_opened(#[case] path: &str, #[case] expected: &str) {
    let error = CaptureFile::open(Path::new(path))
        .err()
        .unwrap()
        .to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case(1, Some("ETHERNET"), "ETHERNET (1)")]
#[case(276, Some("LINUX_SLL2"), "LINUX_SLL2 (276)")]
#[case(60_000, None, "link type 60000")]
fn link_types_have_names(#[case] value: u32, #[case] name: Option<&str>, #[case] shown: &str) {
    assert_eq!(LinkType(value).name(), name);
    assert_eq!(LinkType(value).to_string(), shown);
}
