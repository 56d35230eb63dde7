//! Clients whose ECH was refused, as Go 1.27 shows it.

use super::*;
use crate::cause::judge::judge as judge_connection;
use crate::cause::judge::subject::Outcome;
use crate::flow::tls::client_hello::EchOffer;

const AFTER: [Step; 4] = [CLIENT_CCS, app(C, 53), app(C, 19), Fin(C)];
/// The same, of a client that was asked for a certificate and has none.
const EMPTY_CERTIFICATE: [Step; 5] = [CLIENT_CCS, app(C, 25), app(C, 53), app(C, 19), Fin(C)];

fn judged_with(offer: Option<EchOffer>, end: &[Step]) -> crate::cause::judge::Judged {
    let mut timeline = timeline(true, &[&FLIGHT_13[..], end].concat());
    timeline.handshake.client_hello.as_mut().unwrap().ech = offer;
    let connection = Connection {
        client_leg: Box::new(timeline),
        server_leg: None,
        goes_on: false,
        newly_complete: true,
    };
    let interception = Interceptors::default().record(&connection, &intercepted());
    judge_connection(&connection, interception)
}

const OFFER: Option<EchOffer> = Some(EchOffer {
    config_id: 7,
    payload_len: 190,
});

#[rstest]
#[case::without_certificate(&AFTER)]
#[case::empty_certificate(&EMPTY_CERTIFICATE)]
fn an_alert_behind_the_finished_may_be_refused_ech(#[case] end: &[Step]) {
    let judged = judged_with(OFFER, end);
    assert_eq!(judged.judgement, Judgement::Unused);
    assert_eq!(judged.subject.outcome, Outcome::Nothing);
    let readings = judged.ech_refused.unwrap();
    assert_eq!(readings.verdict.cause, Cause::EchRefused);
    // With GREASE it is a check after the handshake.
    let outcome = readings.if_grease.subject.outcome;
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
}

#[rstest]
#[case::no_offer(None, &AFTER)]
#[case::refused_the_certificate(OFFER, &[CLIENT_CCS, app(C, 19), Fin(C)])]
#[case::used(OFFER, &[CLIENT_CCS, app(C, 53), app(C, 190), app(S, 500), app(C, 19), Fin(C)])]
#[case::without_an_alert(OFFER, &[CLIENT_CCS, app(C, 53), Fin(C)])]
fn other_ends_say_nothing_of_ech(#[case] offer: Option<EchOffer>, #[case] end: &[Step]) {
    assert!(judged_with(offer, end).ech_refused.is_none());
}
