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
