//! Connections that an interceptor or a proxy opens for others.

use super::*;
use crate::flow::legs::Passage;

/// The origin refuses nothing, and has a certificate that the proxy does not accept.
#[rstest]
#[case::named(true, false, "interceptor-address")]
#[case::learned(false, true, "proxy-address")]
fn what_a_proxy_refuses_is_the_origins_certificate(
    #[case] named: bool,
    #[case] learned: bool,
    #[case] evidence: &str,
) {
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &[alert(C, 48), Fin(C)]].concat());
    timeline.client_is_proxy = learned;
    let mut knowledge = intercepted();
    knowledge
        .interceptors
        .extend(named.then_some(timeline.client.ip()));
    let verdict = verdict(judge(&timeline, &knowledge));
    assert_eq!(verdict.cause, Cause::ServerCertInvalid);
    assert_eq!(verdict.intercepted, crate::verdict::Intercepted::No);
    assert!(verdict.evidence.iter().any(|it| it.name == evidence));
    let advice = verdict.advice.unwrap();
    assert!(
        !advice.contains("exclude") && advice.contains("on the proxy"),
        "{advice}"
    );
}

/// A connection that the proxy leaves unused is none that an app refused.
#[test]
fn a_proxy_may_leave_a_connection_unused() {
    let mut timeline = timeline(true, &handshaken(true, &[app(C, 53), app(C, 19), Fin(C)]));
    timeline.client_is_proxy = true;
    assert_eq!(judge(&timeline, &Knowledge::default()), Judgement::Unused);
}

/// Judges a served client's connection and the leg behind the interceptor, which begins a millisecond later.
fn both(client: &[Step], server: &[Step]) -> Judgement {
    let mut server_leg = timeline(true, server).moved_by(1_000_000);
    server_leg.client = ([192, 0, 2, 1], 50_000).into();
    let connection = Connection {
        client_leg: Box::new(timeline(true, client)),
        server_leg: Some((Passage::Intercepted, Box::new(server_leg))),
        goes_on: false,
        newly_complete: true,
    };
    let interception = Interceptors::default().record(&connection, &Knowledge::default());
    crate::cause::judge::judge(&connection, interception).judgement
}

/// A client that asks, and is answered inside TLS at 26 ms, after its interceptor's own end.
fn served_late() -> Vec<Step> {
    let mut steps = handshaken(true, &[app(C, 53), app(C, 120)]);
    // Each step takes a millisecond.
    steps.extend([CLIENT_CCS; 14]);
    steps.extend([app(S, 900), app(S, 300), app(C, 19), Fin(C), Fin(S)]);
    steps
}

#[rstest]
#[case::refused_in_the_clear(&[alert(C, 48), Fin(C)], Cause::ServerCertInvalid)]
#[case::left_unasked(&[app(C, 53), Fin(C)], Cause::ServerCertInvalid)]
#[case::reset_by_the_origin(&[Reset(S)], Cause::EndpointReset)]
fn the_waiting_client_is_named(#[case] end: &[Step], #[case] cause: Cause) {
    let server = [&FLIGHT_13[..], end].concat();
    let verdict = verdict(both(&served_late(), &server));
    assert_eq!(verdict.cause, cause);
    assert_eq!(verdict.client.ip.to_string(), "10.0.1.2");
    let leg = verdict.server_leg.unwrap();
    assert_eq!(leg.client.ip.to_string(), "192.0.2.1");
}

/// mitmproxy answers 502 before it closes a connection whose certificate it does not accept; session tickets
/// had come before.
#[test]
fn an_answer_without_a_handshake_behind_is_the_interceptors() {
    let server = [&FLIGHT_13[..], &[CLIENT_CCS; 30], &[Fin(C), Fin(S)]].concat();
    let mut client = handshaken(true, &[app(C, 53), app(S, 250), app(S, 250), app(C, 120)]);
    client.extend([app(S, 225), app(C, 19), Fin(C), Fin(S)]);
    let verdict = verdict(both(&client, &server));
    assert_eq!(verdict.cause, Cause::ServerCertInvalid);
    assert_eq!(verdict.ended_by, Party::Gateway);
}

/// The interceptor keeps its connection until its client is answered: then nothing broke.
#[rstest]
#[case::closed_after_the_answer(&[app(C, 53), app(C, 120), app(S, 900), app(S, 30), app(C, 19), Fin(C), Fin(S)])]
#[case::reset_after_use(&[app(C, 53), app(C, 120), app(S, 900), app(S, 30), Reset(S)])]
fn a_served_client_was_served(#[case] end: &[Step]) {
    let server = [&FLIGHT_13[..], end].concat();
    assert_eq!(both(&served_late(), &server), Judgement::Established);
}
