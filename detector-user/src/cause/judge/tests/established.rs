//! Connections that worked, and captures that do not show it.

use super::*;
use crate::cause::judge::subject::Outcome;

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

#[rstest]
#[case::request_and_answer(true, &[CLIENT_CCS, app(C, 53), app(C, 300), app(S, 250), app(S, 4000), Fin(C), Fin(S)])]
#[case::reset_after_a_complete_answer(true, &[CLIENT_CCS, app(C, 53), app(C, 300), app(S, 4000), Reset(C)])]
#[case::closed_by_notify(true, &[app(C, 53), app(C, 90), app(S, 900), app(C, 19), app(S, 19), Fin(C), Fin(S), Reset(C)])]
#[case::tls12(false, &[app(C, 300), app(S, 4000), Record(S, 21, 26, [0; 2]), Fin(S), Fin(C)])]
fn what_worked_is_no_failure(#[case] tls13: bool, #[case] end: &[Step]) {
    let timeline = timeline(tls13, &handshaken(tls13, end));
    assert_eq!(
        judge(&timeline, &Knowledge::default()),
        Judgement::Established
    );
    // Not even where every connection is intercepted.
    assert_eq!(judge(&timeline, &intercepted()), Judgement::Established);
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

/// Chromium's EncryptedExtensions and Finished in one record, towards a server that speaks ALPS.
#[rstest]
#[case::old(17_513)]
#[case::new(17_613)]
fn the_clients_settings_before_its_finished_are_no_certificate(#[case] alps: u16) {
    let end = [
        CLIENT_CCS,
        app(C, 63),
        app(S, 570),
        app(C, 92),
        app(S, 120),
        app(C, 19),
        Fin(C),
    ];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &end].concat());
    let hello = timeline.handshake.client_hello.as_mut().unwrap();
    hello.extensions.push(alps);
    let judged = judge(&timeline, &Knowledge::default());
    assert_eq!(judged, Judgement::Established, "{judged:?}");
}

/// A word sent together with the farewell waits for no answer, and the tickets that come behind it are none.
#[rstest]
#[case::word_and_farewell(&[app(C, 31), app(C, 19), Fin(C), app(S, 250), Reset(C)], Judgement::Unused)]
#[case::word_and_fin(&[app(C, 31), Fin(C), app(S, 250), Reset(C)], Judgement::Unused)]
#[case::message(&[app(C, 181), app(C, 19), Fin(C), app(S, 250), Reset(C)], Judgement::Established)]
#[case::two_words(&[app(C, 31), app(C, 31), Fin(C), app(S, 250), Reset(C)], Judgement::Established)]
#[case::answer_before(&[app(C, 31), app(S, 250), app(C, 19), Fin(C)], Judgement::Established)]
fn a_parting_word_is_no_use(#[case] end: &[Step], #[case] expected: Judgement) {
    let end = [&[CLIENT_CCS, app(C, 53)], end].concat();
    assert_eq!(judged(true, &[&FLIGHT_13, &end]), expected);
}

/// A program that checks the certificate behind the handshake may send its request and close without waiting
/// for the answer: it worked as far as one sees, and proves nothing about the certificate.
#[rstest]
#[case::answered_by_reset(&[app(C, 181), app(C, 19), Fin(C), app(S, 250), Reset(C)], Outcome::Nothing)]
#[case::half_closed(&[app(C, 181), app(C, 19), Fin(C), app(S, 250), Fin(S)], Outcome::Accepted)]
#[case::answer_read(&[app(C, 181), app(S, 250), app(C, 19), Fin(C), Reset(C)], Outcome::Accepted)]
fn a_request_whose_answer_is_not_waited_for_is_no_acceptance(
    #[case] end: &[Step],
    #[case] expected: Outcome,
) {
    let end = [&[CLIENT_CCS, app(C, 53)], end].concat();
    let timeline = timeline(true, &[&FLIGHT_13[..], &end].concat());
    let judged = judge_whole(&timeline, &Knowledge::default());
    assert_eq!(judged.judgement, Judgement::Established);
    assert_eq!(judged.subject.outcome, expected);
}

/// Python closes so: tickets that were never read make it a reset.
#[test]
fn a_spare_connection_that_is_reset_long_after_is_unused() {
    let end = [CLIENT_CCS, app(C, 53), app(S, 250), app(S, 250), Reset(C)];
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &end].concat());
    timeline.closes[0].time_ns += 6_000_000_000;
    timeline.last_ns = timeline.closes[0].time_ns;
    for knowledge in [Knowledge::default(), intercepted()] {
        assert_eq!(judge(&timeline, &knowledge), Judgement::Unused);
    }
}
