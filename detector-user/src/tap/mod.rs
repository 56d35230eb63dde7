//! Taps: where observations come from, the kernel's programs or a capture.

pub mod attach;
pub mod capture;
pub mod clock;
mod clsact;
pub mod counters;
pub mod diagnostics;
mod error;
pub mod link_notices;
pub mod object;
pub mod rings;

pub use error::TapError;

use detector_common::observation::{ChunkHead, Observation};

/// Who takes what a tap tells. Times are nanoseconds on the tap's clock: the kernel's monotonic one,
/// or a capture's UNIX time.
pub trait Receiver {
    /// Something worth telling about a flow.
    fn observation(&mut self, observation: &Observation);
    /// Handshake bytes of a flow.
    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]);
}
