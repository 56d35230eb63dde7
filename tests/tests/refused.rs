//! Connections refused before their first byte: counted by server, and told where somebody else refused.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tests::conversation::{Conversation, From, Network, tls};
use tests::gateway::agent;

const ETHERNET: u32 = 1;
const START: u64 = 1_700_000_000_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// Frames with their times.
struct Capture {
    now_ns: u64,
    bytes: Vec<u8>,
}

impl Capture {
    fn new() -> Self {
        let header = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, ETHERNET];
        Self {
            now_ns: START,
            bytes: header.map(u32::to_le_bytes).concat(),
        }
    }

    fn push(&mut self, after_ms: u64, frame: &[u8]) {
        self.now_ns += after_ms * MILLISECOND;
        let len = frame.len() as u32;
        let (seconds, fraction) = (self.now_ns / 1_000_000_000, self.now_ns % 1_000_000_000);
        let head = [seconds as u32, fraction as u32, len, len];
        self.bytes.extend(head.map(u32::to_le_bytes).concat());
        self.bytes.extend(frame);
    }

    fn judged(&self) -> (Vec<Value>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refused.pcap");
        std::fs::write(&path, &self.bytes).unwrap();
        let Output { stdout, stderr, .. } = run(&path);
        let verdicts = String::from_utf8(stdout).unwrap();
        let verdicts = verdicts.lines().map(serde_json::from_str);
        let summary = String::from_utf8(stderr).unwrap();
        (verdicts.collect::<Result<_, _>>().unwrap(), summary)
    }
}

fn run(path: &Path) -> Output {
    let mut command = Command::new(agent());
    command.args(["pcap", "--output", "json"]).arg(path);
    command.output().unwrap()
}

fn client(port: u16) -> Conversation {
    let mut talk = Conversation::new(Network::Ipv4);
    talk.client_port = port;
    talk
}

/// A connection whose ClientHello the server answers, from a distance of TTL 57.
fn answered(capture: &mut Capture, port: u16) {
    let mut talk = client(port);
    let [syn, syn_ack, ack] = &talk.three_way_handshake()[..] else {
        panic!("a handshake of three");
    };
    for (after_ms, frame) in [(0, syn), (20, syn_ack), (1, ack)] {
        capture.push(after_ms, frame);
    }
    let hello = talk.data(From::Client, &tls::client_hello("www.example", 300));
    capture.push(1, &hello);
    let answer = talk.data(From::Server, &tls::server_hello(0x1301, true));
    capture.push(20, &answer);
}

/// A SYN, and after 20 ms a RST,ACK in the server's name with this TTL.
fn refused(capture: &mut Capture, port: u16, ttl: u8) {
    let mut talk = client(port);
    capture.push(10, &talk.three_way_handshake()[0]);
    talk.ttl[1] = ttl;
    let reset = talk.segment(From::Server, 0, &[], |tcp| tcp.rst = true);
    capture.push(20, &reset);
}

#[test]
fn the_servers_own_refusals_are_counted() {
    let mut capture = Capture::new();
    answered(&mut capture, 40_001);
    for port in 40_002..40_005 {
        refused(&mut capture, port, 57);
    }
    // Sent three times, and once more by hand: one connection.
    let syn = &client(40_010).three_way_handshake()[0];
    for after_ms in [10, 1000, 2000, 4000] {
        capture.push(after_ms, syn);
    }
    let (verdicts, summary) = capture.judged();
    assert_eq!(verdicts, [] as [Value; 0]);
    let line = "before the first byte: 3 refused by reset, 1 unanswered (4 to 10.0.2.2:443)";
    assert!(summary.contains(line), "{summary}");
}

#[test]
fn a_refusal_from_another_distance_than_the_servers_is_told() {
    let mut capture = Capture::new();
    answered(&mut capture, 40_001);
    refused(&mut capture, 40_002, 64);
    let (verdicts, summary) = capture.judged();
    let [verdict] = &verdicts[..] else {
        panic!("{verdicts:?}");
    };
    assert_eq!(verdict["cause"], "injected-reset");
    assert_eq!(verdict["ended_by"], "middlebox");
    assert_eq!(verdict["sni"], Value::Null);
    let evidence = verdict["evidence"].to_string();
    assert!(evidence.contains("before the first byte"), "{evidence}");
    assert!(summary.contains("1 refused by reset"), "{summary}");
}

