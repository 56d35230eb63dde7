//! What the facts mean for `tlswhy run`: pure functions, so that any machine can be tried.

use super::facts::{Facts, InterfaceFacts, Probe};
use super::report::{Check, State};
use crate::interfaces::InterfaceError;

/// Ring buffers, which everything the kernel sees travels by.
const OLDEST: Version = (5, 8);
/// XDP on frames of more than one buffer: jumbo frames, coalesced ones.
const XDP_FRAGMENTS: Version = (5, 18);
/// TCX; before it, clsact does the same by an older way.
const TCX: Version = (6, 6);

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

type Version = (u32, u32);

/// Every check, the machine's first.
pub(super) fn all(facts: &Facts) -> Vec<Check> {
    let version = version(&facts.release);
    let privileges = privileges(facts.capabilities);
    let may_try = privileges.state != State::Problem;
    let probed = |name, what, probe| probed(name, what, probe, may_try);
    let mut checks = vec![
        kernel(&facts.release, version),
        btf(facts.has_btf),
        jit(facts.jit.as_deref()),
        privileges,
        probed("xdp-programs", "XDP programs", &facts.xdp),
        probed("tc-programs", "classifier programs", &facts.classifier),
        probed("ring-buffer", "ring buffers", &facts.ring_buffer),
        fragments(version),
        egress(version),
        journald(facts),
    ];
    match &facts.interfaces {
        Ok(interfaces) => checks.extend(interfaces.iter().flat_map(interface)),
        Err(error) => checks.push(no_interface(error)),
    }
    checks
}

/// `6.1.0-18-amd64` is 6.1.
fn version(release: &str) -> Option<Version> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel(release: &str, version: Option<Version>) -> Check {
    match version {
        Some(version) if version >= OLDEST => Check::ok("kernel", format!("Linux {release}")),
        Some(_) => Check::problem(
            "kernel",
            format!("Linux {release} is older than {}.{}", OLDEST.0, OLDEST.1),
        )
        .mended_by("boot a newer kernel; captures can be read here: tlswhy pcap FILE"),
        None => Check::warning(
            "kernel",
            format!("cannot tell the version of Linux {release:?}"),
        ),
    }
}

fn btf(has_btf: bool) -> Check {
    if has_btf {
        Check::ok("btf", "the kernel describes its types")
    } else {
        Check::warning(
            "btf",
            "the kernel does not describe its types: no /sys/kernel/btf/vmlinux",
        )
        .mended_by("boot a kernel built with CONFIG_DEBUG_INFO_BTF=y")
    }
}

fn jit(setting: Option<&str>) -> Check {
    match setting.map(str::trim) {
        Some("0") => Check::warning("jit", "eBPF programs are interpreted: packets cost more")
            .mended_by("sysctl -w net.core.bpf_jit_enable=1"),
        Some(_) => Check::ok("jit", "eBPF programs run as machine code"),
        None => Check::warning("jit", "cannot read net.core.bpf_jit_enable")
            .mended_by("sudo tlswhy doctor"),
    }
}

fn privileges(effective: Option<u64>) -> Check {
    const MEND: &str = "run it as root: sudo tlswhy run";
    let Some(effective) = effective else {
        return Check::warning("privileges", "cannot read /proc/self/status").mended_by(MEND);
    };
    let has = |capability: u32| effective & (1 << capability) != 0;
    // What CAP_BPF and CAP_PERFMON allow was CAP_SYS_ADMIN's before, and still is.
    let wanted = [
        ("CAP_BPF", has(CAP_BPF) || has(CAP_SYS_ADMIN)),
        ("CAP_NET_ADMIN", has(CAP_NET_ADMIN)),
        ("CAP_PERFMON", has(CAP_PERFMON) || has(CAP_SYS_ADMIN)),
    ];
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|&(_, has)| !has)
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        Check::ok("privileges", "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")
    } else {
        Check::problem("privileges", format!("missing {}", missing.join(", "))).mended_by(MEND)
    }
}

fn probed(name: &'static str, what: &str, probe: &Probe, may_try: bool) -> Check {
    match probe {
        Probe::Supported => Check::ok(name, format!("the kernel takes {what}")),
        Probe::Unsupported => Check::problem(name, format!("the kernel has no {what}"))
            .mended_by("boot a kernel with CONFIG_BPF_SYSCALL=y and CONFIG_NET_CLS_BPF=y"),
        // One cause, one problem: the check of the privileges says what mends it.
        Probe::Refused(_) if !may_try => {
            Check::warning(name, "cannot be tried without the privileges above")
        }
        Probe::Refused(why) => Check::problem(name, format!("the bpf system call failed: {why}"))
            .mended_by("run it as root, outside containers and sandboxes: sudo tlswhy run"),
    }
}

fn fragments(version: Option<Version>) -> Check {
    if version.is_none_or(|version| version >= XDP_FRAGMENTS) {
        Check::ok("xdp-fragments", "XDP takes frames of several buffers")
    } else {
        Check::warning(
            "xdp-fragments",
            "clsact watches the ingress: XDP takes frames of several buffers from Linux 5.18 on",
        )
    }
}

fn egress(version: Option<Version>) -> Check {
    if version.is_none_or(|version| version >= TCX) {
        Check::ok("egress", "TCX")
    } else {
        Check::ok("egress", "clsact, as there is no TCX before Linux 6.6")
    }
}

