//! Verdicts of an agent that is made up, on captures that are.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::agent::Verdict;
use super::super::goals::goals;
use super::super::judgement::{Judgement, Leniency};
use super::super::streams::{Stream, Streams};
use super::super::tally::Tally;
use super::{Case, Cases, judge, place};
use crate::labels::{Capture, Cause, Truth};

const SECOND: u64 = 1_000_000_000;

fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn server() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 443))
}

/// Connections by client port and when they began, in seconds; each lasts one.
fn streams(of: &[(u16, u64)]) -> Streams {
    let mut streams = Streams::default();
    for (port, begun) in of {
        streams.all.push(Stream {
            ends: (client(*port), server()),
            first_ns: begun * SECOND,
            last_ns: (begun + 1) * SECOND,
            was_reset: false,
        });
    }
    streams
}

fn truth(cause: Cause) -> Truth {
    Truth {
        cause,
        intercepted: Some("yes".to_owned()),
        ended_by: Some("client".to_owned()),
        note: None,
    }
}

fn capture(file: &str, cause: Cause, connections: &[(u64, Cause)]) -> Capture {
    Capture {
        file: file.to_owned(),
        path: PathBuf::from(file),
        truth: truth(cause),
        connections: connections.iter().map(|(n, c)| (*n, truth(*c))).collect(),
        client: None,
        interceptor: None,
        group: None,
        inspection_ca: None,
        damaged: false,
    }
}

fn said(tap: &str, port: u16, at: u64, cause: Cause, confidence: f64) -> Verdict {
    let line = format!(
        r#"{{"time":"1970-01-01T00:00:{at:02}Z","tap":"{tap}","community_id":"1:{port}",
        "client":{{"ip":"10.0.0.1","port":{port}}},"server":{{"ip":"10.0.0.2","port":443}},
        "sni":null,"cause":"{cause}","confidence":{confidence},"intercepted":"unknown",
        "ended_by":"client","evidence":[{{"name":"client-alert","detail":"d","weight":3.0}}],"revises":null}}"#
    );
    Verdict::parse(&line).unwrap()
}

fn judged(captures: &[(Capture, Streams)], verdicts: Vec<Verdict>, leniency: Leniency) -> Cases {
    let run: Vec<_> = captures
        .iter()
        .map(|(one, streams)| (one, streams))
        .collect();
    judge(&run, place(verdicts, &run), leniency)
}

fn one(truth: Cause, verdicts: Vec<Verdict>) -> Case {
    let captures = [(capture("a", truth, &[]), streams(&[(1, 1), (2, 1)]))];
    judged(&captures, verdicts, Leniency::LoneFlow)
        .cases
        .remove(0)
}

#[test]
fn a_success_that_is_called_a_failure_is_wrong_by_the_surest() {
    let case = one(
        Cause::Established,
        vec![
            said("a", 1, 1, Cause::Abandoned, 0.5),
            said("a", 2, 1, Cause::DecryptError, 0.9),
        ],
    );
    assert_eq!(case.judgement, Judgement::Wrong);
    assert_eq!(case.said, Cause::DecryptError);
    assert_eq!(case.extra.len(), 1);
    assert_eq!(one(Cause::Established, vec![]).judgement, Judgement::Right);
}

#[test]
fn a_failure_is_right_if_any_verdict_names_it_and_others_are_extra() {
    let case = one(
        Cause::ClientAuth,
        vec![
            said("a", 1, 1, Cause::Abandoned, 0.9),
            said("a", 2, 1, Cause::ClientAuth, 0.6),
        ],
    );
    assert_eq!(
        (case.said, case.judgement),
        (Cause::ClientAuth, Judgement::Right)
    );
    assert_eq!(case.extra[0].cause, Cause::Abandoned);
    let missed = one(Cause::ClientAuth, vec![]);
    assert_eq!(
        (missed.said, missed.judgement),
        (Cause::Established, Judgement::Wrong)
    );
}

#[test]
fn a_revision_replaces_the_verdict_it_names() {
    let mut later = said("a", 1, 1, Cause::Pinning, 0.9);
    later.revises = Some("1970-01-01T00:00:01Z 1:1".to_owned());
    let case = one(
        Cause::Pinning,
        vec![
            said("a", 1, 1, Cause::CertificateRejected, 0.9),
            later.clone(),
        ],
    );
    assert_eq!(case.judgement, Judgement::Right);
    assert_eq!((case.superseded.len(), case.verdicts.len()), (1, 1));

    // A name that is none falls back on the connection; another connection's verdict stays.
    later.revises = Some("0815".to_owned());
    let case = one(
        Cause::Pinning,
        vec![
            said("a", 1, 1, Cause::CertificateRejected, 0.9),
            said("a", 2, 1, Cause::CertificateRejected, 0.9),
            later,
        ],
    );
    assert_eq!((case.superseded.len(), case.verdicts.len()), (1, 2));
}

