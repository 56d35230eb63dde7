//! Refusals of the certificate.

use super::*;

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
