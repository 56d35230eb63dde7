//! Taps: where observations come from, the kernel's programs or a capture.

pub mod attach;
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

/// Where maps come from: an object that was just loaded, or what another agent left pinned.
pub trait Maps {
    /// Takes a map out; each can be taken once.
    fn take(&mut self, name: &str) -> Option<Map>;
}

impl Maps for Ebpf {
    fn take(&mut self, name: &str) -> Option<Map> {
        self.take_map(name)
    }
}
