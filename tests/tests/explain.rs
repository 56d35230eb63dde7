//! `tlswhy explain`: a firewall's log beside the captures of its connections.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tests::gateway::agent;

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("captures")
        .join(name)
}

fn explain(arguments: &[&str]) -> Output {
    Command::new(agent())
        .args([
            "explain",
            "--traffic-log",
            "story-traffic.csv",
            "--pcap",
            "story.pcap",
        ])
        .args(["--inspection-ca", "CN=Inspection CA"])
        .args(arguments)
        .current_dir(capture(""))
        .output()
        .unwrap()
}

#[test]
fn the_firewalls_words_stand_beside_the_reason() {
    let output = explain(&[]);
    assert!(output.status.success());
    insta::assert_snapshot!("explained", String::from_utf8(output.stdout).unwrap());
}

#[test]
fn a_filter_selects_rows() {
    let output = explain(&[
        "--filter",
        "( session_end_reason eq policy-deny )",
        "--output",
        "json",
    ]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["line"].as_u64().unwrap(),
                row["verdict"]["cause"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (3, Some("certificate-rejected")),
            (4, Some("ca-not-trusted")),
            (6, None)
        ]
    );
    assert_eq!(rows[2]["unexplained"], "this client was never seen");
    let wrong = explain(&["--filter", "( colour eq red )"]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        said.contains("unknown field \"colour\" at character 3"),
        "{said}"
    );
}

#[test]
fn a_broken_row_is_named_and_the_rest_explained() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("traffic.csv");
    let text = std::fs::read_to_string(capture("story-traffic.csv")).unwrap();
    std::fs::write(&log, text.replacen("54032", "port", 1)).unwrap();
    let output = Command::new(agent())
        .args(["explain", "--output", "csv", "--pcap"])
        .arg(capture("story.pcap"))
        .arg("--traffic-log")
        .arg(&log)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("traffic.csv:3: port.src is \"port\""),
        "{said}"
    );
    let explained = String::from_utf8(output.stdout).unwrap();
    assert_eq!(explained.lines().count(), 4, "{explained}");
}
