use jiff::SignedDuration;

use super::*;
use crate::firewall::LogReader;
use crate::outlet::database::tests::past;
use crate::verdict::Verdict;
use crate::verdict::tests::pinning;

fn verdict(port: u16, seconds: i64) -> Verdict {
    let mut verdict = pinning();
    verdict.client.port = port;
    verdict.time += SignedDuration::from_secs(seconds);
    verdict.set_revision(0);
    verdict
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
    let (clocks, explained) = explain(rows, &past).unwrap();
    let clock = clocks.first().unwrap();
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
    let (clocks, explained) = explain(rows, &past(&[])).unwrap();
    assert_eq!(clocks, []);
    assert_eq!(explained[0].verdict, Err(Unexplained::OtherTime));
}

fn found(explained: &[Explained]) -> Vec<bool> {
    explained.iter().map(|it| it.verdict.is_ok()).collect()
}

#[test]
fn each_firewall_of_a_log_has_its_clock() {
    let past = past(&[verdict(1, 0), verdict(2, 5), verdict(3, 10), verdict(4, 15)]);
    let east = |port, time: &str| row("10.0.1.2", port, time, "0.0.0.0");
    let west = |port, time: &str| {
        let mut row = east(port, time);
        row.fields.insert("serial", "0019".to_owned());
        row
    };
    let rows = vec![
        east(1, "2026/11/23 14:00:02"),
        east(2, "2026/11/23 14:00:07"),
        west(3, "2026/11/23 05:00:10"),
        west(4, "2026/11/23 05:00:15"),
    ];
    let (clocks, explained) = explain(rows, &past).unwrap();
    let zones: Vec<_> = clocks.iter().map(|it| it.zone_ns / ZONE_NS).collect();
    assert_eq!(zones, [22, -14], "UTC+05:30 and UTC-03:30");
    assert_eq!(found(&explained), [true; 4]);
}

#[test]
fn summer_time_ends_within_a_log() {
    let past = past(&[
        verdict(1, 0),
        verdict(2, 5),
        verdict(3, 10),
        verdict(4, 3_600),
        verdict(5, 3_605),
    ]);
    let at = |port, time: &str| row("10.0.1.2", port, time, "0.0.0.0");
    let rows = vec![
        at(1, "2026/11/23 10:30:01"),
        at(2, "2026/11/23 10:30:06"),
        at(3, "2026/11/23 10:30:11"),
        at(4, "2026/11/23 10:30:01"),
        at(5, "2026/11/23 10:30:06"),
    ];
    let (clocks, explained) = explain(rows, &past).unwrap();
    assert_eq!(found(&explained), [true; 5]);
    assert_eq!(clocks[0].other_zone_ns, Some(4 * ZONE_NS));
}

#[test]
fn one_row_at_any_time_is_not_that_of_the_connection_before() {
    let past = past(&[verdict(40_112, 0)]);
    let rows = vec![row("10.0.1.2", 40_112, "2026/11/23 10:35:00", "0.0.0.0")];
    let (clocks, explained) = explain(rows, &past).unwrap();
    assert_eq!(clocks, []);
    assert_eq!(explained[0].verdict, Err(Unexplained::OtherConnection));
}

#[test]
fn a_row_of_another_protocol_is_no_tls_over_tcp() {
    let past = past(&[verdict(40_112, 0)]);
    let mut quic = row("10.0.1.2", 40_112, "2026/11/23 08:30:01", "0.0.0.0");
    quic.fields.insert("proto", "udp".to_owned());
    let (_, explained) = explain(vec![quic], &past).unwrap();
    assert_eq!(explained[0].verdict, Err(Unexplained::NotTcp));
}

/// A difference of times that overflows would end the command.
#[test]
fn a_time_beyond_reason_is_none() {
    let past = past(&[verdict(40_112, 0)]);
    for time in ["1677/09/22 00:00:00", "2262/04/11 00:00:00"] {
        let rows = vec![row("10.0.1.2", 40_112, time, "0.0.0.0")];
        let (clocks, explained) = explain(rows, &past).unwrap();
        assert_eq!(clocks, [], "{time}");
        assert!(explained[0].verdict.is_ok(), "by its ends alone");
    }
}