/// Without an earlier answer of the server there is nothing to compare with, and of a port where no TLS was
/// seen a refusal is none of TLS.
#[test]
fn of_an_unknown_server_a_refusal_is_counted_on_a_port_of_tls_only() {
    let mut capture = Capture::new();
    refused(&mut capture, 40_002, 64);
    let (verdicts, summary) = capture.judged();
    assert_eq!(verdicts, [] as [Value; 0]);
    assert!(summary.contains("1 refused by reset"), "{summary}");

    let mut capture = Capture::new();
    let talk = client(40_003);
    let swap = |mut frame: Vec<u8>, at: usize| {
        // Port 22 instead of 443.
        frame[at..at + 2].copy_from_slice(&22u16.to_be_bytes());
        frame
    };
    capture.push(10, &swap(talk.three_way_handshake()[0].clone(), 36));
    let reset = talk.segment(From::Server, 0, &[], |tcp| tcp.rst = true);
    capture.push(10, &swap(reset, 34));
    let (verdicts, summary) = capture.judged();
    assert_eq!(verdicts, [] as [Value; 0]);
    assert!(!summary.contains("before the first byte"), "{summary}");
}

/// Returns an ICMP error of `by` that quotes so many bytes of the frame behind its link header.
fn icmp(by: [u8; 4], code: u8, frame: &[u8], quoted: usize) -> Vec<u8> {
    let packet = &frame[14..];
    let quoted = &packet[..quoted.min(packet.len())];
    let len = u16::try_from(28 + quoted.len()).unwrap();
    let mut error = [&frame[6..12], &frame[..6], &[8, 0, 0x45, 0]].concat();
    error.extend(len.to_be_bytes());
    error.extend([0, 0, 0, 0, 64, 1, 0, 0]);
    error.extend(by);
    error.extend(&packet[12..16]);
    error.extend([3, code, 0, 0, 0, 0, 0, 0]);
    error.extend(quoted);
    error
}

const CLIENT: [u8; 4] = [10, 0, 1, 2];
const GATEWAY: [u8; 4] = [10, 0, 1, 1];
const SERVER: [u8; 4] = [10, 0, 2, 2];
const HOST_UNREACHABLE: u8 = 1;
const PORT_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PROHIBITED: u8 = 13;
/// RFC 792: the header and 8 bytes; others quote as much as fits.
const LITTLE: usize = 28;
const ALL: usize = 548;

#[rstest::rstest]
#[case::on_the_way(GATEWAY, PROHIBITED, ALL, Some("middlebox"))]
#[case::on_the_way_with_a_short_quote(GATEWAY, PORT_UNREACHABLE, LITTLE, Some("middlebox"))]
#[case::by_the_server(SERVER, PORT_UNREACHABLE, ALL, None)]
#[case::without_a_route(GATEWAY, HOST_UNREACHABLE, ALL, None)]
#[case::by_the_client_itself(CLIENT, PORT_UNREACHABLE, ALL, None)]
fn a_syn_answered_by_icmp_is_counted_and_told_of_another_host(
    #[case] by: [u8; 4],
    #[case] code: u8,
    #[case] quoted: usize,
    #[case] ended_by: Option<&str>,
) {
    let mut capture = Capture::new();
    let [syn, syn_ack, ack] = &client(40_001).three_way_handshake()[..] else {
        panic!("a handshake of three");
    };
    capture.push(10, syn);
    capture.push(1, &icmp(by, code, syn, quoted));
    let (verdicts, summary) = capture.judged();
    let line =
        "before the first byte: 0 refused by reset, 0 unanswered, 1 by ICMP (1 to 10.0.2.2:443)";
    assert!(summary.contains(line), "{summary}");
    assert!(!summary.contains("not looked into"), "{summary}");
    let found = verdicts.first().map(|verdict| {
        assert_eq!(verdict["cause"], "injected-reset");
        verdict["ended_by"].as_str().unwrap()
    });
    assert_eq!(found, ended_by, "{verdicts:?}");

    // Sent again, it gets through.
    capture.push(1000, syn);
    capture.push(20, syn_ack);
    capture.push(1, ack);
    let (verdicts, summary) = capture.judged();
    assert_eq!(verdicts, [] as [Value; 0]);
    assert!(!summary.contains("by ICMP"), "{summary}");
}

