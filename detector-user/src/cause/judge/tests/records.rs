//! Records and messages that a side could not read.

use super::*;

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

/// A server that has waited for an answer long enough takes leave with a record as long as an alert.
#[test]
fn a_server_that_waited_in_vain_did_not_refuse() {
    let end = [
        CLIENT_CCS,
        app(C, 53),
        app(C, 90),
        app(S, 19),
        Fin(S),
        Fin(C),
    ];
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

/// A server that closes first and in order has taken the client's Finished.
#[rstest]
#[case::after_its_tickets(&[app(S, 250), app(S, 250), app(S, 19), Fin(S), app(C, 19)])]
#[case::without_tickets(&[app(S, 19), Fin(C), Fin(S)])]
#[case::by_fin(&[app(S, 570), Fin(S), Fin(C)])]
fn a_server_that_closed_first_could_read_the_client(#[case] end: &[Step]) {
    let steps = handshaken(true, &[&[CLIENT_CCS, app(C, 53)], end].concat());
    for knowledge in [Knowledge::default(), intercepted()] {
        assert_eq!(
            judge(&timeline(true, &steps), &knowledge),
            Judgement::Unused
        );
    }
}

/// An FTPS download, of which only the server sends data.
#[test]
fn data_that_only_the_server_sent_is_use() {
    let tickets_and_data = [
        CLIENT_CCS,
        app(C, 53),
        app(S, 250),
        app(S, 250),
        app(S, 3017),
        app(S, 19),
        Fin(S),
        app(C, 19),
    ];
    let judged = judged(true, &[&FLIGHT_13, &tickets_and_data]);
    assert_eq!(judged, Judgement::Established);
}
