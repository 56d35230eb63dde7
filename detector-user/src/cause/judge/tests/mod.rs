//! One flow after another, as each TLS stack shows it on the wire when it is content or refuses.

use std::net::SocketAddr;
use std::sync::Arc;

use detector_common::flow::{Sender, Side, side_flags};
use detector_common::headers::tcp_flags;
use detector_common::observation::{Measured, baseline};
use proptest::prelude::*;
use rstest::rstest;

use super::Judgement;
use crate::cause::interception::Interceptors;
use crate::cause::knowledge::{InterceptedWhen, Knowledge};
use crate::flow::flow_id::FlowId;
use crate::flow::legs::Connection;
use crate::flow::timeline::{Close, CloseKind, Ending, Timeline, TimelineRecord};
use crate::flow::tls::Handshake;
use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::server_hello::ServerHello;
use crate::verdict::{Cause, Party, Verdict};

/// One thing on the wire, a millisecond after the one before.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A record by its type, length and first body bytes.
    Record(Sender, u8, u16, [u8; 2]),
    Fin(Sender),
    /// A reset that fits its sender.
    Reset(Sender),
    /// A reset whose TTL never occurs in that direction.
    OddReset(Sender),
    SpeaksOn(Sender),
}
use Sender::{Client as C, Server as S};
use Step::{Fin, OddReset, Record, Reset, SpeaksOn};

const HELLO: Step = Record(C, 22, 512, [1, 0]);
const SERVER_HELLO: Step = Record(S, 22, 122, [2, 0]);
const CLIENT_CCS: Step = Record(C, 20, 1, [0; 2]);
const SERVER_CCS: Step = Record(S, 20, 1, [0; 2]);

const fn app(sender: Sender, length: u16) -> Step {
    Record(sender, 23, length, [0; 2])
}

const fn alert(sender: Sender, code: u8) -> Step {
    Record(sender, 21, 2, [2, code])
}

/// What a TLS 1.3 server has sent when the client decides.
const FLIGHT_13: [Step; 6] = [
    HELLO,
    SERVER_HELLO,
    SERVER_CCS,
    app(S, 1626),
    app(S, 281),
    app(S, 53),
];
/// What a TLS 1.2 server has sent when the client decides.
const FLIGHT_12: [Step; 3] = [HELLO, SERVER_HELLO, Record(S, 22, 2800, [11, 0])];
/// Both Finished of TLS 1.2.
const FINISHED_12: [Step; 5] = [
    Record(C, 22, 37, [16, 0]),
    CLIENT_CCS,
    Record(C, 22, 40, [1, 2]),
    SERVER_CCS,
    Record(S, 22, 40, [3, 4]),
];

fn hello() -> ClientHello {
    let mut hello = ClientHello::default();
    hello.server_name = Some("api.pinned.test".to_owned());
    hello
}

fn timeline(tls13: bool, steps: &[Step]) -> Timeline {
    let start = 1_800_000_000_000_000_000;
    let answered = steps
        .iter()
        .any(|step| matches!(step, Record(S, 22, _, [2, _])));
    let mut timeline = Timeline {
        flow: FlowId::default(),
        tap: Arc::from("lan0"),
        client: SocketAddr::from(([10, 0, 1, 2], 40_112)),
        server: SocketAddr::from(([10, 0, 2, 2], 443)),
        vlan: vec![],
        started_ns: start,
        last_ns: start,
        handshake: Handshake {
            client_hello: Some(hello()),
            server_hello: answered.then(|| ServerHello {
                legacy_version: 0x0303,
                cipher_suite: if tls13 { 0x1301 } else { 0xc02f },
                selected_version: tls13.then_some(0x0304),
                ..ServerHello::default()
            }),
            server_hello_done: answered && !tls13,
            ..Handshake::default()
        },
        records: vec![],
        closes: vec![],
        sides: [64, 57].map(|ttl| Side {
            flags: side_flags::SEEN,
            ttl_min: ttl,
            ttl_max: ttl,
            ..Side::default()
        }),
        settled: false,
        ending: Ending::Closed,
    };
    for (number, step) in (1..).zip(steps) {
        timeline.last_ns = start + number * 1_000_000;
        add(&mut timeline, *step, number as u32 * 1000);
    }
    timeline
}

