use jiff::SignedDuration;

use super::*;
use crate::firewall::LogReader;
use crate::outlet::database::Writer;
use crate::verdict::Verdict;
use crate::verdict::tests::pinning;

fn verdict(port: u16, seconds: i64) -> Verdict {
    let mut verdict = pinning();
    verdict.client.port = port;
    verdict.time += SignedDuration::from_secs(seconds);
    verdict.set_revision(0);
    verdict
}

fn past(verdicts: &[Verdict]) -> Past {
    let mut writer = Writer::in_memory().unwrap();
    for verdict in verdicts {
        writer.insert(verdict).unwrap();
    }
    writer.commit().unwrap();
    Past::of(writer)
}

/// A row of a firewall two hours east of UTC, whose clock is four seconds ahead.
fn row(client: &str, port: u16, time: &str, translated: &str) -> Row {
    let text = format!(
        "1,{time},0018,TRAFFIC,deny,2049,{time},{client},10.0.2.2,{translated},0.0.0.0,r,,,ssl,v,a,b,e,f,l,,1,1,\
         {port},443,61002,0,0x400000,tcp,allow,0,0,0,0,{time},1,any,0,99,0x0,,,0,7,7,policy-deny"
    );
    LogReader::new(text.as_bytes())
        .next_row()
        .unwrap()
        .unwrap()
        .unwrap()
}

#[test]
fn rows_meet_their_verdicts_by_ends_and_time_on_two_clocks() {
    let past = past(&[verdict(40_112, 0), verdict(40_113, 5), verdict(40_112, 600)]);
    let rows = vec![
        row("10.0.1.2", 40_112, "2026/11/23 10:30:05", "0.0.0.0"),
        row("10.0.1.2", 40_113, "2026/11/23 10:30:10", "0.0.0.0"),
        row("10.0.1.2", 40_112, "2026/11/23 10:40:05", "0.0.0.0"),
    ];
    let (clock, explained) = explain(rows, &past).unwrap();
    let clock = clock.unwrap();
    assert_eq!(clock.zone_ns, 2 * 4 * ZONE_NS);
    assert_eq!(clock.ahead_ns / 1_000_000_000, 3);
    let times: Vec<_> = explained
        .iter()
        .map(|it| it.verdict.as_ref().unwrap().time)
        .collect();
    assert_eq!(times, [0, 5, 600].map(|seconds| verdict(1, seconds).time));
}

#[test]
fn a_translated_connection_is_found_behind_the_firewall() {
    let mut behind = verdict(61_002, 0);
    behind.client.ip = [192, 0, 2, 7].into();
    behind.set_revision(0);
    let rows = vec![row("10.0.1.2", 40_112, "2026/11/23 08:30:01", "192.0.2.7")];
    let (_, explained) = explain(rows, &past(&[behind])).unwrap();
    assert!(explained[0].verdict.is_ok());
}

#[test]
fn a_row_without_a_verdict_has_its_reason() {
    let past = past(&[verdict(40_112, 0), verdict(40_113, 60)]);
    let at = |client: &str, port, time: &str| row(client, port, time, "0.0.0.0");
    let rows = vec![
        at("10.0.1.2", 40_112, "2026/11/23 08:30:01"),
        at("10.0.1.2", 40_113, "2026/11/23 08:31:01"),
        at("10.0.1.2", 40_112, "2026/11/23 08:40:01"),
        at("10.0.1.2", 40_114, "2026/11/23 08:30:20"),
        at("10.0.1.9", 40_114, "2026/11/23 08:30:20"),
        at("10.0.1.2", 40_114, "2026/11/23 06:00:00"),
    ];
    let (_, explained) = explain(rows, &past).unwrap();
    let reasons: Vec<_> = explained.into_iter().map(|it| it.verdict.err()).collect();
    assert_eq!(
        reasons,
        [
            None,
            None,
            Some(Unexplained::OtherConnection),
            Some(Unexplained::NoFailure),
            Some(Unexplained::ClientUnseen),
            Some(Unexplained::OtherTime),
        ]
    );
}

#[test]
fn without_a_past_nothing_is_explained() {
    let rows = vec![row("10.0.1.2", 40_112, "2026/11/23 08:30:01", "0.0.0.0")];
    let (clock, explained) = explain(rows, &past(&[])).unwrap();
    assert_eq!(clock, None);
    assert_eq!(explained[0].verdict, Err(Unexplained::OtherTime));
}
