//! Clients that lack a certificate.

use super::*;

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

/// A wrong pre-shared key: refused in TLS 1.3 upon the hello that proves it, before that upon the first
/// record under it.
#[rstest]
#[case::tls13(true, &[HELLO, alert(S, 47), Fin(S)], true, None)]
#[case::tls12(false, &[HELLO, SERVER_HELLO, Record(C, 22, 7, [16, 0]), CLIENT_CCS, Record(C, 22, 40, [1, 2]), alert(S, 20), Fin(S)], false, Some(0x00a8))]
fn a_wrong_key_is_the_clients(
    #[case] tls13: bool,
    #[case] steps: &[Step],
    #[case] offered: bool,
    #[case] suite: Option<u16>,
) {
    let mut timeline = timeline(tls13, steps);
    let handshake = &mut timeline.handshake;
    handshake.client_hello.as_mut().unwrap().pre_shared_key = offered;
    if let Some((hello, suite)) = handshake.server_hello.as_mut().zip(suite) {
        hello.cipher_suite = suite;
    }
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::ClientAuth, "{verdict:?}");
    assert_eq!(verdict.evidence[0].name, "pre-shared-key");
}

/// Many servers ask for a certificate and go on without one.
#[test]
fn a_server_that_merely_asked_refused_nobody() {
    let steps = handshaken(false, &[Record(C, 21, 26, [0; 2]), Fin(C), Fin(S)]);
    let mut timeline = timeline(false, &steps);
    timeline.handshake.certificate_request = true;
    timeline.handshake.client_certificates = Some(0);
    assert_eq!(judge(&timeline, &Knowledge::default()), Judgement::Unused);
}
