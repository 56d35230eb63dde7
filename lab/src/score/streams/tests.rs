//! Numbers beside those that Wireshark gives.

use std::path::Path;
use std::process::Command;

use etherparse::PacketBuilder;

use super::Streams;
use crate::capture::reader::{self, Frame};
use crate::capture::segment::segment;
use xtask::{root, setup};

/// Frame number (from 1) and stream of every TCP segment.
fn ours(path: &Path) -> Vec<(u64, usize)> {
    let mut streams = Streams::default();
    let mut numbers = Vec::new();
    let mut frame_number = 0;
    let each = |frame: Frame<'_>| {
        frame_number += 1;
        if let Some(segment) = segment(&frame) {
            numbers.push((frame_number, streams.see(&segment, frame.time_ns)));
        }
    };
    reader::for_each(path, each).unwrap();
    numbers
}

fn wiresharks(path: &Path) -> Vec<(u64, usize)> {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(path)
        .args([
            "-Y",
            "tcp",
            "-T",
            "fields",
            "-e",
            "frame.number",
            "-e",
            "tcp.stream",
        ])
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let number = |line: &str| {
        let (frame, stream) = line.split_once('\t').unwrap();
        (frame.parse().unwrap(), stream.parse().unwrap())
    };
    text.lines().map(number).collect()
}

/// Flags, sequence, acknowledgement; a port below 1024 answers.
type Sent = (u16, &'static str, u32, u32);

fn capture(folder: &Path, sent: &[Sent], wrap: impl Fn(Vec<u8>) -> Vec<u8>, link: u32) -> Vec<u8> {
    let mut pcap = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, link] {
        pcap.extend(u32::to_le_bytes(word));
    }
    for (time, (port, flags, sequence, acknowledgement)) in (0..).zip(sent) {
        let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let from_server = *port < 1024;
        // The client's port is the one below which its answers are: 1000 answers 50000.
        let client_port = 49_000 + port % 1000;
        let ip = if from_server {
            PacketBuilder::ipv4(server, client, 64)
        } else {
            PacketBuilder::ipv4(client, server, 64)
        };
        let (source, destination) = if from_server {
            (443, client_port)
        } else {
            (client_port, 443)
        };
        let mut tcp = ip.tcp(source, destination, *sequence, 1000);
        for flag in flags.chars() {
            tcp = match flag {
                'S' => tcp.syn(),
                'F' => tcp.fin(),
                'R' => tcp.rst(),
                _ => tcp.ack(*acknowledgement),
            };
        }
        let payload: &[u8] = if *flags == "A" { b"data" } else { b"" };
        let mut packet = Vec::new();
        tcp.write(&mut packet, payload).unwrap();
        let frame = wrap(packet);
        let len = u32::try_from(frame.len()).unwrap();
        for word in [time, 0, len, len] {
            pcap.extend(u32::to_le_bytes(word));
        }
        pcap.extend(frame);
    }
    std::fs::write(folder.join("made.pcap"), &pcap).unwrap();
    pcap
}

const C: u16 = 2001;
const S: u16 = 1;

/// Connections between the same endpoints, one after the other.
const REUSED: &[&[Sent]] = &[
    // A SYN sent again is no other connection; one with another number is.
    &[
        (C, "S", 100, 0),
        (C, "S", 100, 0),
        (S, "SA", 900, 101),
        (C, "S", 500, 0),
        (S, "SA", 77, 501),
    ],
    // The same number again is a retransmission, however late.
    &[
        (C, "S", 100, 0),
        (S, "SA", 900, 101),
        (C, "A", 101, 901),
        (C, "S", 100, 0),
    ],
    // Begun in the middle: data, then a SYN.
    &[
        (C, "A", 100, 900),
        (S, "A", 900, 104),
        (C, "S", 500, 0),
        (S, "SA", 5, 501),
    ],
    &[(C, "A", 101, 900), (C, "S", 100, 0)],
    // Only the other side's acknowledgement was seen.
    &[(S, "A", 900, 101), (C, "S", 100, 0), (C, "S", 300, 0)],
    // The answer before the SYN.
    &[(S, "SA", 900, 101), (C, "S", 100, 0), (C, "A", 101, 901)],
    // Another SYN+ACK than before.
    &[
        (C, "S", 100, 0),
        (S, "SA", 900, 101),
        (S, "SA", 950, 101),
        (C, "A", 101, 951),
    ],
    // Two pairs of endpoints, one of them twice.
    &[
        (C, "S", 1, 0),
        (C + 1, "S", 1, 0),
        (C, "FA", 2, 5),
        (C, "S", 9, 0),
        (C + 1, "A", 2, 2),
        (C, "A", 10, 1),
    ],
    // A reset connection's late segments, then the next connection.
    &[
        (C, "S", 1, 0),
        (S, "SA", 1, 2),
        (C, "R", 2, 0),
        (S, "A", 2, 2),
        (C, "S", 7, 0),
        (S, "A", 6, 2),
        (S, "SA", 40, 8),
    ],
];

