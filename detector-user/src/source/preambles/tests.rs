//! Conversations with preambles, from frames to reports and handshake bytes.

use detector_common::flow::{Address, FlowKey};
use detector_common::observation::{ChunkHead, Observation};

use super::*;
use crate::flow::preamble::Refusal;
use crate::source::capture::{Frame, LinkType as CaptureLink};
use crate::source::capture_tap::CaptureTap;

const CONNECT: &[u8] = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";

#[derive(Default)]
struct Seen {
    reports: Vec<PreambleReport>,
    /// Handshake bytes of both sides: client, server.
    bytes: [Vec<u8>; 2],
}

impl Receiver for Seen {
    fn observation(&mut self, _: &Observation) {}

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        let stream = &mut self.bytes[usize::from(head.sender)];
        assert_eq!(head.offset as usize, stream.len());
        stream.extend(bytes);
    }

    fn preamble(&mut self, report: &PreambleReport) {
        self.reports.push(report.clone());
    }
}

/// Plays payloads in turn: 0 of the client, 1 of the server.
fn play(payloads: &[(u8, &[u8])]) -> Seen {
    let mut seen = Seen::default();
    let mut tap = CaptureTap::default();
    let mut next = [1000_u32, 5000];
    for (number, (side, payload)) in (1_u64..).zip(payloads) {
        let segment = Segment {
            key: FlowKey {
                addresses: [1, 2].map(|last| Address::from_ipv4(0x0a00_0000 | last)),
                ports: [40_000, 3128],
                ..FlowKey::default()
            },
            endpoint: *side,
            vlan: [0; 2],
            source_mac: u64::from(*side) + 1,
            ttl: 64,
            ip_id: 0,
            seq: next[usize::from(*side)],
            ack: next[usize::from(*side ^ 1)],
            flags: tcp_flags::ACK,
            window: 500,
            options_len: 0,
            payload_offset: 0,
            payload_len: payload.len() as u32,
        };
        next[usize::from(*side)] += payload.len() as u32;
        let none = Removed::default();
        let (captured, original_len) = removed::frame(&segment, payload, &none, &none).unwrap();
        let frame = Frame {
            time_ns: number * 1_000_000,
            interface: 0,
            link_type: CaptureLink::ETHERNET,
            captured: &captured,
            original_len,
        };
        tap.capture_frame(&frame, &mut seen);
    }
    seen
}

fn hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3];
    hello.resize(65, 7);
    hello
}

fn answer() -> Vec<u8> {
    let mut answer = vec![22, 3, 3, 0, 20, 2, 0, 0, 16, 3, 3];
    answer.resize(25, 9);
    answer
}

fn tds(content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len() + 8).unwrap().to_be_bytes();
    [&[0x12, 1][..], &len, &[0; 4], content].concat()
}

#[test]
fn a_refusal_is_reported_with_its_target_and_a_second_attempt_on_the_connection() {
    let seen = play(&[
        (0, CONNECT),
        (1, b"HTTP/1.1 407 Proxy Authentication Required\r\n"),
        (1, b"Content-Length: 2\r\n\r\nno"),
        (0, CONNECT),
        (1, b"HTTP/1.1 200 OK\r\n\r\n"),
        (0, &hello()),
        (1, &answer()),
    ]);
    let told: Vec<_> = seen.reports.iter().map(|it| it.preamble.refusal).collect();
    assert_eq!(told, [Some(Refusal::Http(407)), None]);
    let target = seen.reports[1].preamble.target.as_ref().unwrap();
    assert_eq!(target.to_string(), "a.test:443");
    assert_eq!(seen.bytes, [hello(), answer()]);
}

#[test]
fn a_hello_sent_with_its_request_is_found_and_the_proxy_answer_taken_out() {
    let request = [CONNECT, &hello()].concat();
    let whole = play(&[
        (0, &request),
        (1, &[b"HTTP/1.1 200 OK\r\n\r\n", &answer()[..]].concat()),
    ]);
    let parted = play(&[
        (0, &request),
        (1, b"HTTP/1.1 200"),
        (1, b" OK\r\n\r\n"),
        (1, &answer()),
    ]);
    for seen in [whole, parted] {
        assert_eq!(seen.bytes, [hello(), answer()]);
        assert_eq!(seen.reports[0].flow_began_ns, Some(1_000_000));
    }
}

#[test]
fn a_hello_behind_a_proxy_protocol_header_is_found() {
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n";
    let together = [header, &hello()[..]].concat();
    for payloads in [
        &[(0, &together[..]), (1, &answer())][..],
        &[(0, header), (0, &hello()), (1, &answer())],
    ] {
        let seen = play(payloads);
        assert_eq!(seen.bytes, [hello(), answer()]);
        let told = seen.reports[0].preamble.told_client.unwrap();
        assert_eq!(told.to_string(), "192.0.2.1:5000");
    }
}

#[test]
fn a_handshake_inside_tds_packets_is_read() {
    let seen = play(&[
        (0, &tds(&[0; 40])),
        (1, &tds(&[0; 40])),
        (0, &tds(&hello())),
        (1, &tds(&answer())),
    ]);
    assert_eq!(seen.bytes, [hello(), answer()]);
}

#[test]
fn a_target_asked_for_by_socks4_is_reported() {
    let seen = play(&[
        (0, b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00a.test\x00"),
        (1, b"\x00\x5a\x01\xbb\x00\x00\x00\x00"),
        (0, &hello()),
        (1, &answer()),
    ]);
    let target = seen.reports[0].preamble.target.as_ref().unwrap();
    assert_eq!(target.to_string(), "a.test:443");
    assert_eq!(seen.bytes, [hello(), answer()]);
}
