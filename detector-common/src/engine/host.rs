//! The interface to a host of the engine: its flow tables, its output, its clock.

use crate::counter::Counter;
use crate::flow::{Flow, FlowKey, Settled, Watched};
use crate::observation::ChunkHead;
use crate::packet::Packet;
use crate::report::Report;
use crate::syn::SynSlot;

/// Maximum observations sent of one flow: a reset storm must not fill the ring.
pub const OBSERVATIONS_MAX: u8 = 16;

/// Flow tables of a host.
pub trait Tables {
    /// Whether the flow of `key`, endpoints in either order, may be watched. Never `false` for one that
    /// is. A packet of an established connection costs no more than this check.
    fn may_watch(&mut self, key: &FlowKey) -> bool;
    /// Whether the flow of `key`, endpoints in either order, is certainly settled. A host need not know.
    fn is_settled(&mut self, _key: &FlowKey) -> bool {
        false
    }
    /// Whether a flow begins also at a ServerHello whose ClientHello was not seen, and settles by one
    /// direction if the other is never seen: for gateways through which connections pass in one direction
    /// alone. In the kernel a constant.
    fn follows_halves(&self) -> bool {
        false
    }
    /// Returns the settled flow of `key`. Asked only of hosts that [follow halves](Self::follows_halves).
    fn settled(&mut self, _key: &FlowKey) -> Option<&Settled> {
        None
    }
    /// Returns the watched flow of `key`.
    fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched>;
    /// Begins to watch a flow at `now_ns`, replacing an older one of `key`. `begin` initialises every
    /// field, whatever the memory contains; it gets the slot of [`Tables::syns`]. `None` if the table is
    /// full.
    fn watch(
        &mut self,
        key: &FlowKey,
        now_ns: u64,
        begin: impl FnOnce(&mut Flow, Option<&SynSlot>),
    ) -> Option<&mut Watched>;
    /// Records the time of the last segment of the watched flow that was returned last, nanoseconds, and whether
    /// it [has ended](Flow::has_ended). A host need not know: its flows have both.
    fn record_segment(&mut self, _last_ns: u64, _has_ended: bool) {}
    /// Stops watching and discards the flow, the one returned last or none.
    fn unwatch(&mut self, key: &FlowKey);
    /// Stops watching and stores the flow, the one returned last, as [`crate::flow::Settled`].
    fn settle(&mut self, key: &FlowKey);
    /// Begins to watch the settled flow of `key` again at `now_ns`; `None` if there is none.
    fn resume(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Watched>;
    /// Returns the slot of `key` for writing, [claimed](SynSlot::claim) for it.
    fn claim_syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot>;
    /// Returns the slot of `key` if it [belongs](SynSlot::is_of) to it.
    fn syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot>;
}

/// Output of the engine, and its clock.
pub trait Output {
    /// Whether the seven bytes of an alert that is all of its segment are left to its report: see
    /// [`take_alert_bytes`](crate::observation::Observation::take_alert_bytes).
    const ALERTS_IN_REPORTS: bool = false;

    /// Returns the time, nanoseconds on the host's clock, the same for each call within one frame.
    /// Called for segments of watched flows, and for those with SYN.
    fn now_ns(&mut self) -> u64;
    /// Whether there is room for observations that matter less than those of flows.
    fn has_room(&mut self) -> bool {
        true
    }
    /// Sends a report that a frame causes; `false` if it was lost.
    fn send_report<P: Packet>(&mut self, packet: &P, report: &Report<'_>) -> bool;
    /// Sends `len` (1 to [`CHUNK_MAX`](crate::observation::CHUNK_MAX)) bytes of the packet from
    /// `offset`, with the head that `fill` writes, every field of it; `false` if they were lost.
    fn send_chunk<P: Packet>(
        &mut self,
        packet: &P,
        offset: usize,
        len: usize,
        fill: impl FnOnce(&mut ChunkHead),
    ) -> bool;
    /// Counts an event or a loss.
    fn count(&mut self, event: Counter);
}
