//! Captures made byte by byte, independently of the parsers under test.

use std::io::{self, Read, Write};

use super::super::{CaptureError, CaptureFile, LinkType};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

use Order::{Big, Little};

/// A frame as it should come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) time_ns: u64,
    pub(super) interface: u32,
    pub(super) link_type: LinkType,
    pub(super) captured: Vec<u8>,
    pub(super) original_len: u32,
}

/// A capture, the frames in it, and where records end.
#[derive(Clone, Debug, Default)]
pub(super) struct Capture {
    pub(super) bytes: Vec<u8>,
    /// Each frame with the offset at which its record ends.
    pub(super) frames: Vec<(u64, Expected)>,
    /// Every offset at which the file may end without being damaged.
    pub(super) ends: Vec<u64>,
}

impl Capture {
    pub(super) fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn expected(&self) -> Vec<Expected> {
        self.frames.iter().map(|(_, frame)| frame.clone()).collect()
    }

    /// The frames whose records end at or before `offset`.
    pub(super) fn expected_before(&self, offset: u64) -> Vec<Expected> {
        let before = self.frames.iter().filter(|(end, _)| *end <= offset);
        before.map(|(_, frame)| frame.clone()).collect()
    }

    pub(super) fn finish_record(&mut self) {
        self.ends.push(self.end());
    }
}

pub(super) fn u16s(order: Order, values: &[u16]) -> Vec<u8> {
    let bytes = |value: &u16| match order {
        Little => value.to_le_bytes(),
        Big => value.to_be_bytes(),
    };
    values.iter().flat_map(bytes).collect()
}

pub(super) fn u32s(order: Order, values: &[u32]) -> Vec<u8> {
    let bytes = |value: &u32| match order {
        Little => value.to_le_bytes(),
        Big => value.to_be_bytes(),
    };
    values.iter().flat_map(bytes).collect()
}

/// Bytes that no two frames of a capture share.
pub(super) fn payload(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| seed.wrapping_add((at % 251) as u8))
        .collect()
}

/// Writes classic pcap.
pub(super) struct PcapBuilder {
    order: Order,
    nanoseconds: bool,
    link_type: u32,
    capture: Capture,
}

impl PcapBuilder {
    pub(super) fn new(order: Order, nanoseconds: bool, link_type: u32) -> Self {
        Self::with_version(order, nanoseconds, link_type, 2, 4)
    }

    pub(super) fn with_version(
        order: Order,
        nanoseconds: bool,
        link_type: u32,
        major: u16,
        minor: u16,
    ) -> Self {
        let magic = if nanoseconds {
            0xa1b2_3c4d
        } else {
            0xa1b2_c3d4
        };
        let mut capture = Capture::default();
        capture.bytes.extend(u32s(order, &[magic]));
        capture.bytes.extend(u16s(order, &[major, minor]));
        capture.bytes.extend(u32s(order, &[0, 0, 96, link_type]));
        capture.finish_record();
        Self {
            order,
            nanoseconds,
            link_type: link_type & 0xffff,
            capture,
        }
    }

    pub(super) fn frame(mut self, seconds: u32, fraction: u32, data: &[u8], len: u32) -> Self {
        let header = [seconds, fraction, data.len() as u32, len];
        self.capture.bytes.extend(u32s(self.order, &header));
        self.capture.bytes.extend(data);
        self.capture.finish_record();
        let scale = if self.nanoseconds { 1 } else { 1000 };
        let expected = Expected {
            time_ns: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * scale,
            interface: 0,
            link_type: LinkType(self.link_type),
            captured: data.to_vec(),
            original_len: len,
        };
        self.capture.frames.push((self.capture.end(), expected));
        self
    }

    /// Anything, in the file's byte order.
    pub(super) fn words(mut self, words: &[u32]) -> Self {
        self.capture.bytes.extend(u32s(self.order, words));
        self
    }

    pub(super) fn build(self) -> Capture {
        self.capture
    }
}

