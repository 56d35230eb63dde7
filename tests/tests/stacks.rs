//! Connections of TLS stacks that the corpus does not have, as recorded: no verdict on one that worked,
//! and the right one, or none, on the others.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::gateway::agent;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/stacks")
}

/// Returns the causes of all verdicts on a capture, in their order.
fn causes(file: &str, options: &[&str]) -> Vec<String> {
    let output = Command::new(agent())
        .args(["pcap", "--quiet", "--output", "json"])
        .args(options)
        .arg(folder().join(file))
        .output()
        .unwrap();
    assert!(output.status.success(), "{file}: {output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let verdicts = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    verdicts
        .map(|verdict: Value| verdict["cause"].as_str().unwrap().to_owned())
        .collect()
}

/// `labels.tsv`: file, description, and the causes of the verdicts, separated by spaces.
#[test]
fn each_stack_is_judged_as_it_is_labelled() {
    let labels = std::fs::read_to_string(folder().join("labels.tsv")).unwrap();
    let mut wrong = Vec::new();
    for line in labels.lines().skip(1) {
        let [file, what, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?}");
        };
        let found = causes(file, &[]).join(" ");
        if found != expected {
            wrong.push(format!("{file} ({what}): {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Also where everything is intercepted, a refused ECH offer speaks neither for a pin nor for a missing CA.
#[test]
fn refused_ech_is_no_refusal_of_a_certificate() {
    for file in ["retry", "without", "client-auth", "stale", "alone"] {
        let file = format!("go-ech-{file}.pcap.gz");
        for cause in causes(&file, &["--intercepted", "always"]) {
            assert_eq!(cause, "ech-refused", "{file}");
        }
    }
}
