//! `tlswhy status`: the running agent, asked over its socket.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use lab::host::output;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::gateway::{Gateway, agent, next_verdict};
use tests::wire::until;

/// The running agent's own account, asked for over its socket.
fn status(socket: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(agent());
    command
        .args(["status", "--socket"])
        .arg(socket)
        .args(arguments);
    output(&mut command).unwrap()
}

#[test]
fn a_running_agent_says_how_it_is() {
    let lab = Gateway::new("status").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("status.sock");
    let directory = folder.path().to_str().unwrap();
    let none = status(&socket, &[]);
    assert_eq!(none.status.code(), Some(1));
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(said.starts_with("tlswhy: no agent is running"), "{said}");
    let _server = lab.serve(&[]).unwrap();
    let arguments = ["--runtime-directory", directory, "--output", "json"];
    let (mut agent, _) = lab.watch(&arguments).unwrap();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // Clients that neither read nor leave, more than are served at once, and one that talks.
    let mut idle: Vec<UnixStream> = (0..40)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    let _ = idle[0].write_all(&[b'x'; 4096]);
    let _ = output(&mut lab.curl("10.78.2.2", &[])).unwrap();
    next_verdict(&agent).unwrap();
    let mut report = Value::Null;
    until("the verdict is in the status", || {
        let answer = status(&socket, &["--json"]);
        assert!(answer.status.success(), "{answer:?}");
        report = serde_json::from_slice(&answer.stdout).unwrap();
        report["last_verdicts"][0]["client"] == "10.78.1.2" && report["outputs"][0]["written"] == 1
    });
    assert_eq!(report["taps"][0]["name"], "lan0", "{report}");
    assert_eq!(report["taps"][0]["verdicts"], 1, "{report}");
    assert_eq!(report["failed"]["certificate-rejected"], 1, "{report}");
    assert_eq!(report["losses"], serde_json::json!([]), "{report}");
    let configured = &report["configuration"]["state.runtime"];
    assert_eq!(configured["origin"], "command line", "{report}");
    let text = String::from_utf8(status(&socket, &[]).stdout).unwrap();
    assert!(
        text.contains("lan0: ingress") && text.contains("www.lab.test"),
        "{text}"
    );
    agent.stop(Signal::SIGTERM).unwrap();
    assert_eq!(status(&socket, &["--json"]).status.code(), Some(1));
    assert!(!socket.exists());
}
