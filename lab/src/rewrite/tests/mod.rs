//! Rewrites keep their promises: bytes, checksums, labels, and the behaviour of stacks.

mod resets;
mod wireshark;

use std::collections::BTreeMap;

use super::disorder;
use super::flow::{Flow, Flows, Side};
use super::random::Random;
use super::segment::{Segment, checksum, flag, transport_checksum};
use super::segmentation;
use super::stage::{STAGES, Stage};
use super::{identity, synthetic, variants, with_honest_resets, with_injected_resets};
use crate::capture::{Capture, Format, Frame};
use crate::labels::Label;

fn clients() -> Vec<Frame> {
    let path = xtask::root().join("tests/captures/clients.pcap");
    Capture::read(&path).unwrap().frames
}

/// A connection of curl's that worked over TLS 1.3 and was closed by both sides.
fn success() -> Vec<Frame> {
    let flows = Flows::of(&clients());
    Flows::only(flows.flows[4].clone()).frames()
}

fn success_flow() -> Flow {
    let flows = Flows::of(&success());
    segmentation::as_on_the_wire(&flows.flows[0])
}

/// A side's bytes, put together from segments in any order, up to the first gap.
fn said(flow: &Flow, side: Side) -> Vec<u8> {
    let own = flow.segments.iter().filter(|s| flow.side(s) == side);
    let start = own.clone().find(|s| s.has(flag::SYN)).unwrap().seq;
    let mut bytes: BTreeMap<u32, u8> = BTreeMap::new();
    for segment in own.filter(|s| !s.has(flag::RST)) {
        for (index, byte) in segment.payload.iter().enumerate() {
            let at = segment.seq.wrapping_sub(start).wrapping_add(index as u32);
            let known = bytes.insert(at, *byte);
            assert!(
                known.is_none_or(|known| known == *byte),
                "two truths at {at}"
            );
        }
    }
    (1..).map_while(|at| bytes.get(&at).copied()).collect()
}

fn all_said(flows: &Flows) -> Vec<[Vec<u8>; 2]> {
    let said = |flow| [said(flow, Side::Client), said(flow, Side::Server)];
    flows.flows.iter().map(said).collect()
}

/// Everything between link layer and IP, so that variants can be read back.
fn unwrapped(capture: &Capture) -> Vec<Frame> {
    let mut frames = Vec::new();
    for frame in &capture.frames {
        let bytes = &frame.bytes;
        let (mut at, mut kind) = match capture.link_type {
            1 => (14, u16::from_be_bytes([bytes[12], bytes[13]])),
            101 => (0, if bytes[0] >> 4 == 4 { 0x800 } else { 0x86dd }),
            113 => (16, u16::from_be_bytes([bytes[14], bytes[15]])),
            276 => (20, u16::from_be_bytes([bytes[0], bytes[1]])),
            other => panic!("link type {other}"),
        };
        while [0x8100, 0x88a8, 0x9100].contains(&kind) {
            kind = u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]);
            at += 4;
        }
        if kind == 0x8864 {
            kind = if bytes[at + 7] == 0x21 { 0x800 } else { 0x86dd };
            at += 8;
        }
        let mut packet = bytes[at..].to_vec();
        while kind == 0x86dd && [0, 60].contains(&packet[6]) {
            packet[6] = packet[40];
            packet.drain(40..48);
            let len = u16::from_be_bytes([packet[4], packet[5]]) - 8;
            packet.splice(4..6, len.to_be_bytes());
        }
        let ethernet = [&[0; 12][..], &kind.to_be_bytes(), &packet].concat();
        frames.push(Frame::new(frame.time_ns, ethernet));
    }
    frames
}

fn assert_checksums(frames: &[Frame], what: &str) {
    for frame in frames {
        let ip = &frame.bytes[14..];
        let segment = Segment::parse(frame).unwrap_or_else(|| panic!("{what}: not TCP"));
        let mut start = 40;
        let mut end = ip.len();
        if segment.source.is_ipv4() {
            start = 20;
            end = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            assert_eq!(checksum(&[&ip[..20]]), 0, "{what}: IPv4 checksum");
        }
        let tcp = &ip[start..end];
        let sum = transport_checksum(segment.source, segment.destination, 6, tcp);
        assert_eq!(sum, 0, "{what}: TCP checksum");
    }
}

#[test]
fn a_frame_taken_apart_and_put_together_is_the_same() {
    let path = xtask::root().join("tests/captures/story.pcap");
    for frame in Capture::read(&path).unwrap().frames {
        let again = Segment::parse(&frame).unwrap().frame();
        // Checksums were left to offload when this was captured.
        let without_sums = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes[24..26].fill(0);
            bytes[50..52].fill(0);
            bytes
        };
        assert_eq!(without_sums(&again.bytes), without_sums(&frame.bytes));
    }
}

#[test]
fn captures_survive_being_written_and_read() {
    let capture = Capture::ethernet(clients());
    assert_eq!(Capture::parse(&capture.to_bytes()).unwrap(), capture);
    let mut nanos = capture.clone();
    nanos.frames[0].time_ns -= 1;
    nanos.format = Format::PcapNanosBigEndian;
    assert_eq!(
        Capture::parse(&nanos.to_bytes()).unwrap().frames,
        nanos.frames
    );
    let cut = &capture.to_bytes()[..capture.to_bytes().len() - 1];
    assert_eq!(
        Capture::parse(cut).unwrap().frames.len(),
        capture.frames.len() - 1
    );
    assert!(Capture::parse(b"\x0a\x0d\x0d\x0a").is_err());
}