/// One packet of a pcapng capture: where it belongs and what is expected of it.
pub(super) struct Packet<'a> {
    /// Position of its interface in the section.
    pub(super) interface: u32,
    pub(super) ticks: u64,
    pub(super) data: &'a [u8],
    pub(super) len: u32,
    pub(super) expected_time_ns: u64,
    pub(super) expected_interface: u32,
    pub(super) expected_link_type: u32,
}

/// Writes pcapng.
pub(super) struct PcapNgBuilder {
    order: Order,
    capture: Capture,
}

impl PcapNgBuilder {
    pub(super) fn new(order: Order) -> Self {
        // The empty file before it is told apart as such.
        Self {
            order,
            capture: Capture::default(),
        }
        .section(order)
    }

    pub(super) fn section(mut self, order: Order) -> Self {
        self.order = order;
        let mut body = u32s(order, &[0x1a2b_3c4d]);
        body.extend(u16s(order, &[1, 0]));
        body.extend([0xff; 8]);
        body.extend(self.option(4, b"a test"));
        self.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn interface(mut self, link_type: u16, snap_len: u32, options: &[Vec<u8>]) -> Self {
        let mut body = u16s(self.order, &[link_type, 0]);
        body.extend(u32s(self.order, &[snap_len]));
        body.extend(options.concat());
        if !options.is_empty() {
            body.extend(self.option(0, b""));
        }
        self = self.block(1, &body);
        self
    }

    pub(super) fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut option = u16s(self.order, &[code, value.len() as u16]);
        option.extend(padded(value));
        option
    }

    pub(super) fn offset_option(&self, seconds: i64) -> Vec<u8> {
        let bytes = match self.order {
            Little => seconds.to_le_bytes(),
            Big => seconds.to_be_bytes(),
        };
        self.option(14, &bytes)
    }

    /// Any block, rightly framed.
    pub(super) fn block(mut self, kind: u32, body: &[u8]) -> Self {
        let body = padded(body);
        let len = body.len() as u32 + 12;
        self.capture.bytes.extend(u32s(self.order, &[kind, len]));
        self.capture.bytes.extend(body);
        self.capture.bytes.extend(u32s(self.order, &[len]));
        self.capture.finish_record();
        self
    }

    pub(super) fn enhanced(self, packet: &Packet<'_>, options: &[u8]) -> Self {
        let (high, low) = ((packet.ticks >> 32) as u32, packet.ticks as u32);
        let fields = [
            packet.interface,
            high,
            low,
            packet.data.len() as u32,
            packet.len,
        ];
        let body = [
            u32s(self.order, &fields),
            padded(packet.data),
            options.to_vec(),
        ]
        .concat();
        self.block(6, &body).expect(packet)
    }

    pub(super) fn obsolete(self, packet: &Packet<'_>) -> Self {
        let (high, low) = ((packet.ticks >> 32) as u32, packet.ticks as u32);
        let mut body = u16s(self.order, &[packet.interface as u16, 7]);
        body.extend(u32s(
            self.order,
            &[high, low, packet.data.len() as u32, packet.len],
        ));
        body.extend(packet.data);
        self.block(2, &body).expect(packet)
    }

    pub(super) fn simple(self, packet: &Packet<'_>) -> Self {
        let body = [u32s(self.order, &[packet.len]), packet.data.to_vec()].concat();
        self.block(3, &body).expect(packet)
    }

    fn expect(mut self, packet: &Packet<'_>) -> Self {
        let expected = Expected {
            time_ns: packet.expected_time_ns,
            interface: packet.expected_interface,
            link_type: LinkType(packet.expected_link_type),
            captured: packet.data.to_vec(),
            original_len: packet.len,
        };
        self.capture.frames.push((self.capture.end(), expected));
        self
    }

    /// Anything, in the section's byte order.
    pub(super) fn words(mut self, words: &[u32]) -> Self {
        self.capture.bytes.extend(u32s(self.order, words));
        self
    }

