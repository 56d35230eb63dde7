//! The checks: pure functions from facts to findings, so that any machine can be tested.

mod interface;

use super::facts::{Configuration, Facts, Limits, Probe};
use super::report::{Check, State};
use crate::operate::config::Settings;

/// Ring buffers, which carry all observations.
const OLDEST: Version = (5, 8);
/// XDP on frames of more than one buffer: jumbo frames, coalesced ones.
const XDP_FRAGMENTS: Version = (5, 18);
/// TCX; before it, clsact filters serve the same purpose.
const TCX: Version = (6, 6);
/// Maps counted for the control group, no longer as locked memory.
const MAPS_UNLOCKED: Version = (5, 11);

/// File descriptors of an agent with a few interfaces, sinks and readers of its metrics.
const OPEN_FILES: u64 = 256;
/// Kernel memory per tracked connection on average, bytes (docs/performance.md).
const BYTES_PER_FLOW: u64 = 256;

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

type Version = (u32, u32);

/// Runs every check, the machine's first.
pub(super) fn all(facts: &Facts) -> Vec<Check> {
    let version = version(&facts.release);
    let privileges = privileges(facts.capabilities);
    let may_try = privileges.state != State::Problem;
    let probed = |name, kind, probe| probed(name, kind, probe, may_try);
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
        Ok(interfaces) => checks.extend(interface::each(interfaces, version)),
        Err(error) => checks.push(interface::none(error)),
    }
    checks
}

/// Whether a kernel has a feature of `first`. An unknown version counts as new.
fn is_since(version: Option<Version>, first: Version) -> bool {
    version.is_none_or(|version| version >= first)
}

/// Parses a release: `6.1.0-18-amd64` is 6.1.
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
        .fixed_by("boot Linux 5.8 or later; captures can be read here: tlswhy pcap FILE"),
        None => Check::warning("kernel", format!("unknown version of Linux: {release:?}")),
    }
}

fn btf(has_btf: bool) -> Check {
    if has_btf {
        Check::ok("btf", "BTF of the kernel is available")
    } else {
        Check::warning(
            "btf",
            "no BTF of the kernel: /sys/kernel/btf/vmlinux does not exist",
        )
        .fixed_by("boot a kernel built with CONFIG_DEBUG_INFO_BTF=y")
    }
}

fn jit(setting: Option<&str>, harden: Option<&str>) -> Check {
    match (setting.map(str::trim), harden.map(str::trim)) {
        (Some("0"), _) => Check::warning(
            "jit",
            "JIT is off: eBPF programs are interpreted, and packets cost more",
        )
        .fixed_by("sysctl -w net.core.bpf_jit_enable=1"),
        (Some(_), Some("2")) => Check::warning(
            "jit",
            "JIT hardening applies to root: constants are blinded, and packets cost more",
        )
        .fixed_by("sysctl -w net.core.bpf_jit_harden=1"),
        (Some(_), _) => Check::ok("jit", "eBPF programs are compiled"),
        (None, _) => Check::warning("jit", "cannot read net.core.bpf_jit_enable")
            .fixed_by("sudo tlswhy doctor"),
    }
}

fn privileges(effective: Option<u64>) -> Check {
    const FIX: &str = "run as root: sudo tlswhy run";
    let Some(effective) = effective else {
        return Check::warning("privileges", "cannot read /proc/self/status").fixed_by(FIX);
    };
    let has = |capability: u32| effective & (1 << capability) != 0;
    // CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON.
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
        Check::problem("privileges", format!("missing {}", missing.join(", "))).fixed_by(FIX)
    }
}

