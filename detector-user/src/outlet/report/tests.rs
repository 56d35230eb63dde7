use super::*;
use crate::outlet::database::{Change, ChangeKind, Rate, StoredVerdict};
use crate::verdict::tests::pinning;

fn report(name: &str) -> Report {
    let mut verdict = pinning();
    verdict.sni = Some(name.to_owned());
    verdict.issuer = Some(format!("CN={name}"));
    let stored = StoredVerdict {
        number: 1,
        verdict,
        superseded_by: None,
        gateway: None,
    };
    Report {
        source: name.to_owned(),
        made: Timestamp::UNIX_EPOCH,
        span: None,
        totals: Totals {
            failed: 4,
            worked: 16,
            intercepted: 5,
            intercepted_failed: 2,
            causes: vec![(Cause::Pinning, 1)],
        },
        chart: Chart::of(&[
            (0, Cause::Pinning),
            (3_600_000_000_000, Cause::InjectedReset),
        ]),
        changes: Changes {
            counted_from: Some(Timestamp::UNIX_EPOCH),
            changes: vec![Change {
                change: ChangeKind::NewlyBroken,
                name: name.to_owned(),
                app: Some(name.to_owned()),
                clients: 2,
                before: Rate::default(),
                after: Rate { failed: 3, all: 4 },
                cause: Some("pinning".to_owned()),
            }],
            ..Changes::default()
        },
        names: vec![Rated {
            of: name.to_owned(),
            rate: Rate { failed: 3, all: 8 },
            intercepted: Rate::default(),
        }],
        apps: Vec::new(),
        taps: vec![Rated {
            of: name.to_owned(),
            rate: Rate { failed: 2, all: 9 },
            intercepted: Rate { failed: 1, all: 4 },
        }],
        groups: Vec::new(),
        stories: Story::of(vec![stored]).into_iter().collect(),
        exclusions: vec![Exclusion {
            host: name.to_owned(),
            connections: 1,
            clients: 1,
        }],
    }
}

#[test]
fn hostile_names_are_text() {
    let hostile = "<script>alert(1)</script>\"'&\u{202e}\u{1b}[2J<img src=http://evil.test/x>";
    let html = report(hostile).html();
    for forbidden in ["<script", "<img", "\u{202e}", "\u{1b}"] {
        assert!(!html.contains(forbidden), "{forbidden:?}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[test]
fn changes_and_rates_are_shares_of_all() {
    let html = report("api.example").html();
    for shown in [
        "newly broken",
        "none",
        "3 of 4 (75.0 %)",
        "3 of 8 (37.5 %)",
        "2 of 9 (22.2 %)",
        "1 of 4 (25.0 %)",
    ] {
        assert!(html.contains(shown), "{shown}");
    }
    // Of 20 connections 9 are known to be of a tap.
    let rest = html.split_once("other or unknown").unwrap().1;
    let [all, intercepted] = ["2 of 11 (18.2 %)", "1 of 1 (100.0 %)"].map(|it| rest.find(it));
    assert!(all.unwrap() < intercepted.unwrap());
    let mut whole = report("api.example");
    whole.taps[0].rate = Rate { failed: 4, all: 20 };
    assert!(!whole.html().contains("other or unknown"));
    let empty = Report::empty(String::new(), Timestamp::UNIX_EPOCH).html();
    assert!(empty.contains("not been counted by the hour") && empty.contains("Nothing fails."));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let html = report("api.example").html();
    assert!(!html.contains("http://") && !html.contains("https://"));
    assert!(html.contains("default-src &#39;none&#39;") || html.contains("default-src 'none'"));
}

#[test]
fn failures_fall_into_bars() {
    let hour = 3_600_000_000_000;
    let chart = Chart::of(&[
        (0, Cause::Pinning),
        (1, Cause::Pinning),
        (hour, Cause::Truncated),
    ]);
    let text = chart.markup().into_string();
    assert_eq!(text.matches("<rect").count(), 2);
    assert!(text.contains("2 pinning") && text.contains("1 truncated"));
    let html = Chart::of(&[]).markup().into_string();
    assert!(html.contains("No failures."));
    // One moment is one bar, and so are the ends of time.
    assert_eq!(
        Chart::of(&[(7, Cause::Pinning)])
            .markup()
            .into_string()
            .matches("<rect")
            .count(),
        1
    );
    let _ = Chart::of(&[(0, Cause::Pinning), (i64::MAX, Cause::Pinning)]).markup();
}
