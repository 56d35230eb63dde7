//! Giving up capabilities that are no longer needed. Linux keeps them for each thread.
//!
//! Root keeps what it has: there a thread without capabilities could not even write root's files.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use tracing::warn;

/// Sets that a capability is taken from; `Effective` first, which must be within `Permitted`.
const SETS: [CapSet; 4] = [
    CapSet::Ambient,
    CapSet::Effective,
    CapSet::Inheritable,
    CapSet::Permitted,
];

/// What a tap needs: attaching, maps, and loading programs.
const TAPPING: [Capability; 3] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
];

/// Gives up what this thread has beyond what a tap needs, such as `CAP_SYS_ADMIN`, with which another
/// network namespace was entered.
pub(crate) fn keep_for_tapping() {
    give_up(|set| {
        let held = caps::read(None, set)?;
        let kept: CapsHashSet = TAPPING.into_iter().filter(|it| held.contains(it)).collect();
        caps::set(None, set, &kept)
    });
}

/// Gives up all capabilities of this thread, for those that only read and write files and sockets.
pub(crate) fn give_up_all() {
    give_up(|set| caps::clear(None, set));
}

/// Gives up what only loading programs needs, in this thread: `CAP_PERFMON`, without which the kernel
/// would guard programs against speculation and make them slower.
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
