//! The facts about this machine, gathered without changing anything.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use aya::maps::MapType;
use aya::programs::{ProgramType, loaded_programs};
use aya::sys::{is_map_supported, is_program_supported};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::classifiers::{self, Classifier, Owner};
use super::xdp_features::has_native_xdp;
use crate::host::ethtool::{self, ReceiveRing};
use crate::host::interfaces::Interface;
use crate::host::namespace;
use crate::operate::cli::DoctorArgs;
use crate::operate::config::defaults::DEFAULT_FILE;
use crate::operate::config::{Config, ConfigError, Settings};
use crate::outlet::sink::{DEFAULT_SOCKET, Journald, SinkError};
use crate::source::tap::selection::{self, Choice, InterfaceError, Wanted};

/// The input of the checks.
#[derive(Debug)]
pub(super) struct Facts {
    /// Kernel release of `uname -r`, such as `6.1.0-18-amd64`.
    pub(super) release: String,
    pub(super) has_btf: bool,
    /// The contents of `net.core.bpf_jit_enable`; only root may read it.
    pub(super) jit: Option<String>,
    /// The contents of `net.core.bpf_jit_harden`, likewise.
    pub(super) jit_harden: Option<String>,
    /// The effective capabilities, a bit each.
    pub(super) capabilities: Option<u64>,
    pub(super) xdp: Probe,
    pub(super) classifier: Probe,
    pub(super) ring_buffer: Probe,
    pub(super) has_bpf_file_system: bool,
    pub(super) limits: Limits,
    pub(super) journald: Result<(), SinkError>,
    pub(super) configuration: Configuration,
    pub(super) interfaces: Result<Interfaces, InterfaceError>,
}

/// The kernel's answer to a tiny program or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    Supported,
    Unsupported,
    /// The attempt failed; the system's error.
    Refused(String),
}

/// The resource limits of this process, and so of an agent that is started in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// Maximum locked memory, bytes; `None` if unlimited. Maps counted as such before Linux 5.11.
    pub(super) locked_memory: Option<u64>,
    pub(super) open_files: Option<u64>,
    /// Memory that is available without swapping, bytes.
    pub(super) available_memory: Option<u64>,
}

/// The configuration that `run` would read.
#[derive(Debug)]
pub(super) struct Configuration {
    /// `None` if there is no file and none was named.
    pub(super) file: Option<PathBuf>,
    pub(super) config: Result<Config, ConfigError>,
}

impl Configuration {
    fn gather(named: Option<&Path>) -> Self {
        let default = Path::new(DEFAULT_FILE);
        let file = named.or_else(|| default.exists().then_some(default));
        Self {
            file: file.map(Path::to_owned),
            config: file.map_or_else(|| Ok(Config::default()), Config::from_file),
        }
    }

    /// Returns the settings in effect: the defaults if the file is invalid.
    pub(super) fn settings(&self) -> Settings {
        let config = self.config.as_ref();
        config.map_or_else(|_| Settings::default(), |config| config.settings.clone())
    }
}

/// The interfaces that would be watched.
#[derive(Debug)]
pub(super) struct Interfaces {
    pub(super) found: Vec<InterfaceFacts>,
    /// Configured, but nonexistent.
    pub(super) missing: Vec<String>,
    /// Configured, but of a kind that cannot be tapped.
    pub(super) unreadable: Vec<String>,
}

/// The facts about an interface.
#[derive(Debug)]
pub(super) struct InterfaceFacts {
    pub(super) interface: Interface,
    pub(super) driver: Option<String>,
    /// The kernel's names of the offloads that are on; `None` if it does not list them.
    pub(super) offloads: Option<HashSet<String>>,
    /// Whether the driver supports native XDP; `None` if the kernel does not say.
    pub(super) native_xdp: Option<bool>,
    /// The name of the XDP program on it.
    pub(super) xdp_name: Option<String>,
    /// `None` if there is none, as on virtual interfaces.
    pub(super) receive_ring: Option<ReceiveRing>,
    pub(super) classifiers: Vec<Classifier>,
}

