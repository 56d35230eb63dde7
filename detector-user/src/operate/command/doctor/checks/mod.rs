//! What the facts mean for `tlswhy run`: pure functions, so that any machine can be tried.

mod interface;

use super::facts::{Configuration, Facts, Limits, Probe};
use super::report::{Check, State};
use crate::operate::config::Settings;

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
        Ok(interfaces) => checks.extend(interface::each(interfaces, version)),
        Err(error) => checks.push(interface::none(error)),
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

#[cfg(test)]
mod tests;