fn probed(name: &'static str, kind: &str, probe: &Probe, may_try: bool) -> Check {
    match probe {
        Probe::Supported => Check::ok(name, format!("the kernel supports {kind}")),
        Probe::Unsupported => Check::problem(name, format!("the kernel does not support {kind}"))
            .fixed_by("boot a kernel with CONFIG_BPF_SYSCALL=y and CONFIG_NET_CLS_BPF=y"),
        // One cause, one problem: the check of privileges has the fix.
        Probe::Refused(_) if !may_try => {
            Check::warning(name, "not tested: requires the privileges above")
        }
        Probe::Refused(why) => Check::problem(name, format!("the bpf system call failed: {why}"))
            .fixed_by("run as root, outside containers and sandboxes: sudo tlswhy run"),
    }
}

fn fragments(version: Option<Version>) -> Check {
    if is_since(version, XDP_FRAGMENTS) {
        Check::ok("xdp-fragments", "XDP supports frames of several buffers")
    } else {
        Check::warning(
            "xdp-fragments",
            "ingress by clsact: XDP on frames of several buffers requires Linux 5.18",
        )
    }
}

fn egress(version: Option<Version>) -> Check {
    if is_since(version, TCX) {
        Check::ok("egress", "TCX")
    } else {
        Check::ok("egress", "clsact: TCX requires Linux 6.6")
    }
}

fn pins(has_bpf_file_system: bool) -> Check {
    if has_bpf_file_system {
        Check::ok("bpf-fs", "programs keep running while the agent restarts")
    } else {
        Check::warning(
            "bpf-fs",
            "/sys/fs/bpf is not a BPF filesystem: nothing is watched while the agent restarts",
        )
        .fixed_by("mount -t bpf bpf /sys/fs/bpf")
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

/// Checks the limit on locked memory, of which the tables are a part before Linux 5.11; with
/// CAP_SYS_RESOURCE the agent lifts the limit.
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
        "{} KiB of memory may be locked, and tables count as locked before Linux 5.11",
        limit >> 10
    );
    Some(Check::problem("locked-memory", detail).fixed_by("ulimit -l unlimited"))
}

fn open_files(limits: &Limits) -> Option<Check> {
    let limit = limits.open_files?;
    Some(if limit >= OPEN_FILES {
        Check::ok("open-files", format!("limit of {limit}"))
    } else {
        Check::warning(
            "open-files",
            format!("limit of {limit}: several interfaces or readers of metrics need more"),
        )
        .fixed_by(format!("ulimit -n {}", OPEN_FILES.next_multiple_of(1024)))
    })
}

fn memory(limits: &Limits, settings: &Settings) -> Option<Check> {
    let available = limits.available_memory?;
    let rings = u64::from(settings.observation_ring) + u64::from(settings.handshake_ring);
    let tables = u64::from(settings.flows) * BYTES_PER_FLOW + rings;
    let detail = format!(
        "tables and rings take about {} MiB; {} MiB are available",
        tables >> 20,
        available >> 20
    );
    Some(if tables <= available / 2 {
        Check::ok("memory", detail)
    } else {
        Check::warning("memory", detail)
            .fixed_by("lower tables.flows in /etc/tlswhy/tlswhy.toml, or add memory")
    })
}

fn configuration(configuration: &Configuration) -> Check {
    let file = configuration.file.as_ref().map(|file| file.display());
    match (&configuration.config, file) {
        (Ok(_), None) => Check::ok("configuration", "no file: the defaults are in effect"),
        (Ok(_), Some(file)) => Check::ok("configuration", format!("{file} is valid")),
        (Err(error), file) => {
            let message = error.to_string();
            let first = message.lines().next().unwrap_or_default();
            let check = Check::problem("configuration", first);
            match file {
                Some(file) => check.fixed_by(format!("tlswhy check-config {file}")),
                None => check,
            }
        }
    }
}

fn journald(facts: &Facts) -> Check {
    match &facts.journald {
        Ok(()) => Check::ok("journald", "accepts entries"),
        Err(error) => Check::warning("journald", error.to_string())
            .fixed_by("systemctl start systemd-journald"),
    }
}

#[cfg(test)]
mod tests;