fn add(timeline: &mut Timeline, step: Step, at_us: u32) {
    let time_ns = timeline.last_ns;
    let mut close = |kind, sender: Sender, flags, ttl_off: u8| {
        let ttl = timeline.sides[sender as usize].ttl_min + ttl_off;
        timeline.closes.push(Close {
            kind,
            sender,
            time_ns,
            egress: false,
            records_before: 0,
            measured: Measured {
                flags: flags | tcp_flags::ACK,
                ttl,
                baseline: baseline::SAME | baseline::SEQ,
                ..Measured::default()
            },
            sides: timeline.sides,
        });
    };
    match step {
        Record(sender, content_type, length, detail) => timeline.records.push(TimelineRecord {
            sender,
            at_us,
            content_type,
            version_minor: 3,
            length,
            detail,
            flags: 0,
        }),
        Fin(sender) => close(CloseKind::Fin, sender, tcp_flags::FIN, 0),
        Reset(sender) => close(CloseKind::Reset, sender, tcp_flags::RST, 0),
        OddReset(sender) => close(CloseKind::Reset, sender, tcp_flags::RST, 40),
        SpeaksOn(sender) => close(CloseKind::SpeaksOn, sender, 0, 0),
    }
}

fn judge(timeline: &Timeline, knowledge: &Knowledge) -> Judgement {
    let connection = Connection {
        client_leg: Box::new(timeline.clone()),
        server_leg: None,
        goes_on: false,
    };
    let interception = Interceptors::default().look(&connection, knowledge);
    super::judge(&connection, interception).judgement
}

fn judged(tls13: bool, steps: &[&[Step]]) -> Judgement {
    judge(&timeline(tls13, &steps.concat()), &Knowledge::default())
}

fn verdict(judgement: Judgement) -> Verdict {
    match judgement {
        Judgement::Failed(verdict) => *verdict,
        other => panic!("no verdict but {other:?}"),
    }
}

fn intercepted() -> Knowledge {
    Knowledge {
        intercepted: InterceptedWhen::Always,
        ..Knowledge::default()
    }
}

/// Clients that do not have the CA, or whose pin fails, each as measured.
#[rstest]
#[case::openssl_tls12(false, &[alert(C, 48), Fin(C)], 0.9)]
#[case::chromium_and_java_tls12(false, &[alert(C, 46), Fin(C)], 0.9)]
#[case::go_tls12(false, &[alert(C, 42), Fin(C)], 0.9)]
#[case::rustls_verifier_tls12(false, &[alert(C, 49)], 0.9)]
#[case::openssl_tls13_in_the_clear(true, &[alert(C, 48), Fin(C)], 0.85)]
#[case::chromium_and_go_tls13(true, &[CLIENT_CCS, app(C, 19), Fin(C)], 0.8)]
#[case::rustls_tls13(true, &[CLIENT_CCS, app(C, 19)], 0.8)]
#[case::gnutls_tls13(true, &[CLIENT_CCS, app(C, 19), Fin(C), Reset(C)], 0.8)]
#[case::java_tls13(true, &[CLIENT_CCS, app(C, 35), Fin(C)], 0.8)]
#[case::nss_tls13_without_ccs(true, &[app(C, 19), Fin(C)], 0.8)]
fn a_refused_certificate(#[case] tls13: bool, #[case] end: &[Step], #[case] least: f64) {
    let flight: &[Step] = if tls13 { &FLIGHT_13 } else { &FLIGHT_12 };
    let verdict = verdict(judged(tls13, &[flight, end]));
    assert_eq!(verdict.cause, Cause::CertificateRejected);
    assert!(verdict.confidence >= least, "{verdict:?}");
    assert_eq!(verdict.ended_by, Party::Client);
    assert_eq!(verdict.alert.unwrap().from, Party::Client);
}