#[rstest::rstest]
#[case::on_the_way(GATEWAY, PROHIBITED, "injected-reset")]
#[case::by_the_server(SERVER, PORT_UNREACHABLE, "endpoint-reset")]
#[case::without_a_route(GATEWAY, HOST_UNREACHABLE, "abandoned")]
#[case::by_the_client_itself(CLIENT, PORT_UNREACHABLE, "abandoned")]
#[case::path_mtu_discovery(GATEWAY, FRAGMENTATION_NEEDED, "")]
fn a_hello_answered_by_icmp_is_told_unless_it_arrives(
    #[case] by: [u8; 4],
    #[case] code: u8,
    #[case] cause: &str,
    #[values(LITTLE, ALL)] quoted: usize,
) {
    let mut capture = Capture::new();
    let mut talk = client(40_001);
    for frame in talk.three_way_handshake() {
        capture.push(10, &frame);
    }
    let hello = talk.data(From::Client, &tls::client_hello("www.example", 300));
    for after_ms in [1, 200, 400] {
        capture.push(after_ms, &hello);
        capture.push(1, &icmp(by, code, &hello, quoted));
    }
    let (verdicts, _) = capture.judged();
    let causes: Vec<_> = verdicts.iter().map(|verdict| &verdict["cause"]).collect();
    assert_eq!(
        causes,
        (!cause.is_empty()).then_some(cause).as_slice(),
        "{verdicts:?}"
    );

    capture.push(800, &hello);
    let answer = talk.data(From::Server, &tls::server_hello(0x1301, true));
    capture.push(20, &answer);
    assert_eq!(capture.judged().0, [] as [Value; 0]);
}

/// Of a connection in use an error about one segment decides nothing, nor one about an acknowledgement, and
/// one that quotes what was never sent is forged.
#[test]
fn an_icmp_error_about_a_connection_in_use_decides_nothing_by_itself() {
    let mut capture = Capture::new();
    answered(&mut capture, 40_001);
    let mut talk = client(40_001);
    talk.three_way_handshake();
    let ack = talk.ack(From::Client);
    for _ in 0..4 {
        capture.push(500, &icmp(GATEWAY, PROHIBITED, &ack, ALL));
    }
    let mut forged = talk.data(From::Client, &[23, 3, 3, 0, 16]);
    forged[14 + 20 + 4] ^= 0x40;
    for _ in 0..4 {
        capture.push(500, &icmp(GATEWAY, PROHIBITED, &forged, ALL));
    }
    assert_eq!(capture.judged().0, [] as [Value; 0]);
}

