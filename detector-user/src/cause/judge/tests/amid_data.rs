//! Encrypted alerts of connections in use: farewells, and those that can hardly be one.

use detector_common::flow::record_flags;

use super::*;
use crate::cause::judge::hang_up::{Endings, with_ending};

/// An encrypted alert, of TLS 1.2 by its type.
const fn encrypted(sender: Sender) -> Step {
    Record(sender, 21, 26, [9, 9])
}

/// A connection in which one request was answered, and this follows.
fn in_use(tls13: bool, end: &[Step]) -> Timeline {
    let second_flight: &[Step] = if tls13 {
        &[CLIENT_CCS, app(C, 53)]
    } else {
        &[]
    };
    let answered = [app(C, 300), app(S, 4000)];
    let steps = [second_flight, &answered, end].concat();
    let mut timeline = timeline(tls13, &handshaken(tls13, &steps));
    let sent = timeline.records_of(C).map(|it| 5 + u32::from(it.length));
    let sent = sent.sum();
    timeline.sides[0].next_seq = sent;
    timeline.alert_acknowledges = [None, Some(sent)];
    timeline
}

/// Whether it failed for a record that could not be read; otherwise it worked.
fn is_told(timeline: &Timeline) -> bool {
    match judge(timeline, &Knowledge::default()) {
        Judgement::Failed(verdict) => {
            assert_eq!(verdict.cause, Cause::DecryptError, "{verdict:?}");
            assert_eq!(verdict.evidence[0].name, "alert-amid-data");
            assert!(verdict.alert.unwrap().encrypted);
            true
        }
        Judgement::Established => false,
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::a_request(false, &[app(C, 900), encrypted(S), Fin(S), Fin(C)], true)]
#[case::a_request_and_reset(false, &[app(C, 900), encrypted(S), Reset(S)], true)]
#[case::tls13(true, &[app(C, 900), app(S, 19), Fin(S), Fin(C)], true)]
#[case::answered(false, &[app(C, 900), app(S, 200), encrypted(S), Fin(S), Fin(C)], false)]
#[case::nothing(false, &[encrypted(S), Fin(S), Fin(C)], false)]
#[case::a_farewell_of_the_protocol(false, &[app(C, 40), encrypted(S), Fin(S), Fin(C)], false)]
#[case::a_farewell_behind_a_message(false, &[app(C, 900), app(C, 40), encrypted(S), Fin(S), Fin(C)], false)]
#[case::by_a_message_and_an_alert_tls13(true, &[app(C, 900), app(S, 19), app(S, 19), Fin(S), Fin(C)], false)]
#[case::of_a_client_that_left(false, &[app(C, 900), encrypted(C), Fin(C), encrypted(S), Fin(S)], false)]
#[case::of_a_client_that_left_tls13(true, &[app(C, 900), app(C, 19), Fin(C), app(S, 19), Fin(S)], false)]
#[case::a_short_request(false, &[app(C, 100), encrypted(S), Fin(S), Fin(C)], false)]
#[case::answered_by_a_farewell(false, &[app(C, 900), encrypted(S), encrypted(C), Fin(S), Fin(C)], true)]
#[case::of_a_client_that_left_without_alert(false, &[app(C, 900), Fin(C), encrypted(S), Fin(S)], false)]
#[case::of_a_server_that_stays(false, &[app(C, 900), encrypted(S), Fin(C)], false)]
#[case::a_warning(false, &[encrypted(S), app(C, 900), app(S, 900), Fin(S), Fin(C)], false)]
fn a_servers_alert_upon_a_request_is_told(
    #[case] tls13: bool,
    #[case] end: &[Step],
    #[case] told: bool,
) {
    assert_eq!(is_told(&in_use(tls13, end)), told);
}

/// The server had not received the request, or took leave after a wait, or bytes were not seen.
#[test]
fn a_servers_alert_that_may_be_a_farewell_is_none() {
    let end = [app(C, 900), encrypted(S), Fin(S), Fin(C)];
    let mut crossed = in_use(false, &end);
    crossed.alert_acknowledges[1] = crossed.alert_acknowledges[1].map(|all| all - 1);
    assert!(!is_told(&crossed));
    let mut late = in_use(false, &end);
    let [.., alert] = &mut late.records[..] else {
        panic!("no records");
    };
    alert.at_us += 5_000_000;
    for close in &mut late.closes {
        close.time_ns += 5_000_000_000;
    }
    assert!(!is_told(&late));
    for side in [0, 1] {
        let mut gap = in_use(false, &end);
        gap.sides[side].flags |= side_flags::GAP;
        assert!(!is_told(&gap));
    }
    let mut hole = in_use(false, &end);
    let request = hole.records.iter_mut().rev().nth(1).unwrap();
    request.flags |= record_flags::AFTER_GAP;
    assert!(!is_told(&hole));
}

/// Where the alert's own segment is not known, the close tells how much the server had received.
#[test]
fn the_close_acknowledges_the_request() {
    let end = |close| [app(C, 900), encrypted(S), close, Fin(C)];
    let mut with_ack = in_use(false, &end(Fin(S)));
    let sent = with_ack.alert_acknowledges[1].take().unwrap();
    assert!(!is_told(&with_ack));
    with_ack.closes[0].measured.ack = sent;
    assert!(is_told(&with_ack));
    let mut bare = in_use(false, &end(BareReset(S)));
    bare.alert_acknowledges[1] = None;
    bare.closes[0].measured.ack = sent;
    assert!(!is_told(&bare));
    bare.sides[1].ack = sent;
    assert!(is_told(&bare));
}

/// A FIN takes a number and is no data that was still to come.
#[test]
fn a_clients_fin_is_no_data_under_way() {
    let mut timeline = in_use(false, &[app(C, 900), encrypted(S), Fin(S), Fin(C)]);
    timeline.sides[0].flags |= side_flags::FIN;
    timeline.sides[0].next_seq += 1;
    assert!(is_told(&timeline));
    timeline.sides[0].next_seq += 1;
    assert!(!is_told(&timeline));
}

/// A first request of TLS 1.3: the Finished is no question, and tickets are no answer to one.
#[test]
fn tickets_are_no_answer() {
    let end = [
        CLIENT_CCS,
        app(C, 53),
        app(S, 250),
        app(C, 900),
        app(S, 19),
        Fin(S),
        Fin(C),
    ];
    let mut timeline = timeline(true, &handshaken(true, &end));
    let sent = timeline.records_of(C).map(|it| 5 + u32::from(it.length));
    let sent = sent.sum();
    timeline.sides[0].next_seq = sent;
    timeline.alert_acknowledges = [None, Some(sent)];
    let judgement = judge(&timeline, &Knowledge::default());
    let is_told = |it: &Judgement| match it {
        Judgement::Failed(verdict) => verdict
            .evidence
            .iter()
            .any(|it| it.name == "alert-amid-data"),
        _ => false,
    };
    assert!(!is_told(&judgement), "{judgement:?}");
}

/// An upload of which the server took a part. A longer answer before may be one that refused it.
#[rstest]
#[case::upon_an_invitation(49, true)]
#[case::refused_before(400, false)]
fn a_servers_alert_amid_an_upload_is_told(#[case] answer: u16, #[case] told: bool) {
    let upload = [
        app(S, answer),
        app(C, 16_408),
        encrypted(S),
        app(C, 16_408),
        Reset(S),
    ];
    let mut timeline = in_use(false, &upload);
    timeline.alert_acknowledges[1] = timeline.alert_acknowledges[1].map(|all| all - 16_413);
    assert_eq!(is_told(&timeline), told);
}

/// Go sends close_notify behind its fatal alert. In TLS 1.3 a message of two bytes, as MQTT's DISCONNECT is,
/// looks like an alert, and JSSE sends user_canceled before its close_notify.
#[rstest]
#[case::go_tls12(false, &[encrypted(C), encrypted(C), Fin(C)], true)]
#[case::go_or_mqtt_tls13(true, &[app(C, 19), app(C, 19), Fin(C)], false)]
#[case::jsse_tls13(true, &[app(C, 35), app(C, 35), Fin(C)], false)]
#[case::one(false, &[encrypted(C), Fin(C)], false)]
#[case::no_renegotiation(false, &[Record(S, 22, 36, [9, 9]), encrypted(C), encrypted(C), Fin(C)], false)]
#[case::each_its_own(false, &[encrypted(S), Fin(S), encrypted(C), Fin(C)], false)]
fn two_alerts_in_a_row_are_no_farewell(
    #[case] tls13: bool,
    #[case] end: &[Step],
    #[case] told: bool,
) {
    let mut timeline = in_use(tls13, end);
    assert_eq!(is_told(&timeline), told);
    // A second one after a while is the farewell of a program that waited.
    timeline.records.last_mut().unwrap().at_us += 5_000_000;
    for close in &mut timeline.closes {
        close.time_ns += 5_000_000_000;
    }
    assert!(!is_told(&timeline));
}

/// A client that hangs up looks the same as one that could not read a record: only told on request.
#[rstest]
#[case::amid_a_record(900, Some(Cause::DecryptError))]
#[case::after_the_answer(0, None)]
fn a_clients_alert_amid_a_record_is_told_on_request(
    #[case] under_way: u32,
    #[case] cause: Option<Cause>,
) {
    let mut timeline = in_use(false, &[encrypted(C), Fin(C)]);
    for close in &mut timeline.closes {
        let server = &mut close.sides[1];
        server.flags |= side_flags::SYNCED;
        server.header_seq = server.next_seq + under_way;
    }
    let connection = Connection {
        client_leg: Box::new(timeline),
        server_leg: None,
        goes_on: false,
        newly_complete: true,
    };
    let told = |endings| {
        let interception = Interceptors::default().record(&connection, &Knowledge::default());
        let judged = crate::cause::judge::judge(&connection, interception);
        match with_ending(judged, &connection, endings).judgement {
            Judgement::Failed(verdict) => {
                assert!(verdict.confidence < 0.5, "{verdict:?}");
                Some(verdict.cause)
            }
            Judgement::Established => None,
            other => panic!("{other:?}"),
        }
    };
    let all = [Endings::Failures, Endings::Broken].map(told);
    assert_eq!(all, [None, cause]);
}
