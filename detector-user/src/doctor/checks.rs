//! What the facts mean for `tlswhy run`: pure functions, so that any machine can be tried.

use super::classifiers::Owner;
use super::facts::{Configuration, Facts, InterfaceFacts, Interfaces, Limits, Probe};
use super::report::{Check, State};
use crate::config::Settings;
use crate::interfaces::{Framing, InterfaceError};

/// Ring buffers, which everything the kernel sees travels by.
const OLDEST: Version = (5, 8);
/// XDP on frames of more than one buffer: jumbo frames, coalesced ones.
const XDP_FRAGMENTS: Version = (5, 18);
/// TCX; before it, clsact does the same by an older way.
const TCX: Version = (6, 6);
/// Maps counting for the control group, no longer as locked memory.
const MAPS_UNLOCKED: Version = (5, 11);

/// Descriptors that an agent with a few interfaces, sinks and readers of its metrics comes to.
const OPEN_FILES: u64 = 256;
/// Kernel memory of one connection followed, on average (docs/performance.md).
const BYTES_PER_FLOW: u64 = 256;
/// A smaller receive ring overflows at a burst that a gateway meets.
const RECEIVE_SLOTS: u32 = 512;

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
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
        jit(facts.jit.as_deref(), facts.jit_harden.as_deref()),
        privileges,
        probed("xdp-programs", "XDP programs", &facts.xdp),
        probed("tc-programs", "classifier programs", &facts.classifier),
        probed("ring-buffer", "ring buffers", &facts.ring_buffer),
        fragments(version),
        egress(version),
    ];
    if is_since(version, TCX) {
        checks.push(pins(facts.has_bpf_file_system));
    }
    checks.extend(limits(&facts.limits, facts, version));
    checks.push(journald(facts));
    checks.push(configuration(&facts.configuration));
    match &facts.interfaces {
        Ok(interfaces) => checks.extend(each_interface(interfaces, version)),
        Err(error) => checks.push(no_interface(error)),
    }
    checks
}

