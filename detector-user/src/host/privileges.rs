//! Dropping of capabilities that are no longer needed; in Linux each thread has its own.
//!
//! Root keeps them: a root thread without capabilities could not even write root's files.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use tracing::warn;

/// Sets that a capability is dropped from; `Effective` first, which must be within `Permitted`.
const SETS: [CapSet; 4] = [
    CapSet::Ambient,
    CapSet::Effective,
    CapSet::Inheritable,
    CapSet::Permitted,
];

/// Capabilities of a tap: to attach programs, to create maps, and to load programs.
const TAPPING: [Capability; 3] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
];

/// Drops the capabilities of this thread that no tap needs, such as `CAP_SYS_ADMIN`, with which it
/// entered another network namespace.
pub(crate) fn keep_for_tapping() {
    give_up(|set| {
        let held = caps::read(None, set)?;
        let kept: CapsHashSet = TAPPING.into_iter().filter(|it| held.contains(it)).collect();
        caps::set(None, set, &kept)
    });
}

/// Drops the capabilities of this thread but the one that marks of sockets need.
pub(crate) fn keep_for_marking() {
    give_up(|set| {
        let held = caps::read(None, set)?;
        let kept = held
            .into_iter()
            .filter(|it| *it == Capability::CAP_NET_ADMIN)
            .collect();
        caps::set(None, set, &kept)
    });
}

/// Drops all capabilities of this thread, for threads that only read and write files and sockets.
pub(crate) fn give_up_all() {
    give_up(|set| caps::clear(None, set));
}

/// Drops the capability of this thread that only loading needs: `CAP_PERFMON`. Programs loaded without it
/// are slower, since the kernel guards them against speculation.
pub(crate) fn give_up_loading() {
    give_up(|set| caps::drop(None, set, Capability::CAP_PERFMON));
}

fn give_up(from: impl Fn(CapSet) -> Result<(), CapsError>) {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    if let Err(error) = SETS.into_iter().try_for_each(from) {
        warn!("cannot give up capabilities that are not needed: {error}");
    }
}
