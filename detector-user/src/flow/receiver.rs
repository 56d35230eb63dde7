//! The way into flow tracking: what every source of observations feeds.

use detector_common::observation::{ChunkHead, Observation};

/// Who takes what a tap tells. Times are nanoseconds on the tap's clock: the kernel's monotonic one,
/// or a capture's UNIX time.
pub trait Receiver {
    /// Something worth telling about a flow.
    fn observation(&mut self, observation: &Observation);
    /// Handshake bytes of a flow.
    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]);
}