/// The origin's own certificate may be one nobody takes, and TLS 1.3 hides it; an interceptor shows
/// none such.
#[rstest]
#[case::in_the_clear(&[alert(C, 48), Fin(C)])]
#[case::encrypted(&[CLIENT_CCS, app(C, 19), Fin(C)])]
fn a_hidden_certificate_makes_a_refusal_surer_where_it_is_an_interceptors(#[case] end: &[Step]) {
    let timeline = timeline(true, &[&FLIGHT_13[..], end].concat());
    let unknown = verdict(judge(&timeline, &Knowledge::default()));
    let known = verdict(judge(&timeline, &intercepted()));
    assert!(unknown.confidence < 0.9, "{unknown:?}");
    assert!(known.confidence >= 0.9, "{known:?}");
}

/// A signature that does not fit is handshake_failure to Java and illegal_parameter to Go.
#[rstest]
#[case::java(40)]
#[case::go(47)]
fn a_key_exchange_refused_is_no_matter_of_parameters(#[case] code: u8) {
    let steps = [&FLIGHT_12[..], &[alert(C, code), Fin(C)]].concat();
    let mut timeline = timeline(false, &steps);
    let cause = |timeline: &Timeline| verdict(judge(timeline, &Knowledge::default())).cause;
    assert_eq!(cause(&timeline), Cause::DecryptError);
    // TLS_DHE_RSA_WITH_AES_128_GCM_SHA256: the group may be too small for the client.
    let hello = timeline.handshake.server_hello.as_mut().unwrap();
    hello.cipher_suite = 0x009e;
    assert_eq!(cause(&timeline), Cause::UnsupportedParameters);
}

/// A server that has waited for a request long enough takes leave with a record as long as an alert.
#[test]
fn a_server_that_waited_in_vain_did_not_refuse() {
    let end = [CLIENT_CCS, app(C, 53), app(S, 19), Fin(S), Fin(C)];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &end].concat());
    let cause = |timeline: &Timeline| match judge(timeline, &Knowledge::default()) {
        Judgement::Failed(verdict) => Some(verdict.cause),
        _ => None,
    };
    assert_eq!(cause(&timeline), Some(Cause::DecryptError));
    timeline.records.last_mut().unwrap().at_us += 5_000_000;
    for close in &mut timeline.closes {
        close.time_ns += 5_000_000_000;
    }
    assert_ne!(cause(&timeline), Some(Cause::DecryptError));
}

/// No certificate and Finished in one record, the request in several, and then the server's alert.
#[test]
fn a_client_without_a_certificate_was_refused_though_it_sent_its_request() {
    let end = [
        CLIENT_CCS,
        app(C, 61),
        app(S, 19),
        app(C, 21),
        app(C, 40),
        Fin(S),
    ];
    let verdict = verdict(judged(true, &[&FLIGHT_13, &end]));
    assert_eq!(verdict.cause, Cause::ClientAuth, "{verdict:?}");
}

/// A short request is as long as a padded alert, of a client whose Finished shows that it pads nothing.
#[test]
fn a_short_request_is_no_alert() {
    let end = [
        CLIENT_CCS,
        app(C, 53),
        app(C, 35),
        app(S, 900),
        app(C, 19),
        Fin(C),
    ];
    let judged = judged(true, &[&FLIGHT_13, &end]);
    assert_eq!(judged, Judgement::Established, "{judged:?}");
}

/// Checks after the handshake: a refusal where the connection is known to be intercepted, and
/// nothing to be sure of elsewhere.
#[rstest]
#[case::okhttp(true, &[CLIENT_CCS, app(C, 69), app(C, 35), app(C, 35), Fin(C)])]
#[case::curl_pinnedpubkey(true, &[CLIENT_CCS, app(C, 53), app(C, 19), Fin(C)])]
#[case::wget(true, &[CLIENT_CCS, app(C, 53), Fin(C)])]
#[case::curl_on_boringssl(true, &[CLIENT_CCS, app(C, 53), Reset(C)])]
#[case::node_bare_fin(true, &[Fin(C)])]
#[case::urllib3_tls12(false, &[Fin(C)])]
#[case::curl_pinnedpubkey_tls12(false, &[Record(C, 21, 26, [0; 2]), Fin(C)])]
fn a_refusal_after_the_handshake_or_without_a_word(#[case] tls13: bool, #[case] end: &[Step]) {
    let mut steps = if tls13 {
        FLIGHT_13.to_vec()
    } else {
        FLIGHT_12.to_vec()
    };
    if !tls13 {
        steps.extend(FINISHED_12);
    }
    steps.extend(end);
    let known = verdict(judge(&timeline(tls13, &steps), &intercepted()));
    assert_eq!(known.cause, Cause::CertificateRejected, "{known:?}");
    assert!(known.confidence < 0.9, "{known:?}");
    if let Judgement::Failed(unknown) = judge(&timeline(tls13, &steps), &Knowledge::default()) {
        assert!(unknown.confidence < 0.7, "{unknown:?}");
    }
}

