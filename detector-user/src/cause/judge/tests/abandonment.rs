//! Connections that a side closed without giving a reason.

use super::*;

/// FIN before the server's flight came: nothing was there to be refused.
#[test]
fn who_left_before_the_certificate_came_did_not_refuse_it() {
    let steps = [HELLO, Fin(C), SERVER_HELLO, app(S, 1626), Reset(C)];
    assert_eq!(verdict(judged(true, &[&steps])).cause, Cause::Abandoned);
}

#[test]
fn a_hello_that_nobody_acknowledged_was_not_reset_by_its_client() {
    let mut timeline = timeline(true, &[HELLO, Reset(C)]);
    timeline.sides[1] = Side::default();
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::Abandoned);
    assert!(
        verdict.evidence[0].detail.contains("nobody acknowledged"),
        "{verdict:?}"
    );
}
