//! `tlswhy pcap` on captures with frames cut short, doubled, out of order or not yet written: what
//! remains is judged, and nothing that works is called broken.

use rstest::rstest;
use serde_json::Value;
use tests::conversation::From::{Client, Server};
use tests::conversation::{Conversation, Network, tls};
use tests::made::{ETHERNET, START, STEP, judge, pcap, snapped};

/// Nanoseconds between the two copies of a frame that two mirror ports make.
const APART: u64 = 10_000;

type Frames = Vec<(u64, Vec<u8>)>;

fn timed(frames: Vec<Vec<u8>>) -> Frames {
    let times = (0..).map(|number| START + number * STEP);
    times.zip(frames).collect()
}

fn flight() -> Vec<u8> {
    [
        tls::server_hello(0xc02f, false),
        tls::record(22, &tls::message(11, &[0; 300])),
        tls::record(22, &tls::message(14, &[])),
    ]
    .concat()
}

/// A connection of TLS 1.2 that is used, and ends as `ending` wishes.
fn works() -> Frames {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut frames = talk.three_way_handshake();
    let change = tls::record(20, &[1]);
    let finished = tls::record(22, &[5; 40]);
    let key_exchange = tls::record(22, &tls::message(16, &[0; 66]));
    let farewell = tls::record(21, &[5; 26]);
    for (from, payload) in [
        (Client, tls::client_hello("app.example", 300)),
        (Server, flight()),
        (Client, [&key_exchange[..], &change, &finished].concat()),
        (Server, [&change[..], &finished].concat()),
        (Client, tls::record(23, &[5; 200])),
        (Server, tls::record(23, &[5; 900])),
        (Client, tls::record(23, &[5; 300])),
        (Server, tls::record(23, &[5; 900])),
        (Client, farewell),
    ] {
        frames.push(talk.data(from, &payload));
        frames.push(talk.ack(if from == Client { Server } else { Client }));
    }
    frames.extend([talk.fin(Client), talk.fin(Server), talk.ack(Client)]);
    timed(frames)
}

/// A client that refuses the server's certificate.
fn refused() -> Frames {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut frames = talk.three_way_handshake();
    frames.push(talk.data(Client, &tls::client_hello("app.example", 300)));
    frames.push(talk.ack(Server));
    frames.push(talk.data(Server, &flight()));
    frames.push(talk.ack(Client));
    frames.push(talk.data(Client, &tls::record(21, &[2, 48])));
    frames.extend([talk.fin(Client), talk.fin(Server), talk.ack(Client)]);
    timed(frames)
}

/// A server that resets the connection upon the ClientHello, right behind its acknowledgement.
fn reset() -> Frames {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut frames = talk.three_way_handshake();
    frames.push(talk.data(Client, &tls::client_hello("app.example", 300)));
    frames.push(talk.ack(Server));
    frames.push(talk.rst(Server));
    let mut frames = timed(frames);
    if let [.., (acknowledged, _), (reset, _)] = &mut frames[..] {
        *reset = *acknowledged + APART / 2;
    }
    frames
}

/// The fields of each verdict that a disturbance may not change.
fn told(frames: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Vec<Value> {
    let (verdicts, _) = judge(&pcap(ETHERNET, frames));
    let of = |verdict: &Value| {
        let fields = ["cause", "alert", "sni", "confidence", "ended_by"];
        fields.map(|field| verdict[field].clone()).into()
    };
    verdicts.iter().map(of).collect()
}

/// Each frame twice: at once, or behind the next one's first copy.
fn doubled(frames: &Frames, behind_the_next: bool) -> Frames {
    let copies = frames
        .iter()
        .map(|(time, frame)| (time + APART, frame.clone()));
    let mut both: Vec<_> = frames.iter().cloned().zip(copies).collect();
    if !behind_the_next {
        return both
            .drain(..)
            .flat_map(|(one, other)| [one, other])
            .collect();
    }
    let pairs = both.chunks(2).flat_map(|pair| {
        let firsts = pair.iter().map(|(first, _)| first.clone());
        let seconds = pair.iter().map(|(_, second)| second.clone());
        firsts.chain(seconds).collect::<Frames>()
    });
    pairs.collect()
}

/// Neighbours in each other's place, times with their frames: time runs back at each pair.
fn swapped(frames: &Frames) -> Frames {
    let pairs = frames.chunks(2).flat_map(|pair| pair.iter().rev().cloned());
    pairs.collect()
}

#[rstest]
fn a_mirror_with_two_ports_changes_no_verdict(
    #[values(false, true)] behind_the_next: bool,
    #[values(refused(), reset(), works())] frames: Frames,
) {
    assert_eq!(told(doubled(&frames, behind_the_next)), told(frames));
}

#[rstest]
fn two_ports_and_frames_in_the_wrong_order_call_nothing_broken(
    #[values(false, true)] behind_the_next: bool,
) {
    let works = told(swapped(&doubled(&works(), behind_the_next)));
    assert!(works.is_empty(), "{works:?}");
    let refused = told(swapped(&doubled(&refused(), behind_the_next)));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0][0], "certificate-rejected");
}

