//! `tlswhy run` as its users meet it: real handshakes, signals, and everything that goes wrong.

mod configuration;
mod interfaces;
mod privileges;
mod status;

use std::process::{Command, Stdio};

use aya::programs::{SchedClassifier, TcAttachType};
use detector_user::source::tap::hook::Abilities;
use lab::host::{Namespace, Process, output};
use nix::sys::signal::Signal;
use rstest::rstest;
use tests::gateway::{Gateway, agent, next_verdict};
use tests::wire::{PATIENCE, inside, interface, pair, until};

/// Starts the agent in a namespace and waits until it is ready; returns its messages until then.
fn start(namespace: &Namespace, arguments: &[&str]) -> (Process, Vec<String>) {
    let agent = Process::start(namespace.command(agent()).arg("run").args(arguments)).unwrap();
    let said = agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
    (agent, said)
}

/// Runs the agent, which is to fail at once; returns the one line it says.
fn failure(command: &mut Command) -> String {
    let output = output(command).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty());
    said
}

/// The place of classifiers on this kernel.
fn classifier() -> &'static str {
    if Abilities::of_this_kernel().tcx {
        "TCX"
    } else {
        "clsact"
    }
}

fn has_line(lines: &[String], words: &str) -> bool {
    lines.iter().any(|line| line.contains(words))
}

/// Whether an interface of the namespace has no program of ours any more.
fn is_clean(namespace: &Namespace, name: &str) -> bool {
    let qdiscs = namespace.run(&format!("tc qdisc show dev {name}")).unwrap();
    inside(namespace, || {
        interface(name).xdp.is_none()
            && [TcAttachType::Ingress, TcAttachType::Egress]
                .into_iter()
                .filter(|_| Abilities::of_this_kernel().tcx)
                .all(|at| SchedClassifier::query_tcx(name, at).is_ok_and(|it| it.1.is_empty()))
    }) && !qdiscs.contains("clsact")
}

/// A client that does not know the server's CA, and the verdict of the two taps.
#[test]
fn both_taps_of_a_gateway_tell_of_one_refusal() {
    let lab = Gateway::new("both").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let (mut agent, said) = lab.watch(&["-i", "wan0", "--output", "json"]).unwrap();
    for tap in ["lan0", "wan0"] {
        let line = format!("tap {tap}: ingress {0}, egress {0}", classifier());
        assert!(said.contains(&line), "{said:?}");
    }
    assert!(
        !output(&mut lab.curl("10.78.2.2", &[]))
            .unwrap()
            .status
            .success()
    );
    // Two flows, one connection: it was only forwarded.
    let verdict = next_verdict(&agent).unwrap();
    assert_eq!(verdict["tap"], "lan0", "{verdict}");
    assert_eq!(verdict["server_leg"]["tap"], "wan0", "{verdict}");
    assert_eq!(verdict["intercepted"], "no", "{verdict}");
    assert_eq!(verdict["ended_by"], "client", "{verdict}");
    assert_eq!(verdict["alert"]["description"], "unknown_ca", "{verdict}");
    let (status, rest) = agent.stop(Signal::SIGTERM).unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(
        has_line(&rest, "2 TLS flows")
            && has_line(&rest, "1 failed (1 server-cert-invalid)")
            && has_line(&rest, "lost: nothing"),
        "{rest:?}"
    );
}

#[rstest]
#[case(Signal::SIGTERM)]
#[case(Signal::SIGINT)]
fn a_signal_ends_it_with_a_summary_and_nothing_stays(#[case] signal: Signal) {
    let (_client, gateway) = pair();
    let (mut agent, said) = start(&gateway, &["-i", "g0"]);
    assert!(has_line(&said, "verdicts go to text"));
    assert!(
        has_line(&said, "MiB of kernel memory") && !has_line(&said, " 0 MiB"),
        "{said:?}"
    );
    assert!(!is_clean(&gateway, "g0"));
    let (status, rest) = agent.stop(signal).unwrap();
    assert_eq!(status.code(), Some(0));
    for words in ["seen: ", "judged: ", "lost: nothing"] {
        assert!(has_line(&rest, words), "{rest:?}");
    }
    until("no program stays", || is_clean(&gateway, "g0"));
}

/// A configuration file in a folder of its own.
fn configured(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn lost_verdicts_are_said_with_their_number() {
    let lab = Gateway::new("full").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let file = configured("[output]\njson_file = \"/dev/full\"\nqueue = 16\nfold = \"0s\"\n");
    let path = file.path().to_str().unwrap();
    let (agent, _) = lab.watch(&["--config", path]).unwrap();
    for _ in 0..30 {
        output(&mut lab.curl("10.78.2.2", &[])).unwrap();
    }
    agent
        .wait_for(PATIENCE, |line| {
            line.contains("lost ") && line.contains(" verdicts for ") && line.contains(" in total)")
        })
        .unwrap();
}

#[test]
fn the_programs_speak_when_asked_to() {
    let lab = Gateway::new("speak").unwrap();
    let _server = lab.serve(&[]).unwrap();
    let (agent, _) = lab.watch(&["--log", "trace"]).unwrap();
    assert!(
        !output(&mut lab.curl("10.78.2.2", &[]))
            .unwrap()
            .status
            .success()
    );
    agent
        .wait_for(PATIENCE, |line| line.starts_with("eBPF TRACE: tc "))
        .unwrap();
}

#[test]
fn a_killed_agent_leaves_nothing() {
    let (_client, gateway) = pair();
    let (mut agent, _) = start(&gateway, &["-i", "g0"]);
    assert!(!is_clean(&gateway, "g0"));
    agent.stop(Signal::SIGKILL).unwrap();
    until("no program stays", || is_clean(&gateway, "g0"));
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nothing() {
    let (_client, gateway) = pair();
    let mut child = gateway
        .command(agent())
        .args(["run", "-i", "g0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    until("it is attached", || !is_clean(&gateway, "g0"));
    // More to say, to nobody.
    gateway.run("ip link set g0 down").unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
