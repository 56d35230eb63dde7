//! Segments that an attacker beside the path sends in another's name: the table of docs/threat-model.md, row by row.

use rstest::rstest;
use serde_json::Value;
use tests::conversation::From::{Client, Server};
use tests::conversation::{Conversation, Network, tls};
use tests::made::{ETHERNET, START, STEP, judge, pcap};

/// The place of forged segments: behind the TCP handshake, the hello, the server's flight, the client's Finished,
/// or amid data.
const BEFORE_HELLO: usize = 0;
const AFTER_HELLO: usize = 1;
const AFTER_FLIGHT: usize = 2;
const AFTER_FINISHED: usize = 3;
const AMID_DATA: usize = 5;

type Forge = fn(&Conversation) -> Vec<Vec<u8>>;

/// How a connection goes on behind forged segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// As if there were none: they did not arrive, or were ignored.
    Works,
    /// With silence, as after a reset.
    Ends,
    /// The client refuses the certificate.
    Refuses,
}

fn steps(then: Then) -> Vec<(tests::conversation::From, Vec<u8>)> {
    let flight = [
        tls::server_hello(0xc02f, false),
        tls::record(22, &tls::message(11, &[0; 300])),
        tls::record(22, &tls::message(14, &[])),
    ];
    let mut steps = vec![
        (Client, tls::client_hello("true.example", 300)),
        (Server, flight.concat()),
    ];
    if then == Then::Refuses {
        steps.push((Client, tls::record(21, &[2, 48])));
        return steps;
    }
    let change = tls::record(20, &[1]);
    let finished = tls::record(22, &[5; 40]);
    let key_exchange = tls::record(22, &tls::message(16, &[0; 66]));
    steps.extend([
        (Client, [&key_exchange[..], &change, &finished].concat()),
        (Server, [&change[..], &finished].concat()),
        (Client, tls::record(23, &[5; 200])),
        (Server, tls::record(23, &[5; 900])),
        (Client, tls::record(23, &[5; 300])),
        (Server, tls::record(23, &[5; 900])),
    ]);
    steps
}

/// Returns the verdicts on a connection with forged segments at a place, and the agent's messages.
fn told(place: usize, then: Then, forge: Forge) -> (Vec<Value>, String) {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut frames = talk.three_way_handshake();
    let steps = steps(then);
    for (number, (from, payload)) in steps.iter().enumerate() {
        if number == place {
            frames.extend(forge(&talk));
            if then == Then::Ends {
                break;
            }
        }
        frames.push(talk.data(*from, payload));
        frames.push(talk.ack(if *from == Client { Server } else { Client }));
    }
    if then != Then::Ends {
        frames.extend([talk.fin(Client), talk.fin(Server), talk.ack(Client)]);
    }
    let times = (0..).map(|number| START + number * STEP * 10);
    judge(&pcap(ETHERNET, times.zip(frames)))
}

fn alert_in_place(talk: &Conversation) -> Vec<Vec<u8>> {
    vec![talk.segment(
        Server,
        talk.next(Server),
        &tls::record(21, &[2, 40]),
        |_| {},
    )]
}

fn alert_elsewhere(talk: &Conversation) -> Vec<Vec<u8>> {
    let far = talk.next(Server).wrapping_add(1 << 30);
    vec![talk.segment(Server, far, &tls::record(21, &[2, 40]), |_| {})]
}

fn two_alerts_elsewhere(talk: &Conversation) -> Vec<Vec<u8>> {
    let alert = tls::record(21, &[2, 40]);
    [1 << 29, 1 << 30]
        .map(|ahead| {
            let far = talk.next(Server).wrapping_add(ahead);
            talk.segment(Server, far, &alert, |_| {})
        })
        .to_vec()
}

fn reset_at(talk: &Conversation, ahead: u32, ttl: u8) -> Vec<Vec<u8>> {
    let mut forger = talk.clone();
    forger.ttl = [ttl; 2];
    let seq = talk.next(Server).wrapping_add(ahead);
    vec![forger.segment(Server, seq, &[], |tcp| tcp.rst = true)]
}

fn reset_elsewhere(talk: &Conversation) -> Vec<Vec<u8>> {
    reset_at(talk, 0x1234_5678, talk.ttl[1])
}

fn reset_of_another_ttl(talk: &Conversation) -> Vec<Vec<u8>> {
    reset_at(talk, 0, 200)
}

/// It does not reach the client.
fn reset_that_expires(talk: &Conversation) -> Vec<Vec<u8>> {
    reset_at(talk, 0, 2)
}

fn reset_without_a_tell(talk: &Conversation) -> Vec<Vec<u8>> {
    reset_at(talk, 0, talk.ttl[1])
}

fn hello_of_another_name(talk: &Conversation) -> Vec<Vec<u8>> {
    let mut forger = talk.clone();
    forger.ttl = [2; 2];
    vec![forger.data(Client, &tls::client_hello("fake.example", 300))]
}

/// The hello's bytes once more, with another name.
fn hello_again(talk: &Conversation) -> Vec<Vec<u8>> {
    let hello = tls::client_hello("fake.example", 300);
    let seq = talk.next(Client).wrapping_sub(hello.len() as u32);
    vec![talk.segment(Client, seq, &hello, |_| {})]
}

