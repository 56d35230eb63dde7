//! Records that the standards forbid and stacks send all the same, in captures made here.

use rstest::rstest;
use serde_json::Value;
use tests::conversation::From::{Client, Server};
use tests::conversation::{Conversation, From, Network, tls};
use tests::made::{ETHERNET, START, STEP, judge, one_verdict, pcap};

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
/// Fatal unknown_ca.
const UNKNOWN_CA: [u8; 2] = [2, 48];

/// A handshake of TLS 1.2 from the ClientHello to both sides' FIN, with these payloads in between.
fn capture(between: &[(From, Vec<u8>)]) -> Vec<u8> {
    capture_of(&tls::client_hello("app.example", 300), between)
}

fn capture_of(hello: &[u8], between: &[(From, Vec<u8>)]) -> Vec<u8> {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut frames = talk.three_way_handshake();
    frames.push(talk.data(Client, hello));
    for (from, payload) in between {
        frames.push(talk.data(*from, payload));
        frames.push(talk.ack(match from {
            Client => Server,
            Server => Client,
        }));
    }
    frames.extend([talk.fin(Client), talk.fin(Server), talk.ack(Client)]);
    let times = (0..).map(|number| START + number * STEP);
    pcap(ETHERNET, times.zip(frames))
}

fn certificate() -> Vec<u8> {
    tls::message(11, &[0; 300])
}

fn hello() -> Vec<u8> {
    tls::server_hello(0xc02f, false)
}

fn flight() -> Vec<u8> {
    [
        hello(),
        tls::record(HANDSHAKE, &certificate()),
        tls::record(HANDSHAKE, &tls::message(14, &[])),
    ]
    .concat()
}

/// The server's flight with its certificate in records of `len` bytes.
fn flight_in_pieces(len: usize) -> Vec<u8> {
    let pieces = certificate();
    let pieces = pieces.chunks(len).map(|part| tls::record(HANDSHAKE, part));
    [hello(), pieces.collect::<Vec<_>>().concat()].concat()
}

fn alert_of(verdict: &Value) -> [&str; 3] {
    ["from", "level", "description"]
        .map(|field| verdict["alert"][field].as_str().unwrap_or_default())
}

fn is_refused(verdict: &Value) {
    assert_eq!(verdict["cause"], "certificate-rejected", "{verdict:#}");
    assert_eq!(alert_of(verdict), ["client", "fatal", "unknown_ca"]);
    let evidence = verdict["evidence"].as_array().unwrap();
    assert!(
        evidence.iter().all(|it| it["name"] != "gaps"),
        "{verdict:#}"
    );
}

/// RFC 5246 §6.2.1 and RFC 8446 §5.1 forbid them.
#[rstest]
#[case::of_the_server(
    [hello(), tls::record(HANDSHAKE, &[]), tls::record(HANDSHAKE, &certificate())].concat(),
    tls::record(ALERT, &UNKNOWN_CA),
)]
#[case::of_the_server_at_its_end(
    [flight(), tls::record(HANDSHAKE, &[])].concat(),
    tls::record(ALERT, &UNKNOWN_CA),
)]
fn an_empty_handshake_record_hides_nothing(#[case] flight: Vec<u8>, #[case] answer: Vec<u8>) {
    let verdict = one_verdict(&capture(&[(Server, flight), (Client, answer)]));
    is_refused(&verdict);
}

/// In one segment, where the engine stops at the empty record.
#[rstest]
#[case::of_a_handshake(HANDSHAKE)]
#[case::of_an_alert(ALERT)]
fn an_alert_behind_an_empty_record_is_told(#[case] content_type: u8) {
    let alert = [
        tls::record(content_type, &[]),
        tls::record(ALERT, &UNKNOWN_CA),
    ];
    let between = [(Server, flight()), (Client, alert.concat())];
    let verdict = one_verdict(&capture(&between));
    is_refused(&verdict);
    assert!(!verdict["evidence"].to_string().contains("left-tls"));
    let refusal = [tls::record(content_type, &[]), tls::record(ALERT, &[2, 40])];
    let verdict = one_verdict(&capture(&[(Server, refusal.concat())]));
    assert_eq!(
        alert_of(&verdict),
        ["server", "fatal", "handshake_failure"],
        "{verdict:#}"
    );
}

/// A client that sends an empty record and leaves has not gone on in the clear.
#[test]
fn an_empty_record_is_no_other_protocol() {
    let between = [(Server, flight()), (Client, tls::record(HANDSHAKE, &[]))];
    for verdict in judge(&capture(&between)).0 {
        let evidence = verdict["evidence"].to_string();
        assert!(!evidence.contains("left-tls"), "{verdict:#}");
    }
    let between = [(Server, flight()), (Client, b"QUIT\r\n".to_vec())];
    let evidence = one_verdict(&capture(&between))["evidence"].to_string();
    assert!(evidence.contains("left-tls"), "{evidence}");
}

