//! Errors of making a tap, each in one line: operation, cause and fix.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use aya::EbpfError;
use aya::maps::{MapError, MapType};
use aya::programs::ProgramError;
use aya::sys::is_map_supported;

/// The reason why a tap could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// Loading or attaching needs capabilities that this process lacks.
    #[error(
        "permission denied loading or attaching eBPF programs; run as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    Privileges,
    /// The kernel is too old.
    #[error("{what} require Linux {since}; boot a newer kernel, or read captures with tlswhy pcap")]
    Kernel {
        /// The missing feature.
        what: &'static str,
        /// The first version that has it.
        since: &'static str,
    },
    /// A table could not be created.
    #[error("cannot create table {table}: {reason}; reduce --flows")]
    Memory {
        /// The map.
        table: String,
        /// The kernel's error.
        reason: io::Error,
    },
    /// The object could not be read or loaded.
    #[error("cannot load the eBPF object: {0}")]
    Object(String),
    /// The verifier, or a security module, refused a program.
    #[error("cannot load the eBPF program {program}: {reason}")]
    Program {
        /// Its name.
        program: &'static str,
        /// The last line of the verifier's log.
        reason: String,
    },
    /// An interface could not be tapped.
    #[error("cannot tap {interface} at {hook}: {reason}")]
    Attach {
        /// The interface.
        interface: String,
        /// The hook.
        hook: &'static str,
        /// The kernel's error.
        reason: String,
    },
    /// Something under the BPF file system could not be made, opened or removed.
    #[error("{} {what}: {reason}", .path.display())]
    Pins {
        /// The file or directory.
        path: PathBuf,
        /// The operation that failed.
        what: String,
        /// The system's error.
        reason: String,
    },
    /// The directory for pins is on another file system.
    #[error(
        "{} is not on a BPF filesystem; mount -t bpf bpf /sys/fs/bpf, and name a directory in it", .directory.display()
    )]
    PinsElsewhere {
        /// The directory.
        directory: PathBuf,
    },
    /// Another agent uses the pins.
    #[error(
        "another tlswhy uses {}; stop it, or name another directory with --pins", .directory.display()
    )]
    PinsTaken {
        /// The directory.
        directory: PathBuf,
    },
    /// An agent runs whose pins were to be removed.
    #[error("another tlswhy uses {}; stop it first", .directory.display())]
    PinsInUse {
        /// The directory.
        directory: PathBuf,
    },
    /// The interface went away while it was being tapped.
    #[error("cannot tap {interface}: it no longer exists")]
    Gone {
        /// The interface.
        interface: String,
    },
}

impl TapError {
    /// Classifies an error of loading the object, which is one of its maps.
    pub(super) fn of_object(error: EbpfError) -> Self {
        if is_forbidden(os_error(&error)) {
            return Self::Privileges;
        }
        match error {
            EbpfError::MapError(MapError::CreateError { name, io_error }) => {
                if matches!(is_map_supported(MapType::RingBuf), Ok(false)) {
                    return Self::Kernel {
                        what: "eBPF ring buffers",
                        since: "5.8",
                    };
                }
                match io_error.raw_os_error() {
                    Some(libc::ENOMEM | libc::E2BIG | libc::EINVAL) => Self::Memory {
                        table: name,
                        reason: io_error,
                    },
                    _ => Self::Object(format!("map {name}: {io_error}")),
                }
            }
            error => Self::Object(one_line(&error)),
        }
    }

    pub(super) fn missing(program: &'static str) -> Self {
        Self::Program {
            program,
            reason: "not in the eBPF object".to_owned(),
        }
    }

    pub(super) fn pins(path: &Path, what: &str, error: &(dyn Error + 'static)) -> Self {
        Self::Pins {
            path: path.to_owned(),
            what: what.to_owned(),
            reason: one_line(error),
        }
    }

    /// Classifies an error of loading a program.
    pub(super) fn of_program(program: &'static str, error: &ProgramError) -> Self {
        let reason = match error {
            // Missing rights and a refusal by the verifier are both EACCES or EPERM; only the
            // verifier explains itself.
            ProgramError::LoadError { verifier_log, .. }
                if is_forbidden(os_error(error)) && verifier_log.to_string().trim().is_empty() =>
            {
                return Self::Privileges;
            }
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } => {
                format!(
                    "{io_error}: {}",
                    verifiers_reason(&verifier_log.to_string())
                )
            }
            error => one_line(error),
        };
        Self::Program { program, reason }
    }

    /// Classifies an error of attaching a program.
    pub(super) fn of_attach(
        interface: &str,
        hook: &'static str,
        error: &(dyn Error + 'static),
    ) -> Self {
        let code = os_error(error);
        if is_forbidden(code) {
            return Self::Privileges;
        }
        let interface = interface.to_owned();
        if code == Some(libc::ENODEV) {
            return Self::Gone { interface };
        }
        Self::Attach {
            interface,
            hook,
            reason: one_line(error),
        }
    }
}

/// Returns the last line of a verifier's log before its accounts.
fn verifiers_reason(log: &str) -> &str {
    const ACCOUNTS: [&str; 3] = ["verification time ", "stack depth ", "processed "];
    log.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !ACCOUNTS.iter().any(|account| line.starts_with(account)))
        .unwrap_or("no reason given")
}

fn is_forbidden(code: Option<i32>) -> bool {
    matches!(code, Some(libc::EPERM | libc::EACCES))
}

/// Returns the system's error number that caused this error.
pub(super) fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        let code = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error);
        if code.is_some() {
            return code;
        }
        next = error.source();
    }
    None
}

/// Returns the innermost error's text: the kernel's, if it caused the error.
pub(super) fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let words = innermost.to_string();
    words.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    fn syscall(code: i32) -> ProgramError {
        ProgramError::SyscallError(SyscallError {
            call: "bpf_link_create",
            io_error: io::Error::from_raw_os_error(code),
        })
    }

    #[test]
    fn the_systems_number_is_found_at_the_bottom() {
        assert_eq!(os_error(&syscall(libc::EBUSY)), Some(libc::EBUSY));
    }

    #[test]
    fn what_the_system_says_decides_what_the_user_reads() {
        let told = |code| TapError::of_attach("lan0", "TCX", &syscall(code)).to_string();
        assert!(told(libc::EPERM).contains("CAP_NET_ADMIN"));
        assert_eq!(told(libc::ENODEV), "cannot tap lan0: it no longer exists");
        assert_eq!(
            told(libc::ENOSPC),
            "cannot tap lan0 at TCX: No space left on device (os error 28)"
        );
    }

    #[test]
    fn the_verifiers_reason_is_found_before_its_accounts() {
        let log = "2660: (85) call bpf_xdp_load_bytes#189\n\
                   R3 min value is outside of the allowed memory range\n\
                   verification time 111399 usec\nstack depth 272+0\n\
                   processed 3418 insns (limit 1000000) max_states_per_insn 4\n\n";
        assert_eq!(
            verifiers_reason(log),
            "R3 min value is outside of the allowed memory range"
        );
        assert_eq!(verifiers_reason("\n"), "no reason given");
    }

    #[test]
    fn a_table_too_large_names_the_option() {
        let error = MapError::CreateError {
            name: "WATCHED".to_owned(),
            io_error: io::Error::from_raw_os_error(libc::ENOMEM),
        };
        let told = TapError::of_object(EbpfError::MapError(error)).to_string();
        assert!(
            told.contains("WATCHED") && told.contains("--flows"),
            "{told}"
        );
    }
}
