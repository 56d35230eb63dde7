//! `tlswhy doctor` on this machine: it reports the findings, and the failed ones decide the exit
//! code.

use std::process::{Command, Output};

use lab::host::{Namespace, Process, output};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::foreign::{Foreign, Place};
use tests::gateway::{PATIENCE, agent};
use tests::wire::{inside, interface, pair};

const PASS: i32 = 2;
const TCX_NEXT: i32 = -1;

fn doctor(namespace: &Namespace, arguments: &[&str]) -> Output {
    let mut command = namespace.command(agent());
    output(command.arg("doctor").args(arguments)).unwrap()
}

/// The checks of a report on an interface, by name: state and detail.
fn checks(namespace: &Namespace, on: &str) -> Vec<(String, String, String)> {
    let report = doctor(namespace, &["--interface", on, "--output", "json"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let text = |check: &Value, field: &str| check[field].as_str().unwrap_or_default().to_owned();
    let all = checks.iter();
    all.filter(|check| check["interface"] == on)
        .map(|check| {
            (
                text(check, "name"),
                text(check, "state"),
                text(check, "detail"),
            )
        })
        .collect()
}

fn find<'a>(checks: &'a [(String, String, String)], name: &str) -> (&'a str, &'a str) {
    let check = checks.iter().find(|check| check.0 == name);
    let (_, state, detail) = check.unwrap_or_else(|| panic!("no {name} in {checks:?}"));
    (state, detail)
}

#[test]
fn what_stacked_interfaces_see_is_said() {
    let (_client, gateway) = pair();
    for add in [
        "ip link add br0 type bridge",
        "ip link add vx0 type vxlan id 5 dstport 4789 remote 192.0.2.1 dev g0",
        "ip link add mv0 link g0 type macvlan",
        "ip tuntap add tun0 mode tun",
    ] {
        gateway.run(add).unwrap();
    }
    let said = |name: &str| find(&checks(&gateway, name), "layer").1.to_owned();
    assert!(said("br0").contains("seen on the ports alone"));
    assert!(said("vx0").contains("sees the frames inside"));
    assert!(said("mv0").contains("sees its own frames"));
    assert!(said("tun0").contains("sees the IP packets inside"));
    assert!(
        !checks(&gateway, "g0")
            .iter()
            .any(|check| check.0 == "layer")
    );
}

#[test]
fn others_programs_are_named_and_ours_are_no_fault() {
    let (_client, gateway) = pair();
    let _others = inside(&gateway, || {
        let index = interface("g0").index;
        [
            Foreign::attach(Place::XdpNative, index, PASS).unwrap(),
            Foreign::attach(Place::TcxEgress, index, TCX_NEXT).unwrap(),
        ]
    });
    gateway.run("tc qdisc add dev g0 clsact").unwrap();
    gateway
        .run("tc filter add dev g0 ingress protocol ip u32 match u32 0 0 classid 1:1")
        .unwrap();
    let found = checks(&gateway, "g0");
    let (state, detail) = find(&found, "xdp-program");
    assert_eq!(state, "warning");
    assert!(detail.starts_with("foreign (id "), "{detail}");
    let (state, detail) = find(&found, "tc-programs-there");
    assert_eq!(state, "ok", "{detail}");
    assert!(
        detail.contains("a filter of kind u32 on clsact ingress"),
        "{detail}"
    );
    assert!(
        detail.contains(") on TCX egress: tlswhy runs before"),
        "{detail}"
    );

    let mut run = gateway.command(agent());
    let mut tlswhy = Process::start(run.args(["run", "-i", "g0"])).unwrap();
    tlswhy.wait_for(PATIENCE, |line| line == "ready").unwrap();
    let found = checks(&gateway, "g0");
    let (state, detail) = find(&found, "tc-programs-there");
    assert_eq!(state, "ok", "{detail}");
    assert!(!detail.contains("tlswhy_"), "{detail}");
    tlswhy.stop(Signal::SIGTERM).unwrap();
}

#[test]
fn a_program_put_before_ours_is_told() {
    let (_client, gateway) = pair();
    // On an older kernel nobody can be put before it by the bare system call.
    if !detector_user::source::tap::hook::Abilities::of_this_kernel().tcx {
        return;
    }
    let mut run = gateway.command(agent());
    let tlswhy = Process::start(run.args(["run", "-i", "g0"])).unwrap();
    tlswhy.wait_for(PATIENCE, |line| line == "ready").unwrap();
    let _first = inside(&gateway, || {
        Foreign::attach(Place::TcxEgressFirst, interface("g0").index, TCX_NEXT).unwrap()
    });
    let found = checks(&gateway, "g0");
    let (state, detail) = find(&found, "tc-programs-there");
    assert_eq!(state, "warning", "{detail}");
    assert!(
        detail.contains("on TCX egress runs before tlswhy"),
        "{detail}"
    );
}

#[test]
fn a_problem_is_exit_code_1_and_names_its_fix() {
    let (_client, gateway) = pair();
    let healthy = doctor(&gateway, &["--interface", "g0"]);
    let text = String::from_utf8(healthy.stdout).unwrap();
    assert_eq!(healthy.status.code(), Some(0), "{text}");
    for line in ["ingress by TCX: native XDP copies", "veth, MTU 1500, up"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("`tlswhy run` works"), "{text}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[watch]\ninterfaces = [\"g0\", \"lan9\"]\n").unwrap();
    let path = file.path().to_str().unwrap();
    let configured = doctor(&gateway, &["--config", path]);
    let text = String::from_utf8(configured.stdout).unwrap();
    assert_eq!(configured.status.code(), Some(0), "{text}");
    assert!(
        text.contains("lan9: the interface does not exist yet"),
        "{text}"
    );
    assert!(text.contains(&format!("{path} is valid")), "{text}");

    std::fs::write(file.path(), "[watch]\nface = 1\n").unwrap();
    let wrong = doctor(&gateway, &["--config", path]);
    let text = String::from_utf8(wrong.stdout).unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("{path}:2:1: ")), "{text}");
    assert!(
        text.contains(&format!("fix: tlswhy check-config {path}")),
        "{text}"
    );

    let missing = doctor(&gateway, &["--interface", "lan9"]);
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn a_namespace_is_looked_at_from_outside() {
    let (_client, gateway) = pair();
    let mut command = Command::new(agent());
    command.args(["doctor", "--interface", "g0", "--netns", gateway.name()]);
    let said = output(&mut command).unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(0), "{text}");
    assert!(text.contains("g0: veth"), "{text}");
}
