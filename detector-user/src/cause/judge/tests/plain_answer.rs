//! Servers that answer a ClientHello in another protocol.

use super::*;
use crate::flow::tls::plain_answer::PlainAnswer;

fn answered(bytes: &[u8], steps: &[Step]) -> Timeline {
    let mut timeline = timeline(false, steps);
    let hello = timeline.handshake.client_hello.as_mut().unwrap();
    hello.complete = true;
    timeline.handshake.server_hello = None;
    timeline.handshake.plain_answer = PlainAnswer::read(bytes).map(Box::new);
    timeline.sides[1].flags |= side_flags::STARTED;
    timeline
}

/// OpenSSL answers it with protocol_version, which is its consequence.
#[rstest]
#[case::the_server_closes(&[HELLO, Fin(S), Fin(C)])]
#[case::the_client_says_so(&[HELLO, alert(C, 70), Fin(C)])]
#[case::the_client_resets(&[HELLO, Fin(S), Reset(C)])]
#[case::nobody_closes(&[HELLO])]
fn a_plaintext_answer_is_the_cause(#[case] steps: &[Step]) {
    let timeline = answered(
        b"HTTP/1.1 302 Found\r\nLocation: http://block.test/\r\n\r\n",
        steps,
    );
    let verdict = verdict(judge(&timeline, &Knowledge::default()));
    assert_eq!(verdict.cause, Cause::NotTlsAnswer);
    assert!(verdict.confidence > 0.95, "{verdict:?}");
    let [first, ..] = verdict.evidence.as_slice() else {
        panic!("no evidence")
    };
    assert_eq!(first.name, "plaintext-answer");
    assert!(verdict.evidence.iter().all(|it| it.name != "gap"));
    assert!(
        first
            .detail
            .contains("302 with Location http://block.test/")
    );
}

/// A few bytes may look like a hello's beginning.
#[test]
fn bytes_that_only_resemble_a_hello_are_no_tls() {
    let mut timeline = answered(b"whatever", &[HELLO, Fin(S), Fin(C)]);
    timeline.handshake.client_hello.as_mut().unwrap().complete = false;
    let judgement = judge(&timeline, &Knowledge::default());
    assert_eq!(judgement, Judgement::Unfinished);
}