#[rstest]
#[case::request_and_answer(true, &[CLIENT_CCS, app(C, 53), app(C, 300), app(S, 250), app(S, 4000), Fin(C), Fin(S)])]
#[case::reset_after_a_complete_answer(true, &[CLIENT_CCS, app(C, 53), app(C, 300), app(S, 4000), Reset(C)])]
#[case::closed_by_notify(true, &[app(C, 53), app(C, 90), app(S, 900), app(C, 19), app(S, 19), Fin(C), Fin(S), Reset(C)])]
#[case::tls12(false, &[app(C, 300), app(S, 4000), Record(S, 21, 26, [0; 2]), Fin(S), Fin(C)])]
fn what_worked_is_no_failure(#[case] tls13: bool, #[case] end: &[Step]) {
    let mut steps = if tls13 {
        FLIGHT_13.to_vec()
    } else {
        FLIGHT_12.to_vec()
    };
    if !tls13 {
        steps.extend(FINISHED_12);
    }
    steps.extend(end);
    assert_eq!(
        judge(&timeline(tls13, &steps), &Knowledge::default()),
        Judgement::Established
    );
    // Not even where every connection is intercepted.
    assert_eq!(
        judge(&timeline(tls13, &steps), &intercepted()),
        Judgement::Established
    );
}

/// A forged reset that loses the race changes nothing.
#[test]
fn a_reset_that_lost_is_no_failure() {
    let steps = [
        app(C, 53),
        OddReset(S),
        app(C, 300),
        app(S, 4000),
        SpeaksOn(S),
        Fin(S),
        Fin(C),
    ];
    assert_eq!(judged(true, &[&FLIGHT_13, &steps]), Judgement::Established);
}

#[rstest]
#[case::no_common_version(&[HELLO, alert(S, 70), Fin(S)], Cause::UnsupportedParameters)]
#[case::no_common_cipher(&[HELLO, alert(S, 40), Fin(S)], Cause::UnsupportedParameters)]
#[case::no_common_alpn(&[HELLO, alert(S, 120)], Cause::UnsupportedParameters)]
#[case::unknown_name(&[HELLO, alert(S, 112)], Cause::UnsupportedParameters)]
#[case::bad_record_mac(&[HELLO, SERVER_HELLO, alert(C, 20)], Cause::DecryptError)]
#[case::decode_error(&[HELLO, alert(S, 50)], Cause::DecryptError)]
#[case::server_refuses_client(&[HELLO, SERVER_HELLO, alert(S, 42)], Cause::ClientAuth)]
#[case::certificate_required(&[HELLO, SERVER_HELLO, alert(S, 116)], Cause::ClientAuth)]
#[case::expired(&[HELLO, SERVER_HELLO, alert(C, 45), Fin(C)], Cause::ServerCertInvalid)]
#[case::server_closes(&[HELLO, Fin(S), Fin(C)], Cause::Abandoned)]
#[case::client_closes(&[HELLO, Fin(C), Fin(S)], Cause::Abandoned)]
#[case::reset_on_the_hello(&[HELLO, Reset(S)], Cause::EndpointReset)]
#[case::injected(&[HELLO, OddReset(S), SpeaksOn(S)], Cause::InjectedReset)]
fn other_causes(#[case] steps: &[Step], #[case] cause: Cause) {
    let verdict = verdict(judged(false, &[steps]));
    assert_eq!(verdict.cause, cause, "{verdict:?}");
}

