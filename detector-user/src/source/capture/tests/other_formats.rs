//! Captures in the formats beside pcap and pcapng.

use rstest::rstest;

use super::super::{CaptureError, LinkType};
use super::fixtures::Order::{self, Big, Little};
use super::fixtures::{Capture, Expected, gzip, payload, read_bytes, u16s, u32s};

const SECONDS: u32 = 1_700_000_000;

fn expect(capture: &mut Capture, time_ns: u64, link_type: LinkType, data: &[u8], wire_len: u32) {
    capture.finish_record();
    let expected = Expected {
        time_ns,
        interface: 0,
        link_type,
        captured: data.to_vec(),
        original_len: wire_len,
    };
    capture.frames.push((capture.end(), expected));
}

/// Frames, cut frames, and frames earlier than those before them.
fn frames() -> [(u64, Vec<u8>, u32); 3] {
    let base = u64::from(SECONDS) * 1_000_000_000;
    [
        (base + 500_000_000, payload(1, 61), 61),
        (base + 250_000_000, payload(2, 96), 1514),
        (base + 750_000_000, payload(3, 64), 64),
    ]
}

/// Kuznetzov's: interface, protocol, packet type and a byte of padding behind the usual four words.
fn modified(order: Order) -> Capture {
    let mut capture = Capture::default();
    capture.bytes.extend(u32s(order, &[0xa1b2_cd34]));
    capture.bytes.extend(u16s(order, &[2, 4]));
    capture.bytes.extend(u32s(order, &[0, 0, 1514, 1]));
    capture.finish_record();
    for (time_ns, data, wire_len) in frames() {
        let micros = (time_ns % 1_000_000_000 / 1000) as u32;
        let words = [SECONDS, micros, data.len() as u32, wire_len, 2];
        capture.bytes.extend(u32s(order, &words));
        capture.bytes.extend(u16s(order, &[0x0800]));
        capture.bytes.extend([4, 0]);
        capture.bytes.extend(&data);
        expect(&mut capture, time_ns, LinkType::ETHERNET, &data, wire_len);
    }
    capture
}

fn snoop() -> Capture {
    let mut capture = Capture::default();
    capture.bytes.extend(b"snoop\0\0\0");
    capture.bytes.extend(u32s(Big, &[2, 4]));
    capture.finish_record();
    for (time_ns, data, wire_len) in frames() {
        let micros = (time_ns % 1_000_000_000 / 1000) as u32;
        let padded = data.len().next_multiple_of(4);
        let words = [
            wire_len,
            data.len() as u32,
            24 + padded as u32,
            0,
            SECONDS,
            micros,
        ];
        capture.bytes.extend(u32s(Big, &words));
        capture.bytes.extend(&data);
        capture
            .bytes
            .resize(capture.bytes.len() + padded - data.len(), 0);
        expect(&mut capture, time_ns, LinkType::ETHERNET, &data, wire_len);
    }
    capture
}

/// A record of Endace's format.
fn erf_record(capture: &mut Capture, kind: u8, time_ns: u64, head: &[u8], data: &[u8], wire: u16) {
    let (seconds, ns) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000);
    let time = (seconds << 32) | ((ns << 32) / 1_000_000_000);
    let len = 16 + head.len() + data.len();
    capture.bytes.extend(time.to_le_bytes());
    // Flags: varying record lengths, port 1.
    capture.bytes.extend([kind, 0x05]);
    capture.bytes.extend(u16s(Big, &[len as u16, 0, wire]));
    capture.bytes.extend(head);
    capture.bytes.extend(data);
}

/// Frames of several types, with and without extension headers, and a record without a frame.
fn erf() -> Capture {
    let mut capture = Capture::default();
    let extensions = [
        &[0x83, 0, 0, 0, 0, 0, 0, 1][..],
        &[0x04, 0, 0, 0, 0, 0, 0, 2],
        &[0, 0],
    ]
    .concat();
    let heads = [(2, vec![0, 0]), (0x80 | 16, extensions), (20, vec![0, 0])];
    for ((time_ns, data, wire_len), (kind, head)) in frames().into_iter().zip(heads) {
        erf_record(&mut capture, kind, time_ns, &head, &data, wire_len as u16);
        expect(&mut capture, time_ns, LinkType::ETHERNET, &data, wire_len);
    }
    let time_ns = frames()[0].0;
    erf_record(&mut capture, 27, time_ns, &[], &payload(4, 24), 0);
    capture.finish_record();
    for (kind, link_type) in [(1, LinkType::PPP_HDLC), (22, LinkType::IPV4)] {
        let data = payload(5, 60);
        erf_record(&mut capture, kind, time_ns, &[], &data, 60);
        expect(&mut capture, time_ns, link_type, &data, 60);
    }
    capture
}

#[rstest]
fn every_format_is_read_whole_and_cut(
    #[values(modified(Little), modified(Big), snoop(), erf())] capture: Capture,
) {
    for bytes in [capture.bytes.clone(), gzip(&capture.bytes)] {
        let (frames, error) = read_bytes(&bytes);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(frames, capture.expected());
    }
    let first = capture.frames[0].0;
    for len in first..capture.end() {
        let (frames, error) = read_bytes(&capture.bytes[..len as usize]);
        assert_eq!(frames, capture.expected_before(len), "{len}");
        let is_end = capture.ends.contains(&len);
        let cut = matches!(error, Some(CaptureError::Truncated { .. }));
        assert_eq!(cut, !is_end, "{len}: {error:?}");
    }
}

#[test]
fn a_datalink_type_of_snoop_that_is_not_read_is_named() {
    let mut bytes = snoop().bytes;
    bytes[15] = 18;
    let (_, error) = read_bytes(&bytes);
    assert!(error.unwrap().to_string().contains("datalink type 18"));
}

#[test]
fn lengths_that_contradict_each_other_are_corrupt() {
    let mut bytes = snoop().bytes;
    bytes[16 + 4] = 1;
    let (read, error) = read_bytes(&bytes);
    assert!(read.is_empty());
    assert!(matches!(error, Some(CaptureError::Corrupt { .. })));
}

/// Records have no signature: the second tells that the first was one by chance.
#[test]
fn what_only_begins_like_a_record_is_no_capture() {
    let mut bytes = erf().bytes;
    let second = erf().frames[0].0 as usize;
    bytes[second + 10..second + 12].copy_from_slice(&[0, 15]);
    let (read, error) = read_bytes(&bytes);
    assert!(read.is_empty());
    assert!(matches!(error, Some(CaptureError::NotACapture { .. })));
}