impl Facts {
    /// Examines this machine and the interfaces that `run` would watch.
    ///
    /// # Errors
    /// The network namespace cannot be entered.
    pub(super) fn gather(arguments: &DoctorArgs) -> anyhow::Result<Self> {
        let configuration = Configuration::gather(arguments.config.as_deref());
        let settings = configuration.settings();
        // Only the initial network namespace has them.
        let setting = |name: &str| fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok();
        let (jit, jit_harden) = (setting("bpf_jit_enable"), setting("bpf_jit_harden"));
        if let Some(name) = arguments.netns.as_ref().or(settings.netns.as_ref()) {
            namespace::enter(name)?;
        }
        let interfaces = chosen(&arguments.interfaces, &settings);
        Ok(Self {
            release: release(),
            has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            jit,
            jit_harden,
            capabilities: fs::read_to_string("/proc/self/status")
                .ok()
                .and_then(effective),
            xdp: probe(is_program_supported(ProgramType::Xdp)),
            classifier: probe(is_program_supported(ProgramType::SchedClassifier)),
            ring_buffer: probe(is_map_supported(MapType::RingBuf)),
            has_bpf_file_system: statfs("/sys/fs/bpf")
                .is_ok_and(|about| about.filesystem_type() == BPF_FS_MAGIC),
            limits: Limits::gather(),
            journald: Journald::open(DEFAULT_SOCKET).map(drop),
            configuration,
            interfaces,
        })
    }
}

/// Returns the interfaces to check. Named ones must exist; configured ones may appear later.
fn chosen(named: &[Wanted], settings: &Settings) -> Result<Interfaces, InterfaceError> {
    let choice = if named.is_empty() {
        selection::choose(&settings.interfaces)?
    } else {
        let interfaces = selection::choose(named)?.whole()?;
        Choice {
            interfaces,
            ..Choice::default()
        }
    };
    let nothing = choice.interfaces.is_empty() && choice.missing.is_empty();
    if nothing && choice.unreadable.is_empty() {
        return Err(InterfaceError::NoneUp);
    }
    Ok(Interfaces {
        found: choice
            .interfaces
            .into_iter()
            .map(InterfaceFacts::gather)
            .collect(),
        missing: choice.missing,
        unreadable: choice.unreadable,
    })
}

impl InterfaceFacts {
    fn gather(interface: Interface) -> Self {
        let driver = fs::read_link(format!("/sys/class/net/{}/device/driver", interface.name))
            .ok()
            .and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()))
            .or_else(|| interface.kind.clone());
        Self {
            driver,
            offloads: ethtool::offloads(&interface.name).ok(),
            native_xdp: has_native_xdp(interface.index).ok(),
            xdp_name: interface.xdp.and_then(|program| program_name(program.id?)),
            receive_ring: ethtool::receive_ring(&interface.name).ok(),
            classifiers: classifiers::all(&interface.name, interface.index),
            interface,
        }
    }

    /// Whether the XDP program on it is tlswhy's.
    pub(super) fn has_own_xdp(&self) -> bool {
        let name = self.xdp_name.as_deref();
        name.is_some_and(|name| classifiers::owner(name) == Owner::Tlswhy)
    }
}

fn program_name(id: u32) -> Option<String> {
    let mut programs = loaded_programs().flatten();
    let program = programs.find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

impl Limits {
    fn gather() -> Self {
        let soft = |resource| {
            let limit = getrlimit(resource).map_or(RLIM_INFINITY, |(soft, _)| soft);
            (limit != RLIM_INFINITY).then_some(limit)
        };
        Self {
            locked_memory: soft(Resource::RLIMIT_MEMLOCK),
            open_files: soft(Resource::RLIMIT_NOFILE),
            available_memory: fs::read_to_string("/proc/meminfo").ok().and_then(available),
        }
    }
}

/// Returns `MemAvailable` of /proc/meminfo in bytes.
fn available(meminfo: String) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn release() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn probe<E: std::error::Error>(answer: Result<bool, E>) -> Probe {
    match answer {
        Ok(true) => Probe::Supported,
        Ok(false) => Probe::Unsupported,
        Err(error) => {
            let mut innermost: &dyn std::error::Error = &error;
            while let Some(source) = innermost.source() {
                innermost = source;
            }
            Probe::Refused(innermost.to_string())
        }
    }
}

/// Returns `CapEff` of a process's status.
fn effective(status: String) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read() {
        let status = "Name:\ttlswhy\nCapPrm:\t0000000000000001\nCapEff:\t000000c000001000\n";
        assert_eq!(effective(status.into()), Some(1 << 39 | 1 << 38 | 1 << 12));
        assert_eq!(effective("Name:\ttlswhy\n".into()), None);
    }

    #[test]
    fn memory_is_read() {
        let meminfo = "MemTotal:       24673292 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(available(meminfo.into()), Some(1 << 20));
        assert_eq!(available("MemTotal: 5 kB\n".into()), None);
        assert!(Limits::gather().available_memory.is_some());
    }

    #[test]
    fn a_refusal_keeps_the_systems_words() {
        let error = std::io::Error::from_raw_os_error(libc::EPERM);
        assert_eq!(
            probe(Err(error)),
            Probe::Refused("Operation not permitted (os error 1)".into())
        );
    }
}
