//! Refusals of the certificate.

use super::*;
use crate::cause::judge::subject::Outcome;

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

/// Two verdicts on a connection share parts that are made once.
#[rstest]
#[case::tls12(false, &[alert(C, 48), Fin(C)])]
#[case::tls13(true, &[CLIENT_CCS, app(C, 19), Fin(C)])]
fn the_verdict_if_it_was_intercepted_is_the_one_made_alone(
    #[case] tls13: bool,
    #[case] end: &[Step],
) {
    let flight: &[Step] = if tls13 { &FLIGHT_13 } else { &FLIGHT_12 };
    let timeline = timeline(tls13, &[flight, end].concat());
    let judged = judge_whole(&timeline, &Knowledge::default());
    let known = super::super::recognized_later(&judged.subject.interception);
    let alone = super::super::judge(&seen_once(&timeline), known);
    let shared = judged.if_intercepted.unwrap();
    assert_eq!(shared.judgement, alone.judgement);
    assert_ne!(shared.judgement, judged.judgement);
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
    let timeline = timeline(tls13, &handshaken(tls13, end));
    let known = verdict(judge(&timeline, &intercepted()));
    assert_eq!(known.cause, Cause::CertificateRejected, "{known:?}");
    assert!(known.confidence < 0.9, "{known:?}");
    if let Judgement::Failed(unknown) = judge(&timeline, &Knowledge::default()) {
        assert!(unknown.confidence < 0.7, "{unknown:?}");
    }
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

/// A refusal comes at once; a connection kept for later use that never came was fine.
#[test]
fn a_connection_left_idle_refuses_nothing() {
    let end = [CLIENT_CCS, app(C, 53), Fin(C), Fin(S)];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &end].concat());
    for close in &mut timeline.closes {
        close.time_ns += 5_000_000_000;
    }
    assert_eq!(judge(&timeline, &intercepted()), Judgement::Unused);
}

/// The missing bytes may be those that the client sent.
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

/// A health check: the handshake, close_notify, FIN.
#[rstest]
#[case::tls13(true, &[CLIENT_CCS, app(C, 53), app(C, 19), Fin(C), Fin(S)])]
#[case::tls12(false, &[Record(C, 21, 26, [0; 2]), Fin(C), Fin(S)])]
fn a_lone_check_is_no_failure_and_may_still_prove_a_refusal(
    #[case] tls13: bool,
    #[case] end: &[Step],
) {
    let connection = Connection {
        client_leg: Box::new(timeline(tls13, &handshaken(tls13, end))),
        server_leg: None,
        goes_on: false,
        newly_complete: true,
    };
    let interception = Interceptors::default().record(&connection, &Knowledge::default());
    let judged = super::super::judge(&connection, interception);
    assert_eq!(judged.judgement, Judgement::Unused);
    let possible = judged.possible.unwrap();
    let mut evidence = possible.evidence.iter();
    assert!(
        evidence.any(|it| it.name == "unused-after-handshake"),
        "{possible:?}"
    );
    assert!(matches!(judged.subject.outcome, Outcome::Refused { .. }));
}

/// A reset in the middle is how a client gives up.
#[test]
fn a_client_that_gave_up_by_a_reset_refused_nothing() {
    let verdict = verdict(judged(true, &[&FLIGHT_13, &[Reset(C)]]));
    assert_eq!(verdict.cause, Cause::EndpointReset, "{verdict:?}");
}

/// OpenSSL answers a FIN within the handshake by a fatal decode_error.
#[test]
fn the_answer_to_a_silent_close_is_not_its_cause() {
    let end = [Fin(C), alert(S, 50), Reset(C)];
    let verdict = verdict(judged(false, &[&FLIGHT_12, &end]));
    assert_eq!(verdict.cause, Cause::CertificateRejected, "{verdict:?}");
    assert_eq!(verdict.ended_by, Party::Client);
}

/// The segments after a warning decide, not its level.
#[test]
fn a_warning_that_ends_the_connection_is_a_refusal() {
    let warning = Record(C, 21, 2, [1, 48]);
    let refused = verdict(judged(false, &[&FLIGHT_12, &[warning, Fin(C), Fin(S)]]));
    assert_eq!(refused.cause, Cause::CertificateRejected, "{refused:?}");
    let used = [
        &[warning],
        &FINISHED_12[..],
        &[app(C, 300), app(S, 4000), Fin(C)],
    ]
    .concat();
    assert_eq!(judged(false, &[&FLIGHT_12, &used]), Judgement::Established);
}

/// internal_error: a check of the application's own after the server's flight, OpenSSL's answer to an
/// old version, and a failure of any kind before.
#[rstest]
#[case::callback_tls12(false, &FLIGHT_12, 0x0303, Cause::CertificateRejected)]
#[case::callback_tls13(true, &FLIGHT_13, 0x0303, Cause::CertificateRejected)]
#[case::old_version(false, &FLIGHT_12, 0x0302, Cause::UnsupportedParameters)]
#[case::before_the_flight(true, &[HELLO, SERVER_HELLO], 0x0303, Cause::DecryptError)]
fn internal_error_goes_by_its_place(
    #[case] tls13: bool,
    #[case] flight: &[Step],
    #[case] version: u16,
    #[case] cause: Cause,
) {
    let mut timeline = timeline(tls13, &[flight, &[alert(C, 80), Fin(C)]].concat());
    let hello = timeline.handshake.server_hello.as_mut().unwrap();
    hello.legacy_version = version;
    hello.complete = true;
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, cause, "{verdict:?}");
}

