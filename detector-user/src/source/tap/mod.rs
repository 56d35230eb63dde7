//! Taps in the kernel: eBPF programs on interfaces, whose rings hold observations and handshake bytes.
//!
//! [`selection`] chooses interfaces; [`load`] loads the [`object`]; [`attach`] attaches its
//! programs to the [`hook`]s of an interface; [`kernel_tap`] has all interfaces; [`pins`] let
//! programs outlive the agent; [`rings`] read, and [`carry`] unjudged items over a restart. If the agent cannot keep
//! up, a backlog with shares for clients decides which items are judged.

pub mod attach;
mod backlog;
pub mod carry;
pub mod clsact;
pub mod counters;
pub mod diagnostics;
mod error;
pub mod hook;
pub mod kernel_tap;
pub mod link_notices;
pub mod load;
pub mod object;
pub mod pins;
pub mod rings;
pub mod selection;

pub use error::TapError;

use aya::Ebpf;
use aya::maps::Map;

/// Source of maps: a loaded object, or the pins of an earlier agent.
pub trait Maps {
    /// Takes a map out, by its name; each can be taken once.
    fn take(&mut self, name: &str) -> Option<Map>;
}

impl Maps for Ebpf {
    fn take(&mut self, name: &str) -> Option<Map> {
        self.take_map(name)
    }
}