/// An unknown version counts as new.
fn is_since(version: Option<Version>, first: Version) -> bool {
    version.is_none_or(|version| version >= first)
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

fn jit(setting: Option<&str>, harden: Option<&str>) -> Check {
    match (setting.map(str::trim), harden.map(str::trim)) {
        (Some("0"), _) => Check::warning("jit", "eBPF programs are interpreted: packets cost more")
            .mended_by("sysctl -w net.core.bpf_jit_enable=1"),
        (Some(_), Some("2")) => Check::warning(
            "jit",
            "constants are blinded in programs of root's, too: packets cost more",
        )
        .mended_by("sysctl -w net.core.bpf_jit_harden=1"),
        (Some(_), _) => Check::ok("jit", "eBPF programs run as machine code"),
        (None, _) => Check::warning("jit", "cannot read net.core.bpf_jit_enable")
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
    if is_since(version, XDP_FRAGMENTS) {
        Check::ok("xdp-fragments", "XDP takes frames of several buffers")
    } else {
        Check::warning(
            "xdp-fragments",
            "clsact watches the ingress: XDP takes frames of several buffers from Linux 5.18 on",
        )
    }
}

fn egress(version: Option<Version>) -> Check {
    if is_since(version, TCX) {
        Check::ok("egress", "TCX")
    } else {
        Check::ok("egress", "clsact, as there is no TCX before Linux 6.6")
    }
}

fn pins(has_bpf_file_system: bool) -> Check {
    if has_bpf_file_system {
        Check::ok("bpf-fs", "programs can go on while the agent restarts")
    } else {
        Check::warning(
            "bpf-fs",
            "/sys/fs/bpf is no BPF file system: nothing is watched while the agent restarts",
        )
        .mended_by("mount -t bpf bpf /sys/fs/bpf")
    }
}

fn limits(limits: &Limits, facts: &Facts, version: Option<Version>) -> Vec<Check> {
    let settings = facts.configuration.settings();
    vec![
        locked_memory(limits, facts.capabilities, version),
        open_files(limits),
        memory(limits, &settings),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Before Linux 5.11 the tables count as locked memory; the agent lifts that limit where it may.
fn locked_memory(
    limits: &Limits,
    capabilities: Option<u64>,
    version: Option<Version>,
) -> Option<Check> {
    let may_lift = capabilities.is_some_and(|has| has & (1 << CAP_SYS_RESOURCE) != 0);
    if is_since(version, MAPS_UNLOCKED) || may_lift {
        return None;
    }
    let limit = limits.locked_memory?;
    let detail = format!(
        "{} KiB may be locked, and tables count as locked before Linux 5.11",
        limit >> 10
    );
    Some(Check::problem("locked-memory", detail).mended_by("ulimit -l unlimited"))
}

fn open_files(limits: &Limits) -> Option<Check> {
    let limit = limits.open_files?;
    Some(if limit >= OPEN_FILES {
        Check::ok("open-files", format!("{limit} may be open"))
    } else {
        Check::warning(
            "open-files",
            format!("{limit} may be open: some interfaces or readers of metrics take more"),
        )
        .mended_by(format!("ulimit -n {}", OPEN_FILES.next_multiple_of(1024)))
    })
}

fn memory(limits: &Limits, settings: &Settings) -> Option<Check> {
    let available = limits.available_memory?;
    let rings = u64::from(settings.observation_ring) + u64::from(settings.handshake_ring);
    let tables = u64::from(settings.flows) * BYTES_PER_FLOW + rings;
    let detail = format!(
        "tables and rings take about {} of {} MiB that are available",
        tables >> 20,
        available >> 20
    );
    Some(if tables <= available / 2 {
        Check::ok("memory", detail)
    } else {
        Check::warning("memory", detail).mended_by(
            "lower tables.flows in /etc/tlswhy/tlswhy.toml, or give the machine more memory",
        )
    })
}

fn configuration(configuration: &Configuration) -> Check {
    let file = configuration.file.as_ref().map(|file| file.display());
    match (&configuration.config, file) {
        (Ok(_), None) => Check::ok("configuration", "none: the defaults are in effect"),
        (Ok(_), Some(file)) => Check::ok("configuration", format!("{file} is in order")),
        (Err(error), file) => {
            let said = error.to_string();
            let first = said.lines().next().unwrap_or_default();
            let check = Check::problem("configuration", first);
            match file {
                Some(file) => check.mended_by(format!("tlswhy check-config {file}")),
                None => check,
            }
        }
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

fn each_interface(interfaces: &Interfaces, version: Option<Version>) -> Vec<Check> {
    let found = interfaces.found.iter();
    let mut checks: Vec<Check> = found.flat_map(|it| interface(it, version)).collect();
    for name in &interfaces.missing {
        let check = Check::warning("interface", "there is no such interface yet");
        checks.push(check.on(name).mended_by("ip -brief link"));
    }
    for name in &interfaces.unreadable {
        let check = Check::problem(
            "interface",
            "neither Ethernet nor bare IP packets: cannot be watched",
        );
        checks.push(check.on(name).mended_by("ip -brief link"));
    }
    checks
}

fn interface(facts: &InterfaceFacts, version: Option<Version>) -> Vec<Check> {
    let name = &facts.interface.name;
    let mut checks = vec![link(facts), xdp_mode(facts, version)];
    checks.extend(xdp_program(facts));
    checks.extend(classifiers(facts));
    checks.extend(offloads(facts));
    checks.extend(receive_ring(facts));
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

/// How what comes in is seen, and why not by XDP.
fn xdp_mode(facts: &InterfaceFacts, version: Option<Version>) -> Check {
    let interface = &facts.interface;
    let instead = if is_since(version, TCX) {
        "TCX"
    } else {
        "clsact"
    };
    let why = if interface.framing() != Some(Framing::Ethernet) {
        "it has no Ethernet frames"
    } else if !interface.is_hardware() {
        "native XDP would copy the frames of a virtual interface"
    } else if !is_since(version, XDP_FRAGMENTS) {
        "XDP takes frames of several buffers from Linux 5.18 on"
    } else if interface.xdp.is_some() && !facts.has_own_xdp() {
        "another XDP program is on it"
    } else {
        match facts.native_xdp {
            Some(true) => return Check::ok("xdp-mode", "ingress by native XDP"),
            Some(false) => "the driver has no native XDP",
            None => {
                let tried =
                    format!("ingress by native XDP if the driver takes it, else by {instead}");
                return Check::ok("xdp-mode", tried);
            }
        }
    };
    Check::ok("xdp-mode", format!("ingress by {instead}: {why}"))
}

fn xdp_program(facts: &InterfaceFacts) -> Option<Check> {
    let program = facts.interface.xdp?;
    let name = facts.xdp_name.as_deref().unwrap_or("an XDP program");
    let which = program
        .id
        .map(|id| format!(" (id {id}, {})", program.mode))
        .unwrap_or_default();
    if facts.has_own_xdp() {
        let detail = format!("{name}{which}, which is tlswhy's own, is on it");
        return Some(Check::ok("xdp-program", detail));
    }
    let detail = format!(
        "{name}{which} is on it: tlswhy leaves it there, watches by TC, and sees what that passes"
    );
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

/// Programs at the classifier hooks. With TCX tlswhy goes before those that are there; one that is
/// put before it later may hide packets from it.
fn classifiers(facts: &InterfaceFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut hidden: Vec<String> = Vec::new();
    let of = |owner| facts.classifiers.iter().filter(move |it| it.owner == owner);
    for own in of(Owner::Tlswhy) {
        let mut on_hook = facts.classifiers.iter().filter(|it| it.hook == own.hook);
        if let Some(first) = on_hook.next().filter(|first| first.owner == Owner::Other) {
            hidden.push(format!("{} on {}", first.name, first.hook));
        }
    }
    let others: Vec<String> = of(Owner::Other)
        .map(|it| format!("{} on {}", it.name, it.hook))
        .collect();
    if !hidden.is_empty() {
        let detail = format!(
            "{} comes before tlswhy: what it does not let through is not seen",
            hidden.join(", ")
        );
        let check = Check::warning("tc-programs-there", detail);
        checks.push(
            check.mended_by("systemctl stop tlswhy && tlswhy detach && systemctl start tlswhy"),
        );
    } else if !others.is_empty() {
        let detail = format!("{}: tlswhy goes before", others.join(", "));
        checks.push(Check::ok("tc-programs-there", detail));
    }
    checks
}

fn receive_ring(facts: &InterfaceFacts) -> Option<Check> {
    let ring = facts.receive_ring?;
    let detail = format!("receive rings have {} of {} slots", ring.slots, ring.most);
    Some(if ring.slots >= RECEIVE_SLOTS.min(ring.most) {
        Check::ok("ring-size", detail)
    } else {
        let why = "a burst may be dropped before anybody sees it";
        let name = &facts.interface.name;
        Check::warning("ring-size", format!("{detail}: {why}"))
            .mended_by(format!("ethtool --set-ring {name} rx {}", ring.most))
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
    if on.contains("rx-gro-hw") {
        let detail = "GRO-HW merges segments before XDP sees them, and some drivers then refuse \
                      native XDP";
        let mend = format!("ethtool --features {name} rx-gro-hw off");
        checks.push(Check::warning("gro-hw", detail).mended_by(mend));
    }
    // A classifier is given the tags that were taken off.
    if on.contains("rx-vlan-hw-parse") && facts.interface.is_hardware() {
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
    use crate::config::Config;
    use crate::doctor::classifiers::Classifier;
    use crate::doctor::report::Report;
    use crate::ethtool::ReceiveRing;
    use crate::interfaces::XdpProgram;
    use crate::interfaces::tests::{down, ethernet};
    use crate::sink::SinkError;

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
                .contains("cil_to_netdev (id 3) on TCX egress: tlswhy goes before")
        );
    }

    #[rstest]
    #[case(Some(false), "ingress by TCX: the driver has no native XDP")]
    #[case(None, "ingress by native XDP if the driver takes it, else by TCX")]
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
}