fn syn_of_other_numbers(talk: &Conversation) -> Vec<Vec<u8>> {
    vec![talk.segment(Client, 0x7000_0000, &[], |tcp| {
        tcp.syn = true;
        tcp.ack = false;
    })]
}

fn data_elsewhere(talk: &Conversation) -> Vec<Vec<u8>> {
    [Client, Server]
        .map(|from| {
            let far = talk.next(from).wrapping_add(1 << 30);
            talk.segment(from, far, &tls::record(23, &[1; 400]), |_| {})
        })
        .to_vec()
}

fn fin_that_expires(talk: &Conversation) -> Vec<Vec<u8>> {
    let mut forger = talk.clone();
    forger.ttl = [2; 2];
    vec![forger.fin(Server)]
}

const ALL: [usize; 4] = [AFTER_HELLO, AFTER_FLIGHT, AFTER_FINISHED, AMID_DATA];

fn causes(verdicts: &[Value]) -> Vec<&str> {
    let causes = verdicts.iter().map(|it| it["cause"].as_str());
    causes.map(Option::unwrap).collect()
}

/// A third party's segment in a connection that goes on is no failure, wherever it was put and whatever it said.
#[rstest]
#[case::alert_in_place(alert_in_place)]
#[case::alert_elsewhere(alert_elsewhere)]
#[case::two_alerts_elsewhere(two_alerts_elsewhere)]
#[case::reset_elsewhere(reset_elsewhere)]
#[case::reset_of_another_ttl(reset_of_another_ttl)]
#[case::reset_that_expires(reset_that_expires)]
#[case::reset_without_a_tell(reset_without_a_tell)]
#[case::hello_again(hello_again)]
#[case::syn_of_other_numbers(syn_of_other_numbers)]
#[case::data_elsewhere(data_elsewhere)]
#[case::fin_that_expires(fin_that_expires)]
fn a_connection_that_outlives_it_is_no_failure(#[case] forge: Forge) {
    for place in ALL {
        let (verdicts, said) = told(place, Then::Works, forge);
        assert!(verdicts.is_empty(), "at {place}: {verdicts:?}");
        assert!(said.contains("0 failed"), "at {place}: {said}");
    }
}

/// Nor does it hide the failure that follows, or change its cause.
#[rstest]
#[case::alert_elsewhere(alert_elsewhere)]
#[case::two_alerts_elsewhere(two_alerts_elsewhere)]
#[case::reset_elsewhere(reset_elsewhere)]
#[case::reset_of_another_ttl(reset_of_another_ttl)]
#[case::reset_that_expires(reset_that_expires)]
#[case::reset_without_a_tell(reset_without_a_tell)]
#[case::hello_again(hello_again)]
#[case::syn_of_other_numbers(syn_of_other_numbers)]
fn the_failure_behind_it_is_told(#[case] forge: Forge) {
    for place in [AFTER_HELLO, AFTER_FLIGHT] {
        let (verdicts, _) = told(place, Then::Refuses, forge);
        assert_eq!(causes(&verdicts), ["certificate-rejected"], "at {place}");
        assert_eq!(verdicts[0]["sni"], "true.example");
        assert_eq!(verdicts[0]["alert"]["code"], 48);
    }
}

/// Data far from the stream are known to be missing bytes, and the verdict is less sure.
#[test]
fn data_elsewhere_lower_the_confidence() {
    let confidence = |forge: Forge| {
        let (verdicts, _) = told(AFTER_FLIGHT, Then::Refuses, forge);
        assert_eq!(causes(&verdicts), ["certificate-rejected"]);
        verdicts[0]["confidence"].as_f64().unwrap()
    };
    assert!(confidence(data_elsewhere) < confidence(|_| Vec::new()));
}

/// A reset that ends a connection is a third party's if its TTL is another, and the server's if nothing tells.
#[test]
fn a_reset_that_ends_a_connection_is_told_by_its_tells() {
    for place in ALL {
        for forge in [reset_of_another_ttl, reset_that_expires] {
            let (verdicts, _) = told(place, Then::Ends, forge);
            assert_eq!(causes(&verdicts), ["injected-reset"], "at {place}");
            assert_eq!(verdicts[0]["ended_by"], "middlebox");
        }
        let (verdicts, _) = told(place, Then::Ends, reset_without_a_tell);
        assert_eq!(causes(&verdicts), ["endpoint-reset"], "at {place}");
        let sure = verdicts[0]["confidence"].as_f64().unwrap();
        let (verdicts, _) = told(place, Then::Ends, reset_elsewhere);
        let elsewhere = verdicts[0]["confidence"].as_f64().unwrap();
        assert!(elsewhere < sure && sure < 0.9, "{elsewhere} {sure}");
    }
}

/// Not told apart: an alert in its place that ends the connection, and bytes before the client's own.
#[test]
fn forged_bytes_in_their_place_are_believed() {
    let (verdicts, _) = told(AFTER_HELLO, Then::Ends, alert_in_place);
    assert_eq!(causes(&verdicts), ["unsupported-parameters"]);
    let (verdicts, _) = told(BEFORE_HELLO, Then::Refuses, hello_of_another_name);
    assert_eq!(verdicts[0]["sni"], "fake.example");
}
