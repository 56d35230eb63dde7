//! Connections of which one direction, or the beginning, was not seen.

use super::*;
use crate::cause::judge::facts::Facts;

/// The client's part of a flight that it refuses.
fn client_only(end: &[Step]) -> Timeline {
    let mut timeline = timeline(false, &[&[HELLO], end].concat());
    timeline.sides[S as usize] = Side::default();
    timeline
}

/// The end of a handshake whose beginning was missed.
fn late(steps: &[Step]) -> Timeline {
    let mut timeline = timeline(false, steps);
    timeline.handshake.client_hello = None;
    timeline
}

fn evidence(verdict: &Verdict) -> Vec<&str> {
    verdict.evidence.iter().map(|it| it.name.as_str()).collect()
}

#[test]
fn an_alert_is_judged_though_only_its_direction_was_seen() {
    let whole = judge(
        &timeline(false, &[&FLIGHT_12[..], &[alert(C, 48)]].concat()),
        &Knowledge::default(),
    );
    let whole = verdict(whole);
    let half = verdict(judge(&client_only(&[alert(C, 48)]), &Knowledge::default()));
    assert_eq!(half.cause, Cause::CertificateRejected);
    assert_eq!(half.ended_by, Party::Client);
    assert!(half.confidence < whole.confidence);
    assert!(evidence(&half).contains(&"one-direction"));
    assert!(!evidence(&whole).contains(&"one-direction"));
}

#[rstest]
#[case::closed(&[Fin(C)])]
#[case::reset(&[Record(C, 22, 37, [16, 0]), Reset(C)])]
#[case::close_notify(&[CLIENT_CCS, alert(C, 0), Fin(C)])]
#[case::answered_unseen(&[CLIENT_CCS, app(C, 53), app(C, 300), Fin(C)])]
fn without_an_alert_one_direction_says_nothing(#[case] end: &[Step]) {
    let mut timeline = client_only(end);
    // It acknowledged a server whose segments are missing.
    timeline.records.push(TimelineRecord {
        sender: C,
        at_us: 9000,
        content_type: 23,
        version_minor: 3,
        length: 40,
        detail: [0; 2],
        flags: 0,
    });
    let judgement = judge(&timeline, &Knowledge::default());
    assert_eq!(judgement, Judgement::Unfinished);
}

#[test]
fn an_alert_is_judged_though_the_hello_was_missed() {
    let [_, rest @ ..] = &FLIGHT_12;
    let steps = [&rest[..], &[alert(C, 48), Fin(C)]].concat();
    let verdict = verdict(judge(&late(&steps), &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::CertificateRejected);
    assert_eq!(
        (verdict.sni.as_deref(), verdict.ja4.as_deref()),
        (None, None)
    );
    assert!(evidence(&verdict).contains(&"hello-missed"));
}

#[rstest]
#[case::reset(&[Reset(S)])]
#[case::injected(&[OddReset(S)])]
#[case::closed(&[Fin(C)])]
fn without_an_alert_a_missed_beginning_says_nothing(#[case] end: &[Step]) {
    let [_, rest @ ..] = &FLIGHT_12;
    let judgement = judge(&late(&[&rest[..], end].concat()), &Knowledge::default());
    assert_eq!(judgement, Judgement::Unfinished);
}

/// The data of a settled flow are not looked at: what is not known of them is not missing.
#[rstest]
#[case::settled(true)]
#[case::watched(false)]
fn a_settled_flow_misses_nothing(#[case] settled: bool) {
    let end = [app(C, 300), app(S, 4000), Fin(C)];
    let mut timeline = timeline(false, &handshaken(false, &end));
    timeline.settled = settled;
    for side in &mut timeline.sides {
        side.flags |= side_flags::GAP;
    }
    assert_eq!(Facts::of(&timeline, None).gaps, !settled);
}
