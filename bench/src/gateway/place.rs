//! Cores of the agent and of the traffic.

use std::path::Path;

use anyhow::Context;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Where the agent runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Agent and traffic share all cores.
    Shared,
    /// The traffic has the first core, the agent the second.
    Own,
}

/// An agent's program, and its cores.
pub(super) struct Agent<'a> {
    pub(super) path: &'a Path,
    pub(super) place: Place,
}

impl Place {
    /// Returns the core that the agent has for itself.
    pub(super) fn agents_core(self) -> Option<usize> {
        (self == Self::Own).then_some(1)
    }

    /// Returns the core that all the traffic has.
    pub(super) fn traffics_core(self) -> Option<usize> {
        (self == Self::Own).then_some(0)
    }

    /// Returns a name for the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shared => "agent and traffic on the same two cores",
            Self::Own => "agent on a core of its own, traffic on the other",
        }
    }
}

/// This thread on one core, with all that it starts; dropped, it is where it was before.
pub(super) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    pub(super) fn to(core: usize) -> anyhow::Result<Self> {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).context("no affinity")?;
        let mut one = CpuSet::new();
        one.set(core)?;
        sched_setaffinity(this, &one)
            .with_context(|| format!("cannot run on core {core}: two are needed"))?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // The thread was there before.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}
