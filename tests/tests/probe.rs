//! `tlswhy probe` against a real server: OpenSSL's.

use std::process::Command;

use lab::host::output;
use serde_json::Value;
use tests::gateway::{Gateway, agent};

/// A probe's exit code, report, and what it said on standard error.
fn probe(lab: &Gateway, name: &str, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut command: Command = lab.gateway.command(agent());
    command.args(["probe", name, "--output", "json"]);
    let output = output(command.args(arguments)).unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), report, said)
}

#[test]
fn an_origin_is_asked_and_believed_unless_it_is_an_interceptor() {
    let lab = Gateway::new("probe").unwrap();
    let _server = lab.serve(&["-alpn", "http/1.1", "-Verify", "1"]).unwrap();
    let ca = lab.origin_ca.certificate();
    let to = ["--connect", "10.78.2.2", "--ca", ca.to_str().unwrap()];
    let (code, report, said) = probe(&lab, "www.lab.test", &to);
    assert_eq!(
        (code, &report["outcome"]),
        (Some(0), &"valid".into()),
        "{report} {said}"
    );
    assert_eq!(report["address"], "10.78.2.2:443");
    assert_eq!(
        report["versions"],
        serde_json::json!({ "1.2": true, "1.3": true })
    );
    assert_eq!(report["alpn"], "http/1.1");
    assert_eq!(report["client_certificate"], "required");
    assert_eq!(
        report["chain"][0]["names"],
        serde_json::json!(["www.lab.test"])
    );
    assert_eq!(said, "");

    let (code, report, _) = probe(&lab, "other.lab.test", &to);
    assert_eq!(
        (code, &report["problem"]),
        (Some(3), &"wrong-name".into()),
        "{report}"
    );
    let (code, report, _) = probe(&lab, "www.lab.test", &to[..2]);
    assert_eq!(
        (code, &report["problem"]),
        (Some(3), &"unknown-issuer".into()),
        "{report}"
    );

    let from = ["--source", "10.78.2.1", "--mark", "7"];
    let (code, _, _) = probe(&lab, "www.lab.test", &[&to[..], &from].concat());
    assert_eq!(code, Some(0));
    let interceptor = ["--inspection-ca", "CN=Origin CA"];
    let (code, report, said) = probe(&lab, "www.lab.test", &[&to[..], &interceptor].concat());
    assert_eq!(
        (code, &report["outcome"]),
        (Some(1), &"intercepted".into()),
        "{report}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");

    let mut text: Command = lab.gateway.command(agent());
    let text = output(text.args(["probe", "www.lab.test:444"]).args(to)).unwrap();
    let shown = [text.stdout, text.stderr].map(|it| String::from_utf8(it).unwrap());
    let [report, said] = &shown;
    let reason = "cannot connect to 10.78.2.2:444";
    assert!(
        said.contains(reason) && !report.contains(reason) && report.contains("no answer"),
        "{shown:?}"
    );

    let (code, report, said) = probe(&lab, "www.lab.test:444", &to);
    assert_eq!(
        (code, &report["outcome"]),
        (Some(1), &"failed".into()),
        "{report}"
    );
    assert!(
        said.starts_with("tlswhy: cannot connect to 10.78.2.2:444"),
        "{said}"
    );
}
