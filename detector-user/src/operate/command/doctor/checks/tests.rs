use std::collections::HashSet;

use rstest::rstest;

use super::interface::{layer, receive_ring, xdp_mode};
use super::*;
use crate::host::ethtool::ReceiveRing;
use crate::host::interfaces::XdpProgram;
use crate::host::interfaces::tests::{down, ethernet};
use crate::operate::command::doctor::classifiers::Classifier;
use crate::operate::command::doctor::classifiers::Owner;
use crate::operate::command::doctor::facts::{InterfaceFacts, Interfaces};
use crate::operate::command::doctor::report::Report;
use crate::operate::config::Config;
use crate::outlet::sink::SinkError;
use crate::source::tap::selection::InterfaceError;

const ALL: u64 = 1 << CAP_BPF | 1 << CAP_NET_ADMIN | 1 << CAP_PERFMON;

fn healthy() -> Facts {
    let interface = InterfaceFacts {
        interface: ethernet("lan0"),
        driver: Some("ixgbe".into()),
        offloads: Some(HashSet::new()),
        native_xdp: Some(true),
        xdp_name: None,
        receive_ring: Some(ReceiveRing {
            slots: 512,
            most: 4096,
        }),
        classifiers: Vec::new(),
    };
    Facts {
        release: "6.18.44".into(),
        has_btf: true,
        jit: Some("1\n".into()),
        jit_harden: Some("0\n".into()),
        capabilities: Some(ALL),
        xdp: Probe::Supported,
        classifier: Probe::Supported,
        ring_buffer: Probe::Supported,
        has_bpf_file_system: true,
        limits: Limits {
            locked_memory: Some(8 << 20),
            open_files: Some(1024),
            available_memory: Some(4 << 30),
        },
        journald: Ok(()),
        configuration: Configuration {
            file: Some("/etc/tlswhy/tlswhy.toml".into()),
            config: Ok(Config::default()),
        },
        interfaces: only(interface),
    }
}

fn only(interface: InterfaceFacts) -> Result<Interfaces, InterfaceError> {
    Ok(Interfaces {
        found: vec![interface],
        missing: Vec::new(),
        unreadable: Vec::new(),
    })
}

fn classifier(hook: &'static str, name: &str, owner: Owner) -> Classifier {
    Classifier {
        hook,
        name: name.into(),
        owner,
    }
}

#[rstest]
#[case(Some("bridge"), None, Some("ports alone"))]
#[case(Some("bond"), None, Some("all its members"))]
#[case(Some("vlan"), None, Some("without the tag"))]
#[case(Some("vxlan"), None, Some("frames inside"))]
#[case(None, Some("bond"), Some("name the bond"))]
#[case(None, Some("bridge"), None)]
#[case(None, None, None)]
fn a_stacked_interface_says_what_it_sees(
    #[case] kind: Option<&str>,
    #[case] master: Option<&str>,
    #[case] words: Option<&str>,
) {
    let mut facts = healthy().interfaces.unwrap().found.remove(0);
    facts.interface.kind = kind.map(str::to_owned);
    facts.interface.master_kind = master.map(str::to_owned);
    let check = layer(&facts).map(|check| serde_json::to_string(&check).unwrap());
    assert_eq!(check.is_some(), words.is_some(), "{check:?}");
    assert!(check.is_none_or(|check| check.contains(words.unwrap())));
}

/// As many things wrong as can be at once.
fn ill() -> Facts {
    let mut jumbo = ethernet("wan0");
    jumbo.mtu = 9000;
    jumbo.xdp = Some(XdpProgram {
        mode: "native",
        id: Some(42),
    });
    let on = ["rx-lro", "rx-vlan-hw-parse", "rx-gro-hw", "rx-gro"].map(String::from);
    let wan = InterfaceFacts {
        interface: jumbo,
        driver: Some("mlx5_core".into()),
        offloads: Some(HashSet::from(on)),
        native_xdp: Some(true),
        xdp_name: Some("xdp_firewall".into()),
        receive_ring: Some(ReceiveRing {
            slots: 256,
            most: 4096,
        }),
        classifiers: vec![
            classifier("clsact ingress", "cil_from_netdev", Owner::Other),
            classifier("clsact ingress", "tlswhy_ingress", Owner::Tlswhy),
        ],
    };
    let lan = InterfaceFacts {
        interface: down("lan0"),
        driver: None,
        offloads: None,
        native_xdp: None,
        xdp_name: None,
        receive_ring: None,
        classifiers: Vec::new(),
    };
    Facts {
        release: "5.4.0-187-generic".into(),
        has_btf: false,
        jit: Some("0\n".into()),
        jit_harden: None,
        capabilities: Some(1 << CAP_NET_ADMIN),
        xdp: Probe::Refused("Operation not permitted (os error 1)".into()),
        classifier: Probe::Supported,
        ring_buffer: Probe::Unsupported,
        has_bpf_file_system: false,
        limits: Limits {
            locked_memory: Some(64 << 10),
            open_files: Some(64),
            available_memory: Some(100 << 20),
        },
        journald: Err(SinkError::JournalMissing {
            socket: "/run/x".into(),
        }),
        configuration: Configuration {
            file: Some("/etc/tlswhy/tlswhy.toml".into()),
            config: Config::from_file(std::path::Path::new("/nonexistent/tlswhy.toml")),
        },
        interfaces: Ok(Interfaces {
            found: vec![wan, lan],
            missing: vec!["lan9".into()],
            unreadable: vec!["gre1".into()],
        }),
    }
}

