//! The way into flow tracking: the traits that every source of observations feeds.

use detector_common::observation::{ChunkHead, Observation};

use crate::flow::preamble::PreambleReport;
use crate::flow::unreachable::UnreachableReport;

/// Receives the observations of a source. Times are nanoseconds on the source's clock: the kernel's
/// monotonic one, or a capture's UNIX time.
pub trait Receiver {
    /// Records an observation of a flow.
    fn observation(&mut self, observation: &Observation);
    /// Records handshake bytes of a flow.
    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]);
    /// Records a report of bytes before a ClientHello. Only sources that look for it report it.
    fn preamble(&mut self, _report: &PreambleReport) {}
    /// Records a report of an ICMP error about a connection. Only sources that read ICMP report it.
    fn unreachable(&mut self, _report: &UnreachableReport) {}
}

/// A [`Receiver`] that keeps the source's time: flows end as it passes.
pub trait TimedReceiver: Receiver {
    /// Names the tap of an interface, for flows that begin from now on.
    fn name_tap(&mut self, interface: u32, name: &str);

    /// Sets the nanoseconds between the source's clock and UNIX time; 0 at first.
    fn set_unix_offset(&mut self, offset_ns: i64);

    /// Ends the flows that are over at `now_ns`. A flow that was due earlier ends as of then, so that
    /// the result does not depend on how often this is called.
    fn advance(&mut self, now_ns: u64);

    /// Does the same for sources whose clock is that of their packets: called before and after each
    /// packet, it costs a comparison unless a flow is due.
    fn advance_if_due(&mut self, now_ns: u64);

    /// Ends all flows; knowledge gained from them stays.
    fn end_flows(&mut self);

    /// Whether all outputs are closed, so that nothing more need be read.
    fn is_closed(&self) -> bool;

    /// Records an observation that comes late, as it would have been recorded in time.
    fn late_observation(&mut self, observation: &Observation) {
        self.advance_if_due(observation.time_ns);
        self.observation(observation);
        self.advance_if_due(observation.time_ns);
    }
}