/// An alert acknowledges all that its sender had read: the ServerHello, and the certificate not yet.
#[rstest]
#[case::unknown_ca(48, 0, "unsupported-parameters")]
#[case::internal_error(80, 0, "unsupported-parameters")]
#[case::handshake_failure(40, 0, "unsupported-parameters")]
#[case::all_but_a_byte(48, 1, "unsupported-parameters")]
#[case::all(48, 2, "certificate-rejected")]
fn an_alert_before_the_certificate_is_about_another_record(
    #[case] description: u8,
    #[case] received: usize,
    #[case] cause: &str,
) {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut frames = talk.three_way_handshake();
    frames.push(talk.data(Client, &tls::client_hello("app.example", 300)));
    let certificate = tls::record(HANDSHAKE, &certificate());
    let (last, most) = certificate.split_last().unwrap();
    frames.push(talk.data(Server, &hello()));
    // On their way to the client, beyond this tap, when it sends its alert.
    let begun = [&[][..], most, &certificate][received].to_vec();
    let mut late = talk.clone();
    late.data(Server, &begun);
    frames.push(talk.data(Server, &[most, &[*last]].concat()));
    frames.push(late.data(Client, &tls::record(ALERT, &[2, description])));
    frames.push(late.fin(Client));
    let times = (0..).map(|number| START + number * STEP);
    let verdict = one_verdict(&pcap(ETHERNET, times.zip(frames)));
    assert_eq!(verdict["cause"], cause, "{verdict:#}");
    let evidence = verdict["evidence"].to_string();
    let told = evidence.contains("alert-before-certificate");
    assert_eq!(told, received < 2 && description != 40, "{verdict:#}");
}

/// One side's timeline holds sixteen records.
#[test]
fn an_alert_of_the_client_behind_sixteen_records_is_told() {
    let many = (0..20).map(|_| tls::record(HANDSHAKE, &[16]));
    let mut between = vec![(Server, flight())];
    between.extend(many.map(|record| (Client, record)));
    between.push((Client, tls::record(ALERT, &UNKNOWN_CA)));
    is_refused(&one_verdict(&capture(&between)));
}

#[rstest]
#[case::alone(&[])]
#[case::before_a_second(&[1, 0])]
fn an_alert_of_the_server_behind_sixteen_records_is_told(#[case] second: &[u8]) {
    let alert = tls::record(ALERT, &[2, 40]);
    let mut between = vec![(Server, flight_in_pieces(15)), (Server, alert)];
    if !second.is_empty() {
        between.push((Server, tls::record(ALERT, second)));
    }
    let verdict = one_verdict(&capture(&between));
    assert_eq!(
        alert_of(&verdict),
        ["server", "fatal", "handshake_failure"],
        "{verdict:#}"
    );
}

/// RFC 5246 §6.2.1 lets messages of one type share a record; RFC 8446 §5.1 forbids it of alerts.
#[test]
fn the_first_of_two_alerts_in_one_record_is_told() {
    let both = tls::record(ALERT, &[2, 48, 1, 0]);
    let verdict = one_verdict(&capture(&[(Server, flight()), (Client, both)]));
    is_refused(&verdict);
}

/// Level and description apart: RFC 8446 §5.1 forbids it, RFC 5246 §6.2.1 does not.
#[rstest]
fn an_alert_in_two_records_is_told(#[values(false, true)] in_one_segment: bool) {
    let parts = UNKNOWN_CA.map(|byte| tls::record(ALERT, &[byte]));
    let mut between = vec![(Server, flight())];
    if in_one_segment {
        between.push((Client, parts.concat()));
    } else {
        between.extend(parts.map(|part| (Client, part)));
    }
    is_refused(&one_verdict(&capture(&between)));
}

/// close_notify, which refuses nothing, as each of these.
#[rstest]
#[case::twice_in_one_record(tls::record(ALERT, &[1, 0, 1, 0]))]
#[case::in_two_records([tls::record(ALERT, &[1]), tls::record(ALERT, &[0])].concat())]
fn a_farewell_is_no_refusal(#[case] farewell: Vec<u8>) {
    let change = |from| (from, tls::record(20, &[1]));
    let between = [
        (Server, flight()),
        (Client, tls::record(HANDSHAKE, &tls::message(16, &[0; 66]))),
        change(Client),
        (Client, tls::record(HANDSHAKE, &[5; 40])),
        change(Server),
        (Server, tls::record(HANDSHAKE, &[5; 40])),
        (Client, tls::record(23, &[5; 200])),
        (Server, tls::record(23, &[5; 900])),
        (Client, farewell),
    ];
    let (verdicts, said) = judge(&capture(&between));
    assert!(verdicts.is_empty(), "{verdicts:#?} {said}");
}

/// A ClientHello in the format of SSL 2.0 (RFC 5246 App. E.2) that offers TLS 1.0, with so many
/// suites and a challenge of 16 bytes: as a hello of TLS it is longer or shorter.
fn ssl2_hello(suites: u8) -> Vec<u8> {
    let specs = (0..suites).flat_map(|suite| [0, 0, suite]);
    let fixed = [3, 1, 0, 3 * suites, 0, 0, 0, 16];
    let rest: Vec<u8> = fixed.into_iter().chain(specs).chain([7; 16]).collect();
    [&[0x80, rest.len() as u8 + 1, 1][..], &rest].concat()
}

#[rstest]
fn a_refusal_of_a_hello_in_the_format_of_ssl2_is_told(#[values(3, 40)] suites: u8) {
    let alert = (Server, tls::record(ALERT, &[2, 70]));
    let verdict = one_verdict(&capture_of(&ssl2_hello(suites), &[alert]));
    assert_eq!(verdict["cause"], "unsupported-parameters", "{verdict:#}");
    assert_eq!(
        alert_of(&verdict),
        ["server", "fatal", "protocol_version"],
        "{verdict:#}"
    );
    assert_eq!(verdict["sni"], Value::Null);
}

#[rstest]
fn a_certificate_refused_after_a_hello_in_the_format_of_ssl2_is_told(#[values(3, 40)] suites: u8) {
    let alert = (Client, tls::record(ALERT, &UNKNOWN_CA));
    let verdict = one_verdict(&capture_of(
        &ssl2_hello(suites),
        &[(Server, flight()), alert],
    ));
    is_refused(&verdict);
}
