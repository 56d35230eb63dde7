//! Explicit proxies.

use super::*;
use crate::flow::preamble::{Preamble, Refusal, Target};

fn asked(mut timeline: Timeline, preamble: Preamble) -> Verdict {
    if let Some(hello) = &mut timeline.handshake.client_hello {
        hello.server_name = None;
    }
    timeline.preamble = Some(Arc::new(Preamble {
        target: Target::new("api.test", 443),
        ..preamble
    }));
    verdict(judge(&timeline, &Knowledge::default()))
}

#[test]
fn a_refusal_by_a_proxy_is_told_with_its_target() {
    let mut timeline = timeline(false, &[]);
    timeline.handshake = Handshake::default();
    timeline.sides = Default::default();
    let refusal = Some(Refusal::Http(403));
    let verdict = asked(
        timeline,
        Preamble {
            refusal,
            ..Preamble::default()
        },
    );
    assert_eq!(verdict.cause, Cause::ProxyRefused);
    assert_eq!(verdict.target.as_deref(), Some("api.test:443"));
    assert_eq!(verdict.ended_by, Party::Server);
    assert!(verdict.evidence[0].detail.contains("403 (Forbidden)"));
    // No ClientHello follows a refusal: none was missed.
    assert!(verdict.evidence.iter().all(|it| it.name != "hello-missed"));
    assert!(verdict.advice.unwrap().contains("api.test"));
}

#[test]
fn advice_names_the_target_and_not_the_proxy() {
    let timeline = timeline(false, &[&FLIGHT_12[..], &[alert(C, 48), Fin(C)]].concat());
    let server = timeline.server.ip().to_string();
    let verdict = asked(timeline, Preamble::default());
    assert_eq!(verdict.cause, Cause::CertificateRejected);
    let advice = verdict.advice.unwrap();
    assert!(
        advice.contains("api.test") && !advice.contains(&server),
        "{advice}"
    );
}

#[test]
fn a_proxy_that_closes_before_the_hello_did_not_refuse_its_client() {
    let closed = Preamble {
        closed_before_hello: true,
        ..Preamble::default()
    };
    let verdict = asked(timeline(false, &[HELLO, Reset(S)]), closed);
    assert_eq!(verdict.cause, Cause::Abandoned);
    assert_eq!(verdict.evidence[0].name, "proxy-closed");
}
