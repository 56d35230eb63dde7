//! Taps: where observations come from, the kernel's programs or a capture.

pub mod capture;
pub mod object;

use detector_common::observation::{ChunkHead, Observation};

/// Who takes what a tap tells. Times are UNIX nanoseconds.
pub trait Receiver {
    /// Something worth telling about a flow.
    fn observation(&mut self, observation: &Observation);
    /// Handshake bytes of a flow.
    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]);
}