#[test]
fn a_verdict_is_about_the_connection_of_its_time() {
    let rows = [(0, Cause::Established), (1, Cause::Pinning)];
    let captures = [(
        capture("a", Cause::Pinning, &rows),
        streams(&[(1, 1), (1, 10), (3, 1)]),
    )];
    let verdicts = vec![
        said("a", 1, 11, Cause::Pinning, 0.9),
        said("a", 3, 2, Cause::Abandoned, 0.9),
    ];
    let cases = judged(&captures, verdicts, Leniency::LoneFlow);
    let judgements: Vec<_> = cases.cases.iter().map(|case| case.judgement).collect();
    assert_eq!(judgements, [Judgement::Right, Judgement::Right]);
    // The third has no label.
    assert_eq!(cases.unlabelled[0].stream, Some(2));
}

#[test]
fn a_verdict_is_about_the_capture_it_names_or_else_the_one_of_its_time() {
    let captures = [
        (capture("a", Cause::Established, &[]), streams(&[(1, 1)])),
        (capture("b", Cause::Pinning, &[]), streams(&[(1, 1)])),
        (capture("c", Cause::ClientAuth, &[]), streams(&[(1, 50)])),
    ];
    let verdicts = vec![
        said("b", 1, 2, Cause::Pinning, 0.9),
        said("eth0", 1, 51, Cause::ClientAuth, 0.9),
    ];
    let cases = judged(&captures, verdicts, Leniency::Group).cases;
    assert!(
        cases.iter().all(|case| case.judgement == Judgement::Right),
        "{cases:#?}"
    );
}

#[test]
fn a_group_has_to_tell_what_a_lone_flow_may_leave_open() {
    for (leniency, judgement) in [
        (Leniency::LoneFlow, Judgement::RightButOpen),
        (Leniency::Group, Judgement::Wrong),
    ] {
        let captures = [(capture("a", Cause::Pinning, &[]), streams(&[(1, 1)]))];
        let verdicts = vec![said("a", 1, 1, Cause::CertificateRejected, 0.9)];
        let cases = judged(&captures, verdicts, leniency).cases;
        assert_eq!(cases[0].judgement, judgement);
    }
}

#[test]
fn numbers_are_drawn_from_every_verdict() {
    let mut revised = said("a", 1, 1, Cause::Pinning, 0.85);
    let mut last = said("a", 1, 1, Cause::CaNotTrusted, 0.95);
    last.revises = Some("1970-01-01T00:00:01Z 1:1".to_owned());
    revised.intercepted = "yes".to_owned();
    let reset = |truth, cause| {
        let mut case = one(truth, vec![said("a", 1, 1, cause, 0.7)]);
        case.was_reset = true;
        case
    };
    let cases = [
        one(Cause::CaNotTrusted, vec![revised, last]),
        reset(Cause::InjectedReset, Cause::InjectedReset),
        reset(Cause::EndpointReset, Cause::InjectedReset),
        reset(Cause::EndpointReset, Cause::EndpointReset),
        one(Cause::Established, vec![]),
        one(
            Cause::Pinning,
            vec![said("a", 1, 1, Cause::CertificateRejected, 0.79)],
        ),
    ];
    let tally = Tally::of(&cases);
    assert_eq!((tally.right.part, tally.right.whole, tally.open), (5, 6, 1));
    // The wrong pinning was revised, but somebody may have acted on it.
    assert_eq!(tally.false_pinning.len(), 1);
    assert!(tally.false_pinning[0].superseded);
    assert_eq!(
        (tally.injected_told.part, tally.injected_told.whole),
        (1, 1)
    );
    assert_eq!(
        (tally.honest_injected.part, tally.honest_injected.whole),
        (1, 2)
    );
    assert_eq!(
        (tally.successes_failed.part, tally.successes_failed.whole),
        (0, 1)
    );
    let of_injected = tally.of_cause(Cause::InjectedReset).precision;
    assert_eq!((of_injected.part, of_injected.whole), (1, 2));
    let bins: Vec<_> = tally
        .calibration
        .iter()
        .map(|bin| (bin.right.part, bin.right.whole))
        .collect();
    // 0.79 is below 0.8, 0.7 is in the bin that begins there, 0.95 in the last.
    assert_eq!(bins, [(0, 0), (0, 0), (3, 4), (0, 0), (0, 0), (1, 1)]);
    assert_eq!((tally.intercepted.unknown, tally.ended_by.same), (5, 5));
}

#[test]
fn a_goal_that_no_case_shows_is_not_met() {
    let tally = Tally::of(&[one(
        Cause::Pinning,
        vec![said("a", 1, 1, Cause::Pinning, 0.9)],
    )]);
    let goals = goals(&tally);
    let met = |what: &str| {
        let goal = goals.iter().find(|goal| goal.goal.starts_with(what));
        goal.unwrap_or_else(|| panic!("no goal {what}")).met
    };
    assert_eq!(met("recall of pinning"), Some(true));
    assert_eq!(met("no pinning"), Some(true));
    assert_eq!(met("recall of client-auth"), None);
    assert_eq!(met("successes called failures"), None);
}