#[test]
fn a_healthy_machine() {
    let report = Report::new(all(&healthy()));
    assert_eq!(report.state, State::Ok);
    insta::assert_snapshot!(report.text(false));
}

#[test]
fn an_ill_machine() {
    let report = Report::new(all(&ill()));
    assert_eq!(report.state, State::Problem);
    insta::assert_snapshot!("ill_text", report.text(false));
    insta::assert_json_snapshot!("ill_json", report);
}

#[test]
fn every_problem_has_a_fix() {
    for check in all(&ill())
        .iter()
        .filter(|check| check.state == State::Problem)
    {
        assert!(check.fix.is_some(), "{check:?}");
    }
}

#[rstest]
#[case("6.1.0-18-amd64", Some((6, 1)))]
#[case("5.15.167.4-microsoft-standard-WSL2", Some((5, 15)))]
#[case("6.18-rc1", Some((6, 18)))]
#[case("unknown", None)]
#[case("", None)]
fn versions(#[case] release: &str, #[case] expected: Option<Version>) {
    assert_eq!(version(release), expected);
}

#[rstest]
#[case(ALL, State::Ok)]
#[case(1 << CAP_SYS_ADMIN | 1 << CAP_NET_ADMIN, State::Ok)]
#[case(1 << CAP_SYS_ADMIN, State::Problem)]
#[case(ALL & !(1 << CAP_PERFMON), State::Problem)]
#[case(0, State::Problem)]
fn capabilities(#[case] effective: u64, #[case] expected: State) {
    assert_eq!(privileges(Some(effective)).state, expected);
}

#[rstest]
#[case("5.7.19", State::Problem)]
#[case("5.8.0", State::Ok)]
#[case("6.1.0", State::Ok)]
fn kernels(#[case] release: &str, #[case] expected: State) {
    assert_eq!(kernel(release, version(release)).state, expected);
}

#[test]
fn an_older_kernel_uses_clsact_and_that_is_no_fault() {
    assert_eq!(egress(Some((6, 5))).state, State::Ok);
    assert!(egress(Some((6, 5))).detail.starts_with("clsact"));
    assert_eq!(egress(Some((6, 6))).detail, "TCX");
}

#[test]
fn a_refusal_is_a_problem_of_its_own_only_with_the_privileges() {
    let refused = || Probe::Refused("Operation not permitted (os error 1)".into());
    let state = |capabilities| {
        let facts = Facts {
            xdp: refused(),
            capabilities: Some(capabilities),
            ..healthy()
        };
        let checks = all(&facts);
        checks
            .into_iter()
            .find(|check| check.name == "xdp-programs")
            .map(|check| check.state)
    };
    assert_eq!(state(ALL), Some(State::Problem));
    assert_eq!(state(0), Some(State::Warning));
}

#[test]
fn a_running_agents_own_programs_are_no_fault() {
    let mut facts = healthy();
    let interfaces = facts.interfaces.as_mut().unwrap();
    let lan = &mut interfaces.found[0];
    lan.interface.xdp = Some(XdpProgram {
        mode: "native",
        id: Some(7),
    });
    lan.xdp_name = Some("tlswhy_xdp".into());
    lan.classifiers = vec![
        classifier("TCX egress", "tlswhy_egress (id 8)", Owner::Tlswhy),
        classifier("TCX egress", "cil_to_netdev (id 3)", Owner::Other),
    ];
    let report = Report::new(all(&facts));
    assert_eq!(report.state, State::Ok, "{}", report.text(false));
    assert!(report.text(false).contains("ingress by native XDP"));
    assert!(
        report
            .text(false)
            .contains("cil_to_netdev (id 3) on TCX egress: tlswhy runs before")
    );
}

#[rstest]
#[case(Some(false), "ingress by TCX: the driver does not support native XDP")]
#[case(
    None,
    "ingress by native XDP if the driver supports it, otherwise by TCX"
)]
fn the_mode_follows_the_driver(#[case] native_xdp: Option<bool>, #[case] expected: &str) {
    let mut facts = healthy();
    let lan = &mut facts.interfaces.as_mut().unwrap().found[0];
    lan.native_xdp = native_xdp;
    assert_eq!(xdp_mode(lan, Some((6, 18))).detail, expected);
}

#[test]
fn a_ring_that_cannot_be_larger_is_large_enough() {
    let mut facts = healthy();
    let lan = &mut facts.interfaces.as_mut().unwrap().found[0];
    lan.receive_ring = Some(ReceiveRing {
        slots: 256,
        most: 256,
    });
    assert_eq!(receive_ring(lan).unwrap().state, State::Ok);
}

#[test]
fn hardening_against_root_costs() {
    assert_eq!(jit(Some("1\n"), Some("2\n")).state, State::Warning);
    assert_eq!(jit(Some("1\n"), Some("1\n")).state, State::Ok);
}

#[test]
fn an_interface_that_is_not_there_is_a_problem() {
    let missing = InterfaceError::Missing {
        name: "lan9".into(),
    };
    let report = Report::new(all(&Facts {
        interfaces: Err(missing),
        ..healthy()
    }));
    assert_eq!(report.state, State::Problem);
    assert!(report.text(false).contains("lan9"));
}
