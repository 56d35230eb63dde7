//! `tlswhy verdicts`, `groups` and `why` on captures.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tests::gateway::agent;

/// An app that pins one name and accepts the interceptor for another.
const CAPTURES: [&str; 2] = [
    "pin-java-sslsplit-1.2.accepts-shop-java-sslsplit-tls12.pcap.gz",
    "pin-java-sslsplit-1.2.pins-pinned-java-sslsplit-tls12.pcap.gz",
];

fn asked(command: &[&str]) -> Output {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus");
    let mut asking = Command::new(agent());
    asking.args(command);
    asking.args(["--inspection-ca", "CN=Example Corp Inspection CA"]);
    for capture in CAPTURES {
        asking.arg("--pcap").arg(corpus.join(capture));
    }
    asking.output().unwrap()
}

fn text(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = text(output);
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn groups_say_who_fails_where_and_who_does_not() {
    let groups = lines(&asked(&["groups", "--all", "--output", "json"]));
    let numbers: Vec<_> = groups
        .iter()
        .map(|it| {
            (
                &it["name"],
                &it["failed"],
                &it["worked"],
                &it["causes"][0]["cause"],
            )
        })
        .map(|(name, failed, worked, cause)| format!("{name} {failed} {worked} {cause}"))
        .collect();
    assert_eq!(
        numbers,
        [
            r#""api.pinned.example" 1 0 "pinning""#,
            r#""www.shop.test" 0 1 null"#
        ]
    );
    let failing = text(&asked(&["groups", "--output", "csv"]));
    assert_eq!(failing.lines().count(), 2, "{failing}");
}

#[test]
fn verdicts_are_the_current_ones_unless_all_are_asked_for() {
    let causes = |command: &[&str]| -> Vec<String> {
        let verdicts = lines(&asked(command));
        let causes = verdicts
            .iter()
            .map(|it| it["cause"].as_str().unwrap().to_owned());
        causes.collect()
    };
    let current = causes(&["verdicts", "--output", "json"]);
    assert_eq!(current, ["pinning"]);
    let none = causes(&["verdicts", "--output", "json", "--cause", "injected-reset"]);
    assert!(none.is_empty(), "{none:?}");
    let of_name = causes(&["verdicts", "--output", "json", "--name", "*.PINNED.example"]);
    assert_eq!(of_name, ["pinning"]);
}

#[test]
fn why_tells_the_story_with_its_ladder() {
    for subject in ["api.pinned.example", "10.9.1.15"] {
        insta::assert_snapshot!("story", text(&asked(&["why", subject])));
    }
    let stories = lines(&asked(&["why", "--json", "api.pinned.example"]));
    let connection = stories[0]["verdict"]["community_id"].as_str().unwrap();
    let by_connection = text(&asked(&["why", connection]));
    assert!(
        by_connection.contains("alert fatal certificate_unknown (46)"),
        "{by_connection}"
    );
}

#[test]
fn nothing_known_is_a_failure_with_its_reason() {
    let output = asked(&["why", "www.shop.test"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "tlswhy: no failure of www.shop.test is known\n");
    let output = Command::new(agent())
        .args(["groups", "--database", "/nonexistent/verdicts.db"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with("tlswhy: no database at /nonexistent/verdicts.db"),
        "{said}"
    );
}

/// The captures of a set, by the beginning of their names.
fn set(beginning: &str) -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus");
    let paths = std::fs::read_dir(corpus).unwrap();
    let mut paths: Vec<_> = paths.map(|it| it.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(beginning) && name.ends_with(".pcap.gz")
    });
    paths.sort();
    assert!(paths.len() > 1, "{beginning}");
    paths
}

/// Verdicts are replaced by later ones, in part of other groups.
#[rstest::rstest]
#[case("no-ca-curl-squid-1.")]
#[case("no-ca-rustls-sslsplit-1.")]
#[case("own-store-java-mitmproxy-1.")]
#[case("pin-go-squid-1.")]
fn groups_count_each_connection_once(#[case] beginning: &str) {
    let captures = set(beginning);
    let judged = Command::new(agent())
        .args(["pcap", "--output", "json"])
        .args(&captures)
        .output()
        .unwrap();
    let verdicts = lines(&judged);
    let replaced: Vec<_> = verdicts.iter().map(|it| &it["supersedes"]).collect();
    let standing = verdicts.iter().filter(|it| !replaced.contains(&&it["id"]));
    let mut asking = Command::new(agent());
    asking.args(["groups", "--all", "--output", "json"]);
    for capture in &captures {
        asking.arg("--pcap").arg(capture);
    }
    let groups = lines(&asking.output().unwrap());
    let sum = |of: &dyn Fn(&Value) -> u64| groups.iter().map(of).sum::<u64>();
    let failures = standing.count() as u64;
    assert_eq!(sum(&|it| it["failed"].as_u64().unwrap()), failures);
    let summary = String::from_utf8_lossy(&judged.stderr).into_owned();
    let worked = sum(&|it| it["worked"].as_u64().unwrap());
    assert!(
        summary.contains(&format!("{worked} established")),
        "{worked}: {summary}"
    );
    let mut page = Command::new(agent());
    page.arg("report");
    for capture in &captures {
        page.arg("--pcap").arg(capture);
    }
    let page = String::from_utf8(page.output().unwrap().stdout).unwrap();
    let taps = page.split("<caption>Taps</caption>").nth(1).unwrap();
    let taps = taps.split("</table>").next().unwrap();
    // A row has the name, `1 of 2 (50.0 %)`, and the same of those that were intercepted.
    let rows = taps.split("<tr>").skip(2);
    let cells = rows.map(|row| row.split("<td class=\"number\">").nth(1).unwrap());
    let numbers = cells.map(|cell| {
        let mut words = cell.split(' ').step_by(2);
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        (number(), number())
    });
    let (failed, all) = numbers.fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    assert_eq!((failed, all), (failures, failures + worked), "{taps}");
    assert!(!taps.contains("other or unknown"), "{taps}");
    for group in &groups {
        let causes = group["causes"].as_array().unwrap();
        let failed: u64 = causes.iter().map(|it| it["failed"].as_u64().unwrap()).sum();
        assert_eq!(group["failed"], failed, "{group}");
        assert!(failed + group["worked"].as_u64().unwrap() > 0, "{group}");
    }
}

/// Each failure is said once, and nothing is said of the past that is not there.
#[test]
fn without_a_readable_capture_there_is_one_line_and_no_page() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    std::fs::write(&page, "the last one").unwrap();
    let page = page.to_str().unwrap();
    for command in [
        &["groups", "--pcap"][..],
        &["verdicts", "--pcap"],
        &["why", "api.example", "--pcap"],
        &["report", "--to", page, "--pcap"],
        &["top", "--once", "--replay"],
    ] {
        let mut asking = Command::new(agent());
        let output = asking.args(command).arg("/nonexistent").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = "tlswhy: cannot open /nonexistent: No such file or directory (os error 2)\n";
        assert_eq!(said, expected, "{command:?}");
        assert!(output.stdout.is_empty(), "{command:?}");
    }
    assert_eq!(std::fs::read_to_string(page).unwrap(), "the last one");
}

#[test]
fn a_ca_that_issued_nothing_and_groups_that_are_left_out_are_said() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus");
    let mut asking = Command::new(agent());
    asking.args([
        "groups",
        "--all",
        "--limit",
        "1",
        "--inspection-ca",
        "CN=Typo CA",
    ]);
    for capture in CAPTURES {
        asking.arg("--pcap").arg(corpus.join(capture));
    }
    let output = asking.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("no certificate was issued by the inspection CA \"CN=Typo CA\""),
        "{said}"
    );
    assert!(
        said.contains("the first 1 groups are shown; --limit shows more"),
        "{said}"
    );
    assert_eq!(text(&output).lines().count(), 2);
}