#[test]
fn variants_say_the_same_bytes_with_right_checksums() {
    let truth = Label::of("certificate-rejected");
    let base = clients();
    let expected = all_said(&Flows::of(&base));
    let all = variants(&base, &truth);
    assert!(all.len() >= 30, "{}", all.len());
    for variant in all {
        let frames = unwrapped(&variant.capture);
        assert_checksums(&frames, &variant.suffix);
        let flows = Flows::of(&frames);
        let prefixed = variant.suffix.starts_with("behind-");
        for (now, before) in all_said(&flows).iter().zip(&expected) {
            for (now, before) in now.iter().zip(before) {
                assert!(now.ends_with(before), "{}", variant.suffix);
                assert_eq!(now.len() > before.len(), prefixed, "{}", variant.suffix);
            }
        }
        assert_eq!(flows.flows.len(), expected.len(), "{}", variant.suffix);
        assert_eq!(variant.label.cause, truth.cause);
        let ascending = frames.is_sorted_by_key(|frame| frame.time_ns);
        assert!(ascending, "{}: times", variant.suffix);
    }
}

#[test]
fn rewrites_are_the_same_each_time() {
    let make = || {
        let truth = Label::of("established");
        let all = [
            variants(&success(), &truth),
            with_injected_resets(&success(), &truth),
            with_honest_resets(&success(), &truth),
            synthetic(),
        ];
        let all = all.concat().into_iter();
        all.map(|variant| (variant.suffix, variant.capture))
            .collect::<Vec<_>>()
    };
    let (first, second) = (make(), make());
    assert!(first == second);
    let mut names: Vec<&String> = first.iter().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two rewrites with one name");
}

#[test]
fn pieces_keep_flags_where_they_belong() {
    // Its server sends FIN with its last data.
    let path = xtask::root().join("tests/captures/story.pcap");
    let flow = Flows::of(&Capture::read(&path).unwrap().frames)
        .flows
        .remove(0);
    let tiny = segmentation::tiny(&flow, &mut Random::new(1));
    assert!(tiny.segments.iter().all(|s| s.payload.len() <= 7));
    let count = |flow: &Flow, flags| flow.segments.iter().filter(|s| s.has(flags)).count();
    for flags in [flag::FIN, flag::SYN, flag::RST, flag::PSH] {
        assert_eq!(count(&tiny, flags), count(&flow, flags));
    }
    let merged = segmentation::coalesced(&tiny);
    assert!(merged.segments.len() <= flow.segments.len());
    assert_eq!(said(&merged, Side::Server), said(&flow, Side::Server));
}

#[test]
fn disorder_changes_order_and_nothing_passes_an_answer() {
    let flow = success_flow();
    let order = |flow: &Flow| {
        flow.segments
            .iter()
            .map(|s| (s.seq, s.len()))
            .collect::<Vec<_>>()
    };
    let reordered = disorder::reordered(&flow, 3, &mut Random::new(2));
    assert_ne!(order(&reordered), order(&flow));
    let lost = disorder::lost_before(&flow, &mut Random::new(3));
    assert_ne!(order(&lost), order(&flow));
    for disordered in [reordered, lost] {
        assert_acknowledgments(&disordered, "disorder");
    }
}

/// Nothing acknowledges bytes not seen yet, but for the guesses of forgers.
fn assert_acknowledgments(flow: &Flow, what: &str) {
    for (index, segment) in flow.segments.iter().enumerate() {
        if segment.has(flag::ACK) && !segment.has(flag::RST) {
            let seen = flow.next_seq(flow.side(segment).other(), index).unwrap();
            let ahead = segment.ack.wrapping_sub(seen) as i32;
            assert!(
                ahead <= 0,
                "{what}: segment {index} acknowledges {ahead} too many"
            );
        }
    }
}

#[test]
fn nothing_acknowledges_what_was_never_seen() {
    let truth = Label::of("established");
    let all = [
        variants(&success(), &truth),
        with_injected_resets(&success(), &truth),
        with_honest_resets(&success(), &truth),
    ];
    for variant in all.concat() {
        // Segments that the recorder missed are acknowledged all the same.
        let missed = [
            "snaplen",
            "client-only",
            "server-only",
            "honest-behind-capture-loss",
        ];
        if missed.iter().any(|start| variant.suffix.starts_with(start)) {
            continue;
        }
        for flow in Flows::of(&unwrapped(&variant.capture)).flows {
            assert_acknowledgments(&flow, &variant.suffix);
        }
    }
}

#[test]
fn the_checksum_is_that_of_rfc_1071() {
    let sum = checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]);
    assert_eq!(sum, !0xddf2);
}

#[test]
fn sequence_numbers_wrap_in_both_first_flights() {
    let wrapped = identity::wrapping(&success_flow());
    for side in [Side::Client, Side::Server] {
        let first = wrapped.data_of(side)[0];
        let segment = &wrapped.segments[first];
        assert!(segment.end() < segment.seq);
    }
}

#[test]
fn stages_lie_behind_each_other() {
    let flow = success_flow();
    let places = STAGES.map(|stage| stage.place(&flow).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    let hello = &flow.segments[Stage::ClientHello.place(&flow).unwrap()];
    assert_eq!(
        (flow.side(hello), hello.payload[0], hello.payload[5]),
        (Side::Client, 22, 1)
    );
}

#[test]
fn a_cut_or_foreign_segment_is_left_alone() {
    let mut frame = success().remove(3);
    frame.bytes.truncate(60);
    assert!(Segment::parse(&frame).is_none());
    let arp = Frame::new(0, [&[0xff; 12][..], &[8, 6], &[0; 28]].concat());
    assert!(Segment::parse(&arp).is_none());
    assert_eq!(Flows::of(std::slice::from_ref(&arp)).frames(), [arp]);
}
