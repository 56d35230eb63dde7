//! The file of verdicts that `logrotate` moves away from under a running agent.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lab::host::{Process, output};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::gateway::{Gateway, PATIENCE, agent};
use tests::wire::until;

/// The client ports of the verdicts in a file; of none as long as it is not there.
fn ports(file: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let port = |line| {
        let verdict: Value = serde_json::from_str(line).unwrap();
        verdict["client"]["port"].as_u64().unwrap()
    };
    // The agent writes while this is read: the last line may be half of one.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(port).collect()
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

/// The agent as its unit starts it: by its umask its files are not readable for others.
fn start(lab: &Gateway, file: &Path) -> Process {
    let mut command: Command = lab.gateway.command("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]);
    command.arg(agent()).args(["run", "--interface", "lan0"]);
    command.args(["--output", "json", "--json-file"]).arg(file);
    let agent = Process::start(&mut command).unwrap();
    agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
    agent
}

#[test]
fn a_signal_makes_it_write_to_a_new_file_that_its_group_may_read() {
    let lab = Gateway::new("rotate").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let (file, moved) = (
        lab.folder().join("verdicts"),
        lab.folder().join("verdicts.1"),
    );
    let mut agent = start(&lab, &file);
    let refuse = |port: u64| {
        let port = port.to_string();
        let mut client = lab.curl("10.78.2.2", &["--local-port", &port]);
        assert!(!output(&mut client).unwrap().status.success());
    };
    refuse(41_001);
    until("the first is written", || ports(&file) == [41_001]);
    assert_eq!(mode(&file), 0o640);
    std::fs::rename(&file, &moved).unwrap();
    refuse(41_002);
    until("the second follows it", || ports(&moved).len() == 2);
    agent.signal(Signal::SIGHUP).unwrap();
    until("there is a new file", || file.exists());
    refuse(41_003);
    until("the third is there", || ports(&file) == [41_003]);
    assert_eq!(ports(&moved), [41_001, 41_002]);
    assert_eq!(mode(&file), 0o640);
    let (status, _) = agent.stop(Signal::SIGTERM).unwrap();
    assert_eq!(status.code(), Some(0));
}
