//! `tlswhy pcap` on captures that show a connection in part, in several places, or inside something.

use rstest::rstest;
use serde_json::Value;
use tests::conversation::{Conversation, From, Network, tls};
use tests::made::{ETHERNET, START, STEP, judge, one_verdict, pcap};

/// A frame, its sender and its time.
type Sent = (u64, From, Vec<u8>);

/// A handshake of TLS 1.2 that the client refuses, from the first acknowledgement on.
fn refused() -> Vec<Sent> {
    let mut talk = Conversation::new(Network::Ipv4);
    let certificate = tls::record(22, &tls::message(11, &[0; 300]));
    let flight = [tls::server_hello(0xc02f, false), certificate].concat();
    let frames = [
        (From::Server, talk.ack(From::Server)),
        (
            From::Client,
            talk.data(From::Client, &tls::client_hello("app.example", 300)),
        ),
        (From::Server, talk.ack(From::Server)),
        (From::Server, talk.data(From::Server, &flight)),
        (From::Client, talk.ack(From::Client)),
        (
            From::Client,
            talk.data(From::Client, &tls::record(21, &[2, 48])),
        ),
        (From::Client, talk.fin(From::Client)),
        (From::Server, talk.fin(From::Server)),
        (From::Client, talk.ack(From::Client)),
    ];
    let times = (0..).map(|number| START + number * STEP);
    let sent = times.zip(frames);
    sent.map(|(time, (from, frame))| (time, from, frame))
        .collect()
}

fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let tag = [&[0x81, 0][..], &vlan.to_be_bytes()].concat();
    [&frame[..12], &tag, &frame[12..]].concat()
}

/// Frames of two interfaces, by the number before each.
fn pcapng(frames: impl IntoIterator<Item = (u32, u64, Vec<u8>)>) -> Vec<u8> {
    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &len, body, &len].concat()
    }
    let section = [
        &0x1a2b_3c4d_u32.to_le_bytes()[..],
        &[1, 0, 0, 0],
        &[0xff; 8],
    ]
    .concat();
    // The second has a clock of nanoseconds.
    let interface = |options: &[u8]| block(1, &[&[1, 0, 0, 0, 0, 0, 0, 0][..], options].concat());
    let mut bytes = [
        block(0x0a0d_0d0a, &section),
        interface(&[]),
        interface(&[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]),
    ]
    .concat();
    for (interface, time, frame) in frames {
        let ticks = if interface == 0 { time / 1000 } else { time };
        let len = frame.len() as u32;
        let words = [interface, (ticks >> 32) as u32, ticks as u32, len, len];
        let mut body = words.map(u32::to_le_bytes).concat();
        body.extend(frame);
        body.resize(body.len().next_multiple_of(4), 0);
        bytes.extend(block(6, &body));
    }
    bytes
}

fn frames(sent: Vec<Sent>) -> impl Iterator<Item = (u64, Vec<u8>)> {
    sent.into_iter().map(|(time, _, frame)| (time, frame))
}

fn is_refused(verdict: &Value, name: bool) {
    assert_eq!(verdict["cause"], "certificate-rejected", "{verdict:#}");
    assert_eq!(verdict["alert"]["description"], "unknown_ca");
    assert_eq!(verdict["sni"].as_str(), name.then_some("app.example"));
}

fn has_evidence(verdict: &Value, name: &str) -> bool {
    let evidence = verdict["evidence"].as_array().unwrap();
    evidence.iter().any(|it| it["name"] == name)
}

#[rstest]
#[case::client_only(Some(10), None)]
#[case::server_only(None, Some(20))]
#[case::both(Some(10), Some(20))]
fn directions_with_different_tags_are_one_connection(
    #[case] client: Option<u16>,
    #[case] server: Option<u16>,
) {
    let sent = refused().into_iter().map(|(time, from, frame)| {
        let tag = if from == From::Client { client } else { server };
        (time, tag.map_or(frame.clone(), |tag| tagged(&frame, tag)))
    });
    let verdict = one_verdict(&pcap(ETHERNET, sent));
    is_refused(&verdict, true);
    assert!(!has_evidence(&verdict, "one-direction"));
}

#[test]
fn directions_on_different_interfaces_are_one_connection() {
    let sent = refused().into_iter();
    let verdict = one_verdict(&pcapng(
        sent.map(|(time, from, frame)| (from as u32, time, frame)),
    ));
    is_refused(&verdict, true);
    assert!(!has_evidence(&verdict, "one-direction"));
}

#[test]
fn a_connection_mirrored_on_two_vlans_is_told_once() {
    let twice = refused().into_iter().flat_map(|(time, _, frame)| {
        [
            (time, tagged(&frame, 10)),
            (time + STEP / 2, tagged(&frame, 20)),
        ]
    });
    let verdict = one_verdict(&pcap(ETHERNET, twice));
    is_refused(&verdict, true);
    assert_eq!(verdict["vlan"], serde_json::json!([10]));
    // A mirror tells nothing about an interceptor elsewhere.
    assert_eq!(verdict["intercepted"], "unknown");
}

/// Two connections with the same addresses and ports in separate networks.
#[test]
fn connections_of_separate_vlans_stay_apart() {
    let both = refused().into_iter().flat_map(|(time, _, frame)| {
        let mut other = frame.clone();
        // Another client random, where there is one.
        if other.windows(8).any(|bytes| bytes == [7; 8]) {
            other
                .iter_mut()
                .filter(|byte| **byte == 7)
                .for_each(|byte| *byte = 8);
        }
        [
            (time, tagged(&frame, 10)),
            (time + STEP / 2, tagged(&other, 20)),
        ]
    });
    let (verdicts, said) = judge(&pcap(ETHERNET, both));
    assert_eq!(verdicts.len(), 2, "{said}");
}