/// Early data that the server did not take is no use; taken, it is.
#[test]
fn rejected_early_data_hides_no_refusal() {
    let early = [
        HELLO,
        CLIENT_CCS,
        app(C, 500),
        SERVER_HELLO,
        SERVER_CCS,
        app(S, 900),
        app(S, 53),
    ];
    let early_data = |end: &[Step], resumed: bool| {
        let mut timeline = timeline(true, &[&early[..], end].concat());
        let handshake = &mut timeline.handshake;
        handshake.client_hello.as_mut().unwrap().early_data = true;
        handshake.server_hello.as_mut().unwrap().pre_shared_key = resumed;
        judge(&timeline, &Knowledge::default())
    };
    let refused = verdict(early_data(&[app(C, 19), Fin(C), Fin(S)], false));
    assert_eq!(refused.cause, Cause::CertificateRejected, "{refused:?}");
    let taken = [app(C, 21), app(C, 53), app(S, 900), app(C, 19), Fin(C)];
    assert_eq!(early_data(&taken, true), Judgement::Established);
}

/// Mbed TLS 2.28 asks for small fragments and cannot read its own Certificate in them.
#[test]
fn a_certificate_in_fragments_is_a_matter_of_parameters() {
    let fragments = [
        HELLO,
        SERVER_HELLO,
        Record(S, 22, 512, [11, 0]),
        Record(S, 22, 227, [9, 9]),
    ];
    let mut timeline = timeline(false, &[&fragments[..], &[Fin(C), Reset(C)]].concat());
    let cause = |timeline: &Timeline| verdict(judge(timeline, &intercepted())).cause;
    assert_eq!(cause(&timeline), Cause::CertificateRejected);
    timeline
        .handshake
        .client_hello
        .as_mut()
        .unwrap()
        .extensions
        .push(1);
    assert_eq!(cause(&timeline), Cause::UnsupportedParameters);
}

/// s2n-tls: half a minute of silence, a plaintext warning close_notify, FIN.
#[rstest]
#[case::tls12(false, &FLIGHT_12)]
#[case::tls13(true, &FLIGHT_13)]
fn a_delayed_farewell_is_weak_evidence_of_a_refusal(#[case] tls13: bool, #[case] flight: &[Step]) {
    let steps = [flight, &[Record(C, 21, 2, [1, 0]), Fin(C), Fin(S)]].concat();
    let mut timeline = timeline(tls13, &steps);
    timeline.records.last_mut().unwrap().at_us += 14_000_000;
    for close in &mut timeline.closes {
        close.time_ns += 14_000_000_000;
    }
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::CertificateRejected, "{verdict:?}");
    assert!(verdict.confidence < 0.7);
    assert_eq!(verdict.evidence[0].name, "blinded-refusal");
}

#[test]
fn an_unassigned_alert_is_told() {
    let verdict = verdict(judged(false, &[&FLIGHT_12, &[alert(S, 200), Fin(S)]]));
    assert_eq!(
        (verdict.cause, verdict.ended_by),
        (Cause::Abandoned, Party::Server)
    );
    assert_eq!(verdict.evidence[0].name, "unassigned-alert");
}

/// libldap takes leave of a StartTLS that it does not like by an Unbind in the clear.
#[rstest]
#[case::tls12(false, handshaken(false, &[Fin(C), Fin(S)]), Some(Cause::CertificateRejected))]
#[case::tls13(true, handshaken(true, &[CLIENT_CCS, app(C, 69), Fin(C), Fin(S)]), Some(Cause::CertificateRejected))]
#[case::before_its_finished(true, handshaken(true, &[Fin(C), Fin(S)]), Some(Cause::CertificateRejected))]
#[case::after_use(true, handshaken(true, &[app(C, 53), app(C, 90), app(S, 40), app(S, 40), Fin(C)]), None)]
fn a_client_may_leave_tls_for_plaintext(
    #[case] tls13: bool,
    #[case] steps: Vec<Step>,
    #[case] expected: Option<Cause>,
) {
    let mut timeline = timeline(tls13, &steps);
    timeline.sides[0].flags |= side_flags::GAP | side_flags::NOT_TLS;
    match (judge(&timeline, &Knowledge::default()), expected) {
        (Judgement::Failed(verdict), Some(cause)) => {
            assert_eq!(verdict.cause, cause);
            assert_eq!(verdict.evidence[0].name, "left-tls");
        }
        (Judgement::Failed(verdict), None) => panic!("{verdict:?}"),
        (other, expected) => assert_eq!(expected, None, "{other:?}"),
    }
}

/// A client that leaves a certificate for another name at once may have looked at it; one that waited looked
/// for something else.
#[test]
fn a_late_farewell_is_no_answer_to_another_name() {
    let end = [Record(C, 21, 26, [0; 2]), Fin(C), Fin(S)];
    let mut timeline = timeline(false, &handshaken(false, &end));
    let leaf = Leaf {
        subject: "CN=other.test".to_owned(),
        dns_names: vec!["other.test".to_owned()],
        not_after: i64::MAX,
        ..Leaf::default()
    };
    timeline.handshake.certificate = Some(Ok(leaf.into()));
    let direct = Knowledge {
        intercepted: InterceptedWhen::Never,
        ..Knowledge::default()
    };
    let at_once = verdict(judge(&timeline, &direct));
    assert_eq!(at_once.cause, Cause::ServerCertInvalid, "{at_once:?}");
    timeline.records.last_mut().unwrap().at_us += 800_000;
    for close in &mut timeline.closes {
        close.time_ns += 800_000_000;
    }
    assert_eq!(judge(&timeline, &direct), Judgement::Unused);
}
