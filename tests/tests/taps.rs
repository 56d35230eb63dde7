//! Attaching, falling back, and leaving nothing behind.

use std::os::fd::AsFd;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use rstest::rstest;
use tests::gateway::{Gateway, PATIENCE, agent};
use xtask::lab::{Process, output};

use aya::programs::{SchedClassifier, TcAttachType};

/// Programs at the TCX hooks of the gateway's `lan0`: ingress, egress.
fn tcx_programs(lab: &Gateway) -> [usize; 2] {
    let path = format!("/run/netns/{}", lab.gateway.name());
    let namespace = std::fs::File::open(path).unwrap();
    std::thread::spawn(move || {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
        [TcAttachType::Ingress, TcAttachType::Egress].map(|direction| {
            SchedClassifier::query_tcx("lan0", direction)
                .unwrap()
                .1
                .len()
        })
    })
    .join()
    .unwrap()
}

fn has_xdp(lab: &Gateway) -> bool {
    lab.gateway
        .run("ip link show lan0")
        .unwrap()
        .contains("prog/xdp")
}

#[rstest]
#[case::at_1500("t0", 1500)]
#[case::with_jumbo_frames("t1", 9000)]
fn a_tap_is_native_where_it_can_and_leaves_nothing(#[case] lab: &str, #[case] mtu: u32) {
    let lab = Gateway::new(lab).unwrap();
    lab.gateway
        .run(&format!("ip link set lan0 mtu {mtu}"))
        .unwrap();
    lab.client
        .run(&format!("ip link set eth0 mtu {mtu}"))
        .unwrap();
    let (mut agent, said) = lab.watch(&[]).unwrap();
    assert!(
        said.contains(&"tap lan0: ingress native XDP, egress TCX".to_owned()),
        "{said:?}"
    );
    assert!(has_xdp(&lab));
    assert_eq!(tcx_programs(&lab), [0, 1]);
    let (status, rest) = agent.stop(Signal::SIGTERM).unwrap();
    assert!(status.success(), "{rest:?}");
    assert!(!has_xdp(&lab));
    assert_eq!(tcx_programs(&lab), [0, 0]);
}

#[test]
fn a_killed_agent_leaves_nothing() {
    let lab = Gateway::new("t2").unwrap();
    let (mut agent, _) = lab.watch(&[]).unwrap();
    agent.stop(Signal::SIGKILL).unwrap();
    assert!(!has_xdp(&lab));
    assert_eq!(tcx_programs(&lab), [0, 0]);
}

#[test]
fn a_driver_without_xdp_is_tapped_in_generic_mode() {
    let lab = Gateway::new("t3").unwrap();
    lab.gateway.run("ip link add bridge0 type bridge").unwrap();
    lab.gateway.run("ip link set bridge0 up").unwrap();
    let mut command = lab.gateway.command(agent());
    command.args(["run", "--interface", "bridge0"]);
    let agent = Process::start(&mut command).unwrap();
    let said = agent.wait_for(PATIENCE, |line| line == "ready").unwrap();
    assert!(
        said.contains(&"tap bridge0: ingress generic XDP, egress TCX".to_owned()),
        "{said:?}"
    );
}

/// The program that is there first is another tlswhy; any other would do.
#[test]
fn an_xdp_program_that_is_there_is_left_alone() {
    let lab = Gateway::new("t4").unwrap();
    let (_first, _) = lab.watch(&[]).unwrap();
    let before = lab.gateway.run("ip link show lan0").unwrap();
    let (mut second, said) = lab.watch(&[]).unwrap();
    assert!(
        said.contains(&"tap lan0: ingress TCX, egress TCX".to_owned()),
        "{said:?}"
    );
    assert_eq!(lab.gateway.run("ip link show lan0").unwrap(), before);
    assert_eq!(tcx_programs(&lab), [1, 2]);
    second.stop(Signal::SIGTERM).unwrap();
    assert_eq!(tcx_programs(&lab), [0, 1]);
}

#[test]
fn an_interface_that_vanishes_ends_the_agent_when_it_was_the_last() {
    let lab = Gateway::new("t5").unwrap();
    let (agent, _) = lab.watch(&[]).unwrap();
    lab.gateway.run("ip link delete lan0").unwrap();
    agent
        .wait_for(PATIENCE, |line| line == "tlswhy: interface lan0 is gone")
        .unwrap();
    agent
        .wait_for(PATIENCE, |line| {
            line == "tlswhy: no tapped interface is left"
        })
        .unwrap();
}

#[test]
fn an_interface_that_does_not_exist_is_one_line_and_exit_code_1() {
    let lab = Gateway::new("t6").unwrap();
    let result = output(
        lab.gateway
            .command(agent())
            .args(["run", "--interface", "none0"]),
    )
    .unwrap();
    assert_eq!(result.status.code(), Some(1));
    let said = String::from_utf8_lossy(&result.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("none0"), "{said}");
}

#[test]
fn an_interface_that_is_down_is_tapped_and_said_to_be_down() {
    let lab = Gateway::new("t7").unwrap();
    lab.gateway.run("ip link set lan0 down").unwrap();
    let (_agent, said) = lab.watch(&[]).unwrap();
    assert!(
        said.iter().any(|line| line.ends_with("it is down")),
        "{said:?}"
    );
}

#[test]
fn missing_privileges_are_one_line_and_exit_code_1() {
    let lab = Gateway::new("t8").unwrap();
    let mut command = lab.gateway.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    // Its own copy: others may not enter the folder of the build.
    let copy = std::env::temp_dir().join(format!("tlswhy-{}", std::process::id()));
    std::fs::copy(agent(), &copy).unwrap();
    let result = output(command.arg(&copy).args(["run", "--interface", "lan0"]));
    std::fs::remove_file(&copy).unwrap();
    let result = result.unwrap();
    assert_eq!(result.status.code(), Some(1));
    let said = String::from_utf8_lossy(&result.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("CAP_BPF"), "{said}");
}