#[test]
fn reused_endpoints_are_numbered_as_wireshark_does() {
    if !setup::is_there("tshark") {
        eprintln!("tshark is not there: nothing to compare with");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for sent in REUSED {
        capture(folder.path(), sent, |packet| packet, 101);
        let path = folder.path().join("made.pcap");
        assert_eq!(ours(&path), wiresharks(&path), "{sent:?}");
    }
}

#[test]
fn a_syn_with_another_number_begins_another_connection() {
    let folder = tempfile::tempdir().unwrap();
    capture(folder.path(), REUSED[0], |packet| packet, 101);
    let numbers: Vec<_> = ours(&folder.path().join("made.pcap"))
        .iter()
        .map(|one| one.1)
        .collect();
    assert_eq!(numbers, [0, 0, 0, 1, 1]);
}

#[test]
fn captures_are_numbered_as_wireshark_does() {
    if !setup::is_there("tshark") {
        eprintln!("tshark is not there: nothing to compare with");
        return;
    }
    for entry in std::fs::read_dir(root().join("tests/captures")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|one| one == "pcap" || one == "pcapng")
        {
            let (ours, theirs) = (ours(&path), wiresharks(&path));
            assert!(ours == theirs, "{}: {ours:?} {theirs:?}", path.display());
        }
    }
}

/// Every link type leads to the same two segments.
#[test]
fn every_link_type_is_walked() {
    let folder = tempfile::tempdir().unwrap();
    let before = |head: &[u8]| {
        let head = head.to_vec();
        move |packet: Vec<u8>| [head.clone(), packet].concat()
    };
    let macs = [0_u8; 12];
    let ethernet = |rest: &[u8]| [&macs[..], rest].concat();
    let pppoe = [0x88, 0x64, 0x11, 0, 0, 1, 0, 46, 0, 0x21];
    let cases: [(u32, Vec<u8>); 11] = [
        (1, ethernet(&[8, 0])),
        (1, ethernet(&[0x81, 0, 0, 5, 8, 0])),
        (1, ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0])),
        (1, ethernet(&pppoe)),
        (0, vec![2, 0, 0, 0]),
        (108, vec![0, 0, 0, 2]),
        (9, vec![0xff, 3, 0, 0x21]),
        (101, vec![]),
        (113, [&[0; 14][..], &[8, 0]].concat()),
        (276, [&[8, 0][..], &[0; 18]].concat()),
        (228, vec![]),
    ];
    let sent: &[Sent] = &[(C, "S", 1, 0), (S, "SA", 5, 2)];
    for (link, head) in cases {
        capture(folder.path(), sent, before(&head), link);
        let path = folder.path().join("made.pcap");
        assert_eq!(
            ours(&path),
            [(1, 0), (2, 0)],
            "link type {link}, {head:02x?}"
        );
    }
}

#[test]
fn compressed_captures_are_read() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let pcap = capture(folder.path(), REUSED[0], |packet| packet, 101);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&pcap).unwrap();
    let zstd = zstd::encode_all(pcap.as_slice(), 1).unwrap();
    for bytes in [gzip.finish().unwrap(), zstd] {
        let path = folder.path().join("compressed");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(ours(&path).len(), 5);
    }
}

#[test]
fn a_cut_capture_gives_what_is_before_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let pcap = capture(folder.path(), REUSED[0], |packet| packet, 101);
    let path = folder.path().join("cut.pcap");
    std::fs::write(&path, &pcap[..pcap.len() - 3]).unwrap();
    let (streams, result) = Streams::read(&path);
    assert_eq!(streams.all.len(), 2);
    assert!(result.is_err());
    std::fs::write(&path, b"no capture at all, whatever it is called").unwrap();
    assert!(Streams::read(&path).1.is_err());
}
