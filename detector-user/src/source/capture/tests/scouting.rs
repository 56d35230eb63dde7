//! Looking ahead in mapped captures.

use std::io::Cursor;

use super::super::pcap::{FILE_HEADER, Pcap};
use super::super::pcapng::PcapNg;
use super::super::{CaptureFile, scout};
use super::fixtures::Order::{Big, Little};
use super::fixtures::{PcapBuilder, payload, sample_pcapng};

#[test]
fn a_cursor_finds_the_next_record() {
    for order in [Little, Big] {
        let mut builder = PcapBuilder::new(order, false, 1);
        for number in 0..40 {
            builder = builder.frame(1_700_000_000, 7, &payload(number, 90), 90);
        }
        let bytes = builder.build().bytes;
        let pcap = Pcap::from_file_header(&bytes).unwrap();
        let first = &bytes[FILE_HEADER..];
        let len = pcap.record_len(first).unwrap();
        assert_eq!(len * 40, first.len());
        for from in 0..first.len() - len {
            let found = pcap.find_header(first, &first[from..]).map(|at| from + at);
            assert_eq!(found, Some(from.next_multiple_of(len)), "from {from}");
        }
    }
}

#[test]
fn a_cursor_finds_the_next_enhanced_packet_block() {
    const ENHANCED_PACKET: [u8; 4] = [6, 0, 0, 0];
    let bytes = sample_pcapng(Little, Little).bytes;
    let found = PcapNg::new().find_header(&bytes).unwrap();
    assert_eq!(bytes[found..found + 4], ENHANCED_PACKET);
}

#[test]
fn a_mapped_capture_has_the_frames_of_the_same_stream() {
    let mut builder = PcapBuilder::new(Little, false, 1);
    let mut number: u32 = 0;
    let mut len = 0;
    while len < 5 * scout::REACH + 100 {
        let size = 40 + number as usize * 37 % 1400;
        builder = builder.frame(1_700_000_000, number, &payload(number as u8, size), 1500);
        number += 1;
        len += size;
    }
    let bytes = builder.build().bytes;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let mut mapped = CaptureFile::open(file.path()).unwrap();
    let mut stream = CaptureFile::from_reader(Cursor::new(bytes), "stream").unwrap();
    while let Some(frame) = stream.next_frame().unwrap() {
        assert_eq!(mapped.next_frame().unwrap(), Some(frame));
    }
    assert_eq!(mapped.next_frame().unwrap(), None);
    assert_eq!(mapped.frames(), u64::from(number));
}
