//! What this machine is like, gathered without changing anything.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{is_map_supported, is_program_supported};

use super::offloads;
use crate::interfaces::{self, Choice, Interface, InterfaceError};
use crate::sink::{DEFAULT_SOCKET, Journald, SinkError};

/// All that the checks look at.
#[derive(Debug)]
pub(super) struct Facts {
    /// As `uname -r` says, such as `6.1.0-18-amd64`.
    pub(super) release: String,
    pub(super) has_btf: bool,
    /// The contents of `net.core.bpf_jit_enable`; only root may read it.
    pub(super) jit: Option<String>,
    /// The effective capabilities, a bit each.
    pub(super) capabilities: Option<u64>,
    pub(super) xdp: Probe,
    pub(super) classifier: Probe,
    pub(super) ring_buffer: Probe,
    pub(super) journald: Result<(), SinkError>,
    pub(super) interfaces: Result<Vec<InterfaceFacts>, InterfaceError>,
}

/// Whether the kernel took a tiny program or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    Supported,
    Unsupported,
    /// It could not be tried; the system's words.
    Refused(String),
}

/// What is known of an interface.
#[derive(Debug)]
pub(super) struct InterfaceFacts {
    pub(super) interface: Interface,
    pub(super) driver: Option<String>,
    /// The kernel's names of the offloads that are on; none when it does not say.
    pub(super) offloads: Option<HashSet<String>>,
}

impl Facts {
    /// Looks at this machine and at the interfaces called `names`, or those `run` would watch.
    pub(super) fn gather(names: &[String]) -> Self {
        Self {
            release: release(),
            has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            jit: fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok(),
            capabilities: fs::read_to_string("/proc/self/status")
                .ok()
                .and_then(effective),
            xdp: probe(is_program_supported(ProgramType::Xdp)),
            classifier: probe(is_program_supported(ProgramType::SchedClassifier)),
            ring_buffer: probe(is_map_supported(MapType::RingBuf)),
            journald: Journald::open(DEFAULT_SOCKET).map(drop),
            interfaces: interfaces::choose(&interfaces::named(names))
                .and_then(Choice::whole)
                .map(|chosen| chosen.into_iter().map(InterfaceFacts::gather).collect()),
        }
    }
}

impl InterfaceFacts {
    fn gather(interface: Interface) -> Self {
        let driver = fs::read_link(format!("/sys/class/net/{}/device/driver", interface.name))
            .ok()
            .and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()))
            .or_else(|| interface.kind.clone());
        let offloads = offloads::active(&interface.name).ok();
        Self {
            interface,
            driver,
            offloads,
        }
    }
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

/// `CapEff` of a process's status.
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
    fn a_refusal_keeps_the_systems_words() {
        let error = std::io::Error::from_raw_os_error(libc::EPERM);
        assert_eq!(
            probe(Err(error)),
            Probe::Refused("Operation not permitted (os error 1)".into())
        );
    }
}
