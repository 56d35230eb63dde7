//! Hooks that programs are attached to, and the kernel features that they need.

use aya::util::KernelVersion;

/// The first kernel whose XDP programs read frames of several buffers, as jumbo frames and
/// coalesced ones are, and have `bpf_xdp_load_bytes`.
const XDP_FRAGMENTS: KernelVersion = KernelVersion::new(5, 18, 0);
/// The first kernel with TCX links.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

/// Hook that a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP in the driver.
    XdpNative,
    /// A TCX link.
    Tcx,
    /// A filter of the clsact queueing discipline, before Linux 6.6.
    Clsact,
}

impl Hook {
    /// Returns its common name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "native XDP",
            Self::Tcx => "TCX",
            Self::Clsact => "clsact",
        }
    }
}

/// Features of the kernel that taps may use: those it has, unless a test wants an older way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// XDP on frames of several buffers (Linux 5.18).
    pub xdp: bool,
    /// Native XDP on virtual interfaces too. There it copies packets that come in one piece from another
    /// namespace and takes three quarters of TCP's throughput: only tests want it.
    pub virtual_xdp: bool,
    /// TCX links (Linux 6.6).
    pub tcx: bool,
}

impl Abilities {
    /// Returns the features of the running kernel, by its version.
    pub fn of_this_kernel() -> Self {
        let since = |first| KernelVersion::current().is_ok_and(|version| version >= first);
        Self {
            xdp: since(XDP_FRAGMENTS),
            virtual_xdp: false,
            tcx: since(TCX),
        }
    }
}

/// Direction of an interface's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub(super) const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}
