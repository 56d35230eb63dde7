//! Records and messages that a side could not read.

use detector_common::observation::baseline;

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

/// A connection in use, the server's last record of which has so many bytes to come, and its end.
fn cut(missing: u32, end: &[Step]) -> Timeline {
    let used = [CLIENT_CCS, app(C, 53), app(C, 300), app(S, 16_401)];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &used, end].concat());
    let has_fin = matches!(end, [Fin(S), ..]);
    let server = &mut timeline.sides[1];
    server.flags |= side_flags::SYNCED;
    server.start_seq = 1000;
    server.next_seq = 9000 + u32::from(has_fin);
    server.header_seq = 9000 + missing;
    for close in &mut timeline.closes {
        close.measured.seq = 9000;
    }
    timeline
}

#[rstest]
#[case::closed(&[Fin(S), Fin(C)], Cause::Truncated)]
#[case::reset(&[Reset(S)], Cause::EndpointReset)]
fn a_record_cut_short_by_the_server_is_told(#[case] end: &[Step], #[case] cause: Cause) {
    let verdict = verdict(judge(&cut(8000, end), &Knowledge::default()));
    assert_eq!((verdict.cause, verdict.ended_by), (cause, Party::Server));
    let mut evidence = verdict.evidence.iter();
    let cut = evidence.find(|it| it.name == "record-cut-short").unwrap();
    let said = "amid a record: 8000 bytes of it were still to come, after 8000 in all";
    assert!(cut.detail.ends_with(said), "{}", cut.detail);
}

/// A whole record, a place that is not known, missing bytes, or a client that has left before.
#[test]
fn an_end_that_cuts_no_record_is_none() {
    let judged = |timeline: &Timeline| judge(timeline, &Knowledge::default());
    for end in [&[Fin(S), Fin(C)][..], &[Reset(S)]] {
        assert_eq!(judged(&cut(0, end)), Judgement::Established);
        let mut unknown = cut(8000, end);
        unknown.sides[1].flags &= !side_flags::SYNCED;
        assert_eq!(judged(&unknown), Judgement::Established);
        let mut gap = cut(8000, end);
        gap.sides[1].flags |= side_flags::GAP;
        assert_eq!(judged(&gap), Judgement::Established);
    }
    // A FIN with an old number, as of a VPN's stack that sends data twice.
    let mut old = cut(1, &[Fin(S), Fin(C)]);
    old.closes[0].measured.baseline |= baseline::SEQ;
    assert!(matches!(judged(&old), Judgement::Failed(_)));
    old.closes[0].measured.seq_ahead = -37;
    assert_eq!(judged(&old), Judgement::Established);
    for end in [[Fin(C), Reset(S)], [Fin(C), Fin(S)], [Reset(C), Reset(S)]] {
        assert_eq!(judged(&cut(8000, &end)), Judgement::Established);
    }
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

/// Up to TLS 1.2 the alert that answers damaged data is encrypted, and may be a close_notify as well.
#[rstest]
#[case::upon_the_first_data(&[app(C, 120), Record(S, 21, 26, [9, 9]), Fin(S)], true)]
#[case::answered(&[app(C, 120), app(S, 900), Record(S, 21, 26, [9, 9]), Fin(S)], false)]
#[case::before_any_data(&[Record(S, 21, 26, [9, 9]), Fin(S)], false)]
#[case::before_the_data(&[Record(S, 21, 26, [9, 9]), app(C, 120), Fin(S)], false)]
#[case::in_the_clear(&[app(C, 120), Record(S, 21, 2, [1, 0]), Fin(S)], false)]
#[case::of_a_server_that_speaks_first(&[app(S, 90), app(C, 120), Record(S, 21, 26, [9, 9]), Fin(S)], false)]
#[case::with_empty_records(&[app(C, 0), app(C, 120), app(C, 0), app(C, 50), Record(S, 21, 26, [9, 9]), Fin(S)], true)]
#[case::client_left_first(&[app(C, 40), Record(C, 21, 26, [9, 9]), Fin(C), Record(S, 21, 26, [9, 9]), Fin(S)], false)]
#[case::after_much_data(&[app(C, 120), app(C, 120), app(C, 120), Record(S, 21, 26, [9, 9]), Fin(S)], false)]
fn an_alert_instead_of_an_answer_is_told(#[case] end: &[Step], #[case] told: bool) {
    let judgement = judged(false, &[&handshaken(false, end)]);
    let is_told = matches!(&judgement, Judgement::Failed(it) if it.cause == Cause::DecryptError);
    assert_eq!(is_told, told, "{judgement:?}");
    if let (true, Judgement::Failed(verdict)) = (told, judgement) {
        assert!(verdict.confidence < 0.75, "{}", verdict.confidence);
    }
}

/// Of a server that waited, of one whose records are not all there, and of a connection that went on long.
#[test]
fn an_alert_that_is_likely_a_farewell_is_not_told() {
    let end = [app(C, 120), Record(S, 21, 26, [9, 9]), Fin(S)];
    let timeline = timeline(false, &handshaken(false, &end));
    let is_told = |timeline: &Timeline| {
        let judgement = judge(timeline, &Knowledge::default());
        matches!(judgement, Judgement::Failed(it) if it.cause == Cause::DecryptError)
    };
    assert!(is_told(&timeline));
    let mut late = timeline.clone();
    late.records.last_mut().unwrap().at_us += 5_000_000;
    late.closes[0].time_ns += 5_000_000_000;
    assert!(!is_told(&late));
    let mut gap = timeline.clone();
    gap.sides[1].flags |= side_flags::GAP;
    assert!(!is_told(&gap));
    let mut settled = timeline;
    settled.settled = true;
    assert!(!is_told(&settled));
}
