//! ClientHellos of several segments that die on the way.

use super::*;

const LARGE: Step = Record(C, 22, 1800, [1, 0]);

/// A hello of 1805 bytes of which so many were acknowledged, after `waited_s` seconds.
fn unanswered(steps: &[Step], acknowledged: u32, waited_s: u64, smaller: Option<u32>) -> Judgement {
    let mut timeline = timeline(false, steps);
    timeline.handshake.server_hello = None;
    timeline.sides[1].ack = acknowledged;
    timeline.last_ns = timeline.started_ns + waited_s * 1_000_000_000;
    timeline.largest_answered = smaller;
    judge(&timeline, &Knowledge::default())
}

#[rstest]
#[case::the_second_segment_is_lost(&[LARGE, Fin(C)], 1448, Some(517), 0.85)]
#[case::without_a_smaller_one(&[LARGE, Fin(C)], 1448, None, 0.5)]
#[case::both_are_lost(&[LARGE, Fin(C)], 0, Some(517), 0.85)]
#[case::reset(&[LARGE, Reset(S)], 1805, Some(517), 0.6)]
fn a_large_hello_dies(
    #[case] steps: &[Step],
    #[case] acknowledged: u32,
    #[case] smaller: Option<u32>,
    #[case] least: f64,
) {
    let verdict = verdict(unanswered(steps, acknowledged, 5, smaller));
    assert_eq!(verdict.cause, Cause::HelloTooLarge, "{verdict:?}");
    assert!(verdict.confidence >= least, "{verdict:?}");
    assert_eq!(verdict.evidence[0].name, "hello-size");
    assert!(verdict.evidence[0].detail.contains("1805 bytes"));
}

#[rstest]
#[case::large_ones_were_answered(&[LARGE, Reset(S)], 1805, 5, Some(1805))]
#[case::it_is_small(&[HELLO, Reset(S)], 517, 5, Some(400))]
#[case::it_came_through(&[LARGE, Fin(C)], 1805, 5, Some(517))]
#[case::nothing_was_lost_yet(&[LARGE, Fin(C)], 1448, 0, Some(517))]
#[case::it_was_answered(&[LARGE, SERVER_HELLO, Reset(S)], 1448, 5, Some(517))]
fn other_ends_are_not_the_sizes_fault(
    #[case] steps: &[Step],
    #[case] acknowledged: u32,
    #[case] waited_s: u64,
    #[case] smaller: Option<u32>,
) {
    let judgement = unanswered(steps, acknowledged, waited_s, smaller);
    assert_ne!(verdict(judgement).cause, Cause::HelloTooLarge);
}