/// TLS 1.3: the server's refusal comes after the client's flight, as long as an alert.
#[test]
fn a_server_that_misses_a_client_certificate() {
    let end = [
        CLIENT_CCS,
        app(C, 25),
        app(C, 53),
        app(C, 101),
        app(S, 19),
        Fin(S),
        Fin(C),
    ];
    assert_eq!(
        verdict(judged(true, &[&FLIGHT_13, &end])).cause,
        Cause::ClientAuth
    );
}

#[rstest]
#[case::odd_ttl_after_fin(&[Fin(S), OddReset(S)])]
#[case::odd_ttl_after_alert(&[alert(S, 40), OddReset(S)])]
#[case::repeated(&[Reset(C), Reset(C), Reset(C)])]
fn honest_resets_are_not_called_injected(#[case] end: &[Step]) {
    if let Judgement::Failed(verdict) = judged(false, &[&[HELLO], end]) {
        assert_ne!(verdict.cause, Cause::InjectedReset, "{verdict:?}");
    }
}

/// The story: the reset that follows a client's own refusal changes nothing about the cause.
#[test]
fn a_reset_after_the_refusal_stands_beside_it() {
    let end = [alert(C, 46), Fin(C), OddReset(S), SpeaksOn(S)];
    let verdict = verdict(judged(false, &[&FLIGHT_12, &end]));
    assert_eq!(verdict.cause, Cause::CertificateRejected);
    assert!(verdict.reset.unwrap().injected);
}

/// Of a resumed session no certificate was shown: closing it unused refuses nothing.
#[test]
fn a_resumed_session_refuses_no_certificate() {
    let steps = [HELLO, SERVER_HELLO, app(S, 53), app(C, 53), Fin(C)];
    let mut timeline = timeline(true, &steps);
    if let Some(hello) = &mut timeline.handshake.server_hello {
        hello.pre_shared_key = true;
    }
    assert_eq!(judge(&timeline, &intercepted()), Judgement::Unused);
}

/// Whoever refuses does so at once; a connection kept for later use that never came was fine.
#[test]
fn a_connection_left_idle_refuses_nothing() {
    let end = [CLIENT_CCS, app(C, 53), Fin(C), Fin(S)];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &end].concat());
    for close in &mut timeline.closes {
        close.time_ns += 5_000_000_000;
    }
    assert_eq!(judge(&timeline, &intercepted()), Judgement::Unused);
}

/// FIN before the server's flight came: nothing was there to be refused.
#[test]
fn who_left_before_the_certificate_came_did_not_refuse_it() {
    let steps = [HELLO, Fin(C), SERVER_HELLO, app(S, 1626), Reset(C)];
    assert_eq!(verdict(judged(true, &[&steps])).cause, Cause::Abandoned);
}

/// What the capture lost but the peer acknowledged had been sent.
#[test]
fn a_gap_in_the_capture_is_no_guess_at_the_sequence_number() {
    let mut timeline = timeline(false, &[&FLIGHT_12[..], &[Reset(C)]].concat());
    let set = |timeline: &mut Timeline, acknowledged: u32| {
        let close = timeline.closes.last_mut().unwrap();
        close.measured.seq_ahead = 7;
        close.sides[0].next_seq = 100;
        close.sides[1].ack = acknowledged;
    };
    let tells = |timeline: &Timeline| match judge(timeline, &Knowledge::default()) {
        Judgement::Failed(verdict) => verdict.reset.unwrap().tells,
        other => panic!("{other:?}"),
    };
    set(&mut timeline, 100);
    assert_eq!(tells(&timeline), ["sequence-ahead"]);
    set(&mut timeline, 107);
    assert_eq!(tells(&timeline), [""; 0]);
}

/// What the client sent may be what was not seen.
#[rstest]
#[case::left_after_the_flight(&[CLIENT_CCS, Fin(C)])]
#[case::left_after_its_finished(&[CLIENT_CCS, app(C, 53), Fin(C)])]
#[case::alert_for_finished(&[CLIENT_CCS, app(C, 19), Fin(C)])]
fn bytes_that_were_not_seen_prove_nothing(#[case] end: &[Step]) {
    let mut timeline = timeline(true, &[&FLIGHT_13[..], end].concat());
    let rejected = |timeline: &Timeline| match judge(timeline, &intercepted()) {
        Judgement::Failed(verdict) => verdict.cause == Cause::CertificateRejected,
        _ => false,
    };
    assert!(rejected(&timeline));
    timeline.sides[0].flags |= side_flags::GAP;
    assert!(!rejected(&timeline));
}

