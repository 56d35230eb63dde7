//! Namespaces and privileges.

use std::process::Command;

use lab::host::{Namespace, Process};
use rstest::rstest;
use tests::gateway::agent;
use tests::wire::{PATIENCE, pair};

use crate::{failure, has_line};

#[test]
fn a_namespace_is_entered_by_its_name() {
    let (_client, gateway) = pair();
    let mut command = Command::new(agent());
    command.args(["run", "-i", "g0", "--netns", gateway.name()]);
    let agent = Process::start(&mut command).unwrap();
    let said = agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
    assert!(has_line(&said, "tap g0: "), "{said:?}");
    let said = failure(Command::new(tests::gateway::agent()).args(["run", "--netns", "nope"]));
    assert!(
        said.contains("there is no network namespace /run/netns/nope"),
        "{said}"
    );
}

/// A command that gives up all capabilities but these.
fn with_capabilities(namespace: &Namespace, capabilities: &str) -> Command {
    let mut command = namespace.command("setpriv");
    command.arg(format!("--bounding-set=-all{capabilities}"));
    command.arg("--inh-caps=-all").arg(agent());
    command
}

#[test]
fn the_three_capabilities_suffice() {
    let (_client, gateway) = pair();
    let mut command = with_capabilities(&gateway, ",+bpf,+net_admin,+perfmon");
    let agent = Process::start(command.args(["run", "-i", "g0"])).unwrap();
    agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
}

/// Another namespace takes CAP_SYS_ADMIN to enter, and nothing of it stays; nor what loading takes.
#[test]
fn an_ordinary_user_is_left_with_two_capabilities() {
    let (_client, gateway) = pair();
    let held = "+bpf,+net_admin,+perfmon,+sys_admin,+dac_override";
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(format!("--inh-caps={held}"));
    command.arg(format!("--ambient-caps={held}"));
    command.arg(agent());
    command.args(["run", "-i", "g0", "--netns", gateway.name()]);
    let agent = Process::start(&mut command).unwrap();
    agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    // CAP_NET_ADMIN and CAP_BPF.
    let expected = format!("{:016x}", 1u64 << 12 | 1 << 39);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let line = status.lines().find(|line| line.starts_with(set)).unwrap();
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[rstest]
#[case("")]
#[case(",+bpf,+perfmon")]
#[case(",+net_admin")]
fn missing_privileges_are_one_line_that_names_them(#[case] capabilities: &str) {
    let (_client, gateway) = pair();
    let mut command = with_capabilities(&gateway, capabilities);
    let said = failure(command.args(["run", "-i", "g0"]));
    assert!(
        said.contains("run as root, or grant CAP_BPF, CAP_NET_ADMIN"),
        "{said}"
    );
}