fn journald(facts: &Facts) -> Check {
    match &facts.journald {
        Ok(()) => Check::ok("journald", "takes entries"),
        Err(error) => Check::warning("journald", error.to_string())
            .mended_by("systemctl start systemd-journald"),
    }
}

fn no_interface(error: &InterfaceError) -> Check {
    let check = Check::problem("interface", error.to_string());
    match error {
        InterfaceError::NoneUp => check.mended_by("ip link set dev IF up"),
        InterfaceError::Missing { .. } | InterfaceError::Unreadable { .. } => {
            check.mended_by("ip -brief link")
        }
        InterfaceError::List(_) => check,
    }
}

fn interface(facts: &InterfaceFacts) -> Vec<Check> {
    let name = &facts.interface.name;
    let mut checks = vec![link(facts)];
    checks.extend(xdp_program(facts));
    checks.extend(offloads(facts));
    checks.into_iter().map(|check| check.on(name)).collect()
}

fn link(facts: &InterfaceFacts) -> Check {
    let interface = &facts.interface;
    let driver = facts.driver.as_deref().unwrap_or("unknown driver");
    let about = format!("{driver}, MTU {}", interface.mtu);
    if !interface.is_up() {
        Check::warning("interface", format!("{about}, down"))
            .mended_by(format!("ip link set dev {} up", interface.name))
    } else if interface.has_link() {
        Check::ok("interface", format!("{about}, up"))
    } else {
        Check::warning(
            "interface",
            format!("{about}, up but without a link: is it plugged in?"),
        )
    }
}

fn xdp_program(facts: &InterfaceFacts) -> Option<Check> {
    let program = facts.interface.xdp?;
    let which = program
        .id
        .map(|id| format!(" (id {id}, {})", program.mode))
        .unwrap_or_default();
    let detail =
        format!("an XDP program{which} is on it: tlswhy leaves it there and watches by TC");
    let check = Check::warning("xdp-program", detail);
    // Taking it off may cut off whoever put it there: the command only shows whose it is.
    Some(match program.id {
        Some(id) => check.mended_by(format!("bpftool prog show id {id}")),
        None => check.mended_by(format!(
            "ip -details link show dev {}",
            facts.interface.name
        )),
    })
}

fn offloads(facts: &InterfaceFacts) -> Vec<Check> {
    let name = &facts.interface.name;
    let Some(on) = &facts.offloads else {
        let check = Check::warning("offloads", "the kernel does not say which are on");
        return vec![check.mended_by(format!("ethtool --show-features {name}"))];
    };
    let mut checks = Vec::new();
    if on.contains("rx-lro") {
        let detail = "LRO merges segments before XDP sees them, and many drivers refuse native XDP";
        let mend = format!("ethtool --features {name} lro off");
        checks.push(Check::warning("lro", detail).mended_by(mend));
    }
    if on.contains("rx-vlan-hw-parse") {
        let detail = "VLAN tags are taken off before XDP: verdicts name no VLAN for what comes in";
        let mend = format!("ethtool --features {name} rx-vlan-offload off");
        checks.push(Check::warning("vlan-offload", detail).mended_by(mend));
    }
    checks
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rstest::rstest;

    use super::*;
    use crate::doctor::report::Report;
    use crate::interfaces::XdpProgram;
    use crate::interfaces::tests::{down, ethernet};
    use crate::sink::SinkError;

    const ALL: u64 = 1 << CAP_BPF | 1 << CAP_NET_ADMIN | 1 << CAP_PERFMON;

    fn healthy() -> Facts {
        let interface = InterfaceFacts {
            interface: ethernet("lan0"),
            driver: Some("ixgbe".into()),
            offloads: Some(HashSet::new()),
        };
        Facts {
            release: "6.18.44".into(),
            has_btf: true,
            jit: Some("1\n".into()),
            capabilities: Some(ALL),
            xdp: Probe::Supported,
            classifier: Probe::Supported,
            ring_buffer: Probe::Supported,
            journald: Ok(()),
            interfaces: Ok(vec![interface]),
        }
    }

    /// As many things wrong as can be at once.
    fn ill() -> Facts {
        let mut jumbo = ethernet("wan0");
        jumbo.mtu = 9000;
        jumbo.xdp = Some(XdpProgram {
            mode: "native",
            id: Some(42),
        });
        let on = ["rx-lro", "rx-vlan-hw-parse", "rx-gro"].map(String::from);
        let wan = InterfaceFacts {
            interface: jumbo,
            driver: Some("mlx5_core".into()),
            offloads: Some(HashSet::from(on)),
        };
        let lan = InterfaceFacts {
            interface: down("lan0"),
            driver: None,
            offloads: None,
        };
        Facts {
            release: "5.4.0-187-generic".into(),
            has_btf: false,
            jit: Some("0\n".into()),
            capabilities: Some(1 << CAP_NET_ADMIN),
            xdp: Probe::Refused("Operation not permitted (os error 1)".into()),
            classifier: Probe::Supported,
            ring_buffer: Probe::Unsupported,
            journald: Err(SinkError::JournalMissing {
                socket: "/run/x".into(),
            }),
            interfaces: Ok(vec![wan, lan]),
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
    fn what_is_not_ok_says_what_mends_it_or_what_to_look_at() {
        for check in all(&ill())
            .iter()
            .filter(|check| check.state == State::Problem)
        {
            assert!(check.mend.is_some(), "{check:?}");
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
}