/// The evidence says from how far away a reset came and how far the connection was by then.
#[rstest]
#[case::on_the_hello(&[HELLO, OddReset(S)], "it came upon the ClientHello")]
#[case::in_the_flight(&[HELLO, SERVER_HELLO, app(S, 900), OddReset(S)], "it came within the server's flight or right after it")]
fn a_resets_place_is_told(#[case] steps: &[Step], #[case] stage: &str) {
    let verdict = verdict(judged(true, &[steps]));
    let detail = |name: &str| {
        let mut all = verdict.evidence.iter();
        all.find(|it| it.name == name).map(|it| it.detail.as_str())
    };
    assert_eq!(detail("reset-stage"), Some(stage));
    let distance = detail("reset-distance").unwrap();
    assert!(
        distance.contains("the server is about 7 hops away"),
        "{distance}"
    );
}

/// Forged, but behind the data that had gone by, or far beyond any window: nobody takes such a reset.
#[rstest]
#[case::behind(-44)]
#[case::far_beyond(364_625_207)]
fn a_reset_out_of_the_window_broke_nothing(#[case] ahead: i32) {
    let used = [
        CLIENT_CCS,
        app(C, 53),
        app(C, 300),
        app(S, 4000),
        OddReset(S),
    ];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &used].concat());
    let judged = |timeline: &Timeline| judge(timeline, &Knowledge::default());
    assert_eq!(verdict(judged(&timeline)).cause, Cause::InjectedReset);
    timeline.closes[0].measured.seq_ahead = ahead;
    assert_eq!(judged(&timeline), Judgement::Established);
}

#[test]
fn a_capture_of_one_direction_shows_no_failure() {
    let steps = [HELLO, CLIENT_CCS, app(C, 53), app(C, 300), Fin(C)];
    let mut timeline = timeline(true, &steps);
    timeline.sides[1] = Side::default();
    assert_eq!(
        judge(&timeline, &Knowledge::default()),
        Judgement::Unfinished
    );
}

#[test]
fn a_hello_that_nobody_acknowledged_was_not_reset_by_its_client() {
    let mut timeline = timeline(true, &[HELLO, Reset(C)]);
    timeline.sides[1] = Side::default();
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::Abandoned);
    assert!(
        verdict.evidence[0].detail.contains("nobody acknowledged"),
        "{verdict:?}"
    );
}

fn steps() -> impl Strategy<Value = Step> {
    let sender = prop_oneof![Just(C), Just(S)];
    prop_oneof![
        (sender.clone(), 20u8..25, any::<u16>(), any::<[u8; 2]>())
            .prop_map(|(sender, kind, length, detail)| Record(sender, kind, length, detail)),
        (
            sender.clone(),
            prop_oneof![Just(19u16), Just(35), Just(53), Just(300)]
        )
            .prop_map(|(sender, length)| app(sender, length)),
        (sender.clone(), any::<u8>()).prop_map(|(sender, code)| alert(sender, code)),
        sender.clone().prop_map(Fin),
        sender.clone().prop_map(Reset),
        sender.clone().prop_map(OddReset),
        sender.prop_map(SpeaksOn),
    ]
}

proptest! {
    #[test]
    fn any_timeline_is_judged_soberly(
        tls13: bool,
        steps in proptest::collection::vec(steps(), 0..20),
        always: bool,
    ) {
        let knowledge = if always { intercepted() } else { Knowledge::default() };
        if let Judgement::Failed(verdict) = judge(&timeline(tls13, &steps), &knowledge) {
            prop_assert!(verdict.confidence > 0.0 && verdict.confidence < 1.0);
            // One connection alone shows neither.
            prop_assert!(!matches!(verdict.cause, Cause::Pinning | Cause::CaNotTrusted));
            prop_assert!(!verdict.evidence.is_empty());
        }
    }
}