/// Returns the same of IPv6, by a router.
fn icmp6(code: u8, frame: &[u8], quoted: usize) -> Vec<u8> {
    let packet = &frame[14..];
    let quoted = &packet[..quoted.min(packet.len())];
    let len = u16::try_from(8 + quoted.len()).unwrap();
    let mut error = [&frame[6..12], &frame[..6], &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    error.extend(len.to_be_bytes());
    error.extend([58, 64]);
    // The destination with another last byte is a router's address.
    error.extend(&packet[24..39]);
    error.push(packet[39] ^ 0x40);
    error.extend(&packet[8..24]);
    error.extend([1, code, 0, 0, 0, 0, 0, 0]);
    error.extend(quoted);
    error
}

/// A trailer of a frame that reads like the rest of a TCP header without flags.
const TRAILER: [u8; 12] = [0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0];

fn is_counted(frames: &[Vec<u8>]) -> bool {
    let mut capture = Capture::new();
    for frame in frames {
        capture.push(1, frame);
    }
    capture.judged().1.contains("1 by ICMP (1 to ")
}

/// A trailer is no part of the quote. RFC 4443 has the header of IPv6 and 8 bytes.
#[test]
fn a_short_quote_is_read_behind_any_header_and_before_a_trailer() {
    for network in [Network::Ipv4, Network::Ipv6] {
        let talk = Conversation::new(network);
        let syn = talk.three_way_handshake().remove(0);
        let mut error = match network {
            Network::Ipv4 => icmp(GATEWAY, PROHIBITED, &syn, LITTLE),
            _ => icmp6(1, &syn, 48),
        };
        error.extend(TRAILER);
        assert!(is_counted(&[syn, error]), "{network:?}");
    }
}

/// One that goes to another host than the segment's sender, and a later fragment, which begins amid something.
#[test]
fn an_error_that_cannot_be_believed_counts_nothing() {
    let syn = client(40_001).three_way_handshake().remove(0);
    let error = icmp(GATEWAY, PROHIBITED, &syn, ALL);
    assert!(is_counted(&[syn.clone(), error.clone()]));
    let mut elsewhere = error.clone();
    elsewhere[14 + 19] ^= 1;
    let mut fragment = error;
    fragment[14 + 7] = 8;
    for error in [elsewhere, fragment] {
        assert!(!is_counted(&[syn.clone(), error]));
    }
}

/// The client's side refuses the server's answer; the same answer once more is no sign that one arrived.
#[test]
fn an_error_about_the_servers_answer_is_of_the_clients_connection() {
    let frames = client(40_001).three_way_handshake();
    let [syn, syn_ack, ack] = &frames[..] else {
        panic!("a handshake of three");
    };
    let error = icmp(GATEWAY, PROHIBITED, syn_ack, ALL);
    let mut capture = Capture::new();
    for frame in [syn, syn_ack, &error, syn_ack] {
        capture.push(10, frame);
    }
    let summary = capture.judged().1;
    assert!(
        summary.contains("1 by ICMP (1 to 10.0.2.2:443)"),
        "{summary}"
    );
    capture.push(1, ack);
    let summary = capture.judged().1;
    assert!(!summary.contains("by ICMP"), "{summary}");
}

/// An error about an acknowledgement, or about a segment that was acknowledged before, tells of no refusal.
#[test]
fn an_error_about_what_needs_no_answer_is_none() {
    let mut capture = Capture::new();
    let mut talk = client(40_001);
    for frame in talk.three_way_handshake() {
        capture.push(10, &frame);
    }
    let ack = talk.ack(From::Client);
    let hello = talk.data(From::Client, &tls::client_hello("www.example", 300));
    capture.push(1, &hello);
    for _ in 0..4 {
        capture.push(200, &icmp(GATEWAY, PROHIBITED, &ack, ALL));
    }
    assert_eq!(capture.judged().0, [] as [Value; 0]);
    let received = talk.ack(From::Server);
    capture.push(20, &received);
    for _ in 0..4 {
        capture.push(200, &icmp(GATEWAY, PROHIBITED, &hello, ALL));
    }
    assert_eq!(capture.judged().0, [] as [Value; 0]);
}

/// An acknowledgement of the first segment says nothing of the second.
#[test]
fn the_last_segment_that_was_refused_must_arrive() {
    let mut capture = Capture::new();
    let mut talk = client(40_001);
    for frame in talk.three_way_handshake() {
        capture.push(10, &frame);
    }
    let hello = tls::client_hello("www.example", 300);
    let (first, second) = hello.split_at(100);
    let first = talk.data(From::Client, first);
    let received = talk.ack(From::Server);
    let second = talk.data(From::Client, second);
    for frame in [&first, &second] {
        capture.push(1, frame);
        capture.push(1, &icmp(GATEWAY, PROHIBITED, frame, ALL));
    }
    capture.push(10, &received);
    let [verdict] = &capture.judged().0[..] else {
        panic!("no verdict");
    };
    assert_eq!(verdict["cause"], "injected-reset", "{verdict}");
    let received = talk.ack(From::Server);
    capture.push(10, &received);
    assert_eq!(capture.judged().0, [] as [Value; 0]);
}