    pub(super) fn build(self) -> Capture {
        self.capture
    }
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A classic capture with what makes frames awkward: none captured, cut, longer than the snapshot
/// length, time going backwards, a fraction that is none.
pub(super) fn sample_pcap(order: Order, nanoseconds: bool) -> Capture {
    PcapBuilder::new(order, nanoseconds, 1)
        .frame(1_700_000_000, 123_456, &payload(1, 60), 60)
        .frame(1_700_000_000, 999_999, &payload(2, 96), 1514)
        .frame(1_699_999_999, 5, &payload(3, 0), 0)
        .frame(u32::MAX, u32::MAX, &payload(4, 300), 300)
        .frame(0, 0, &payload(5, 61), 3)
        .build()
}

/// A pcapng capture of two sections with all packet blocks, several clocks and link types, and
/// blocks that are none of our business.
pub(super) fn sample_pcapng(first: Order, second: Order) -> Capture {
    let builder = PcapNgBuilder::new(first);
    let nanoseconds = [builder.option(2, b"eth0"), builder.option(9, &[9])];
    let binary = [
        builder.option(2, b"tun0"),
        builder.option(9, &[0x80 | 10]),
        builder.offset_option(1_700_000_000),
    ];
    let packet = Packet {
        interface: 0,
        ticks: 1_700_000_000_123_456_789,
        data: &payload(1, 61),
        len: 1514,
        expected_time_ns: 1_700_000_000_123_456_789,
        expected_interface: 0,
        expected_link_type: 1,
    };
    let on_tun = Packet {
        interface: 1,
        ticks: 1024 + 512,
        data: &payload(2, 40),
        len: 40,
        expected_time_ns: 1_700_000_001_500_000_000,
        expected_interface: 1,
        expected_link_type: 101,
    };
    let simple = Packet {
        ticks: 0,
        expected_time_ns: 0,
        data: &payload(3, 96),
        ..packet
    };
    let flags = builder.option(2, &[1, 0, 0, 0]);
    let builder = builder
        .interface(1, 96, &nanoseconds)
        .interface(101, 0, &binary)
        .enhanced(&packet, &flags)
        .block(4, &[0; 4])
        .enhanced(&on_tun, &[])
        .simple(&simple)
        .obsolete(&Packet {
            data: &payload(4, 3),
            len: 3,
            ..on_tun
        })
        .section(second);
    let eth0 = [builder.option(2, b"eth0")];
    let later = Packet {
        ticks: 1_600_000_000_000_001,
        data: &payload(5, 0),
        expected_time_ns: 1_600_000_000_000_001_000,
        ..packet
    };
    builder
        .interface(1, 0, &eth0)
        .interface(113, 0, &[])
        .enhanced(&later, &[])
        .block(0x8000_0abc, &payload(6, 33))
        .obsolete(&Packet {
            interface: 1,
            expected_interface: 2,
            expected_link_type: 113,
            data: &payload(7, 17),
            ..later
        })
        .build()
}

/// Reads a capture to its end: the frames, and the error if there was one. Whatever happened,
/// nothing may follow.
pub(super) fn read_all(
    reader: impl Read + Send + 'static,
) -> (Vec<Expected>, Option<CaptureError>) {
    let mut frames = Vec::new();
    let mut file = match CaptureFile::from_reader(reader, "test.pcap") {
        Ok(file) => file,
        Err(error) => return (frames, Some(error)),
    };
    let error = loop {
        match file.next_frame() {
            Ok(None) => break None,
            Err(error) => break Some(error),
            Ok(Some(frame)) => frames.push(Expected {
                time_ns: frame.time_ns,
                interface: frame.interface,
                link_type: frame.link_type,
                captured: frame.captured.to_vec(),
                original_len: frame.original_len,
            }),
        }
    };
    assert_eq!(file.frames(), frames.len() as u64);
    for _ in 0..2 {
        assert!(
            matches!(file.next_frame(), Ok(None)),
            "something follows the end"
        );
    }
    (frames, error)
}

pub(super) fn read_bytes(bytes: &[u8]) -> (Vec<Expected>, Option<CaptureError>) {
    read_all(io::Cursor::new(bytes.to_vec()))
}

pub(super) fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
    // As the command line tool does it.
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