#[test]
fn time_that_runs_back_between_neighbours_changes_no_verdict() {
    let jitter = |frames: Frames| {
        let numbered = frames.into_iter().enumerate();
        let back =
            numbered.map(|(number, (time, frame))| (time - [0, 3 * STEP, STEP][number % 3], frame));
        back.collect::<Frames>()
    };
    for frames in [refused(), reset(), works()] {
        assert_eq!(told(jitter(frames.clone())), told(frames));
    }
}

#[rstest]
fn frames_cut_by_a_snap_length_call_nothing_broken(#[values(64, 96, 128)] snap_len: usize) {
    let (verdicts, said) = judge(&snapped(ETHERNET, snap_len, works()));
    assert!(verdicts.is_empty(), "{verdicts:#?} {said}");
}

/// Headers of 66 bytes: from 73 on an alert is read.
#[rstest]
#[case(64, None)]
#[case(96, Some("unknown_ca"))]
#[case(128, Some("unknown_ca"))]
fn an_alert_within_the_snap_length_is_told(#[case] snap_len: usize, #[case] alert: Option<&str>) {
    let (verdicts, said) = judge(&snapped(ETHERNET, snap_len, refused()));
    println!("{said} {verdicts:#?}");
    let told = verdicts
        .first()
        .map(|it| it["alert"]["description"].clone());
    assert_eq!(told.as_ref().and_then(Value::as_str), alert, "{said}");
    if alert.is_some() {
        assert_eq!(verdicts[0]["sni"], Value::Null);
    }
}

/// A capture that tcpdump has not written to its end.
#[test]
fn a_capture_cut_anywhere_while_it_is_written_calls_nothing_broken() {
    let whole = pcap(ETHERNET, works());
    let mut at = 24;
    for (_, frame) in works() {
        for cut in [at + 7, at + 16 + frame.len() / 2] {
            let (verdicts, said) = judge(&whole[..cut]);
            assert!(verdicts.is_empty(), "cut at {cut}: {verdicts:#?} {said}");
        }
        at += 16 + frame.len();
    }
}

#[test]
fn the_alert_before_a_cut_is_told() {
    let frames = refused();
    let alert = 7;
    let whole = pcap(ETHERNET, frames.iter().take(alert + 2).cloned());
    let (verdicts, said) = judge(&whole[..whole.len() - 10]);
    assert_eq!(verdicts.len(), 1, "{said}");
    assert_eq!(verdicts[0]["cause"], "certificate-rejected");
}

/// The summary says that frames were cut and where; of whole ones it says nothing.
#[rstest]
#[case::beside_the_headers(64, true)]
#[case::within_the_hello(96, true)]
#[case::within_the_certificate(128, true)]
#[case::whole(65_535, false)]
fn cut_frames_are_said(#[case] snap_len: usize, #[case] cut: bool) {
    let (_, said) = judge(&snapped(ETHERNET, snap_len, refused()));
    let line = format!("\nframes cut at {snap_len} bytes: ");
    assert_eq!(said.contains(&line), cut, "{said}");
    assert_eq!(said.contains("frames cut"), cut, "{said}");
}