#[test]
fn an_alert_is_told_though_only_its_direction_was_captured() {
    let sent = refused()
        .into_iter()
        .filter(|(_, from, _)| *from == From::Client);
    let verdict = one_verdict(&pcap(ETHERNET, frames(sent.collect())));
    is_refused(&verdict, true);
    assert!(has_evidence(&verdict, "one-direction"));
}

#[rstest]
#[case::from_the_certificate_on(3)]
#[case::from_the_alert_on(4)]
fn an_alert_is_told_though_the_hello_was_missed(#[case] first: usize) {
    let verdict = one_verdict(&pcap(ETHERNET, frames(refused()).skip(first)));
    is_refused(&verdict, false);
    assert_eq!(verdict["client"]["port"], 40_112);
    assert!(has_evidence(&verdict, "hello-missed"));
}

/// A check of a port connects and closes, and some servers answer its FIN with an alert; others answer bytes
/// of another protocol so. Where the SYN was seen, no ClientHello was missed.
#[rstest]
#[case::check_of_a_port(b"", 50)]
#[case::check_of_a_port_gnutls(b"", 10)]
#[case::another_protocol(b"GET / HTTP/1.1\r\n\r\n", 10)]
#[case::starttls_and_no_more(b"STARTTLS\r\n", 50)]
fn a_servers_alert_to_a_client_without_tls_is_no_failure(#[case] said: &[u8], #[case] code: u8) {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut sent = talk.three_way_handshake();
    let seen = sent.len();
    if !said.is_empty() {
        sent.push(talk.data(From::Client, said));
    }
    if said.starts_with(b"STARTTLS") {
        sent.push(talk.data(From::Server, b"220 Go ahead\r\n"));
    }
    sent.push(talk.fin(From::Client));
    sent.push(talk.data(From::Server, &tls::record(21, &[2, code])));
    sent.push(talk.rst(From::Client));
    let capture = |first: usize| {
        let times = (0..).map(|number| START + number * STEP);
        pcap(ETHERNET, times.zip(sent[first..].iter().cloned()))
    };
    let (verdicts, said) = judge(&capture(0));
    assert!(verdicts.is_empty(), "{said}");
    // Of one that began before the capture it is not known.
    let verdict = one_verdict(&capture(seen));
    assert_eq!(verdict["cause"], "decrypt-error", "{verdict:#}");
}

/// OpenSSL without a group, suite or version to offer sends an alert and no ClientHello.
#[test]
fn an_alert_in_place_of_the_hello_is_about_the_clients_parameters() {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut sent = talk.three_way_handshake();
    sent.push(talk.data(From::Client, &tls::record(21, &[2, 80])));
    sent.push(talk.ack(From::Server));
    sent.push(talk.fin(From::Client));
    sent.push(talk.fin(From::Server));
    let times = (0..).map(|number| START + number * STEP);
    let verdict = one_verdict(&pcap(ETHERNET, times.zip(sent)));
    assert_eq!(verdict["cause"], "unsupported-parameters", "{verdict:#}");
    assert!(!has_evidence(&verdict, "hello-missed"));
}

#[rstest]
fn a_clock_that_jumps_ends_no_connection(
    #[values(2, 3, 4, 5, 6)] at: usize,
    #[values(3_600_000_000_000, -3_600_000_000_000, 86_400_000_000_000)] by: i64,
) {
    let moved = frames(refused())
        .enumerate()
        .map(|(number, (time, frame))| {
            let by = if number >= at { by } else { 0 };
            (time.saturating_add_signed(by), frame)
        });
    is_refused(&one_verdict(&pcap(ETHERNET, moved)), true);
}

#[test]
fn a_tunnel_is_named() {
    let outer = [
        &[2, 0, 0, 0, 0, 8, 2, 0, 0, 0, 0, 9, 8, 0][..],
        &[
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ],
        &[0xc0, 0, 0x12, 0xb5, 0, 0, 0, 0],
        &[8, 0, 0, 0, 0, 0, 77, 0],
    ]
    .concat();
    let inside = frames(refused()).map(|(time, frame)| (time, [&outer[..], &frame].concat()));
    let verdict = one_verdict(&pcap(ETHERNET, inside));
    is_refused(&verdict, true);
    assert_eq!(
        verdict["tunnel"],
        serde_json::json!({ "kind": "vxlan", "id": 77 })
    );
    assert!(
        one_verdict(&pcap(ETHERNET, frames(refused())))
            .get("tunnel")
            .is_none()
    );
}

/// PF's log: a header of 61 bytes, padded, then IP.
#[test]
fn the_log_of_a_firewall_is_read() {
    let mut header = vec![0; 64];
    header[0] = 61;
    let logged = frames(refused()).map(|(time, frame)| (time, [&header, &frame[14..]].concat()));
    is_refused(&one_verdict(&pcap(117, logged)), true);
}

#[test]
fn frames_that_are_not_looked_into_are_named() {
    let other = |ether_type: [u8; 2]| [&[0; 12][..], &ether_type, &[0; 40]].concat();
    let unread = [[0x88, 0xcc], [0x89, 0x99], [0x89, 0x99]].map(|it| (START, other(it)));
    let (verdicts, said) = judge(&pcap(ETHERNET, unread.into_iter().chain(frames(refused()))));
    assert_eq!(verdicts.len(), 1);
    let line = said
        .lines()
        .find(|line| line.starts_with("not looked into:"));
    assert_eq!(
        line,
        Some("not looked into: 2 EtherType 0x8999, 1 LLDP"),
        "{said}"
    );
}
