//! Halves: a connection whose two directions pass two gateways is seen half by each.
//!
//! In: the observations and handshake bytes of one direction each, from two taps with two clocks. Out: what one tap
//! would have sent of the whole connection ([`compose()`]). Not here: how halves meet.

mod clocks;
mod compose;
mod direction;

use std::sync::Arc;

use detector_common::flow::{Flow, Sender, flow_flags, side_flags};
use detector_common::observation::Observation;

use crate::flow::flow_id::FlowId;
pub use compose::{Composed, Item, compose};

/// Interface numbers from here on are those of composed taps: no interface has such an index.
pub const JOINED_INTERFACES: u32 = 0xffff_0000;
/// Maximum observations of a half; an engine sends no more of a flow.
pub const OBSERVATIONS_MAX: usize = detector_common::engine::OBSERVATIONS_MAX as usize;
/// Maximum handshake bytes of a half.
pub const HANDSHAKE_MAX: usize = detector_common::observation::HANDSHAKE_BYTES_MAX as usize;

/// Whether an interface is a composed tap.
#[must_use]
pub const fn is_joined(interface: u32) -> bool {
    interface >= JOINED_INTERFACES
}

/// One direction of a connection, as one tap saw it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    /// The flow, on its tap's clock.
    pub flow: FlowId,
    /// The side whose segments were seen.
    pub side: Sender,
    /// Name of the tap.
    pub tap: Arc<str>,
    /// Nanoseconds from the tap's clock to UNIX time.
    pub unix_offset_ns: i64,
    /// Its observations, in order.
    pub observations: Vec<Observation>,
    /// Its handshake bytes: their places in the stream, and the bytes.
    pub handshake: Vec<(u32, Vec<u8>)>,
    /// Whether it is over, as far as its tap can tell.
    pub is_over: bool,
}

/// Returns the side that an observation shows to be the only one that this tap sees.
///
/// A flow that began at its ServerHello is the server's half while nothing of its client was seen. One that began at
/// its ClientHello is the client's if nothing of the server was seen, not even the SYN,ACK, though either the client's
/// SYN was, or the client has acknowledged more since its hello. `hello_ack` is the acknowledgement number of the hello.
#[must_use]
pub fn side_of_half(observation: &Observation, hello_ack: Option<u32>) -> Option<Sender> {
    let flow = &observation.watched.flow;
    let [client, server] = &flow.sides;
    if flow.has(flow_flags::SERVER_HALF) {
        let is_alone = !client.has(side_flags::SEEN) && client.resets == 0;
        return is_alone.then_some(Sender::Server);
    }
    let is_alone = !server.has(side_flags::SEEN) && server.resets == 0 && !flow.has_syn_ack();
    let moved = hello_ack.is_some_and(|first| {
        let further = client.ack.wrapping_sub(first);
        further > 0 && further <= i32::MAX as u32
    });
    (is_alone && (flow.has_syn() || moved)).then_some(Sender::Client)
}

/// Returns the sequence number at which a half begins, by its first observation: that of its first byte, or of the
/// segment that closes before any.
#[must_use]
pub fn first_seq(first: &Observation) -> u32 {
    let [client, server] = &first.watched.flow.sides;
    let side = if first.sender == Sender::Client as u8 {
        client
    } else {
        server
    };
    if side.has(side_flags::STARTED) {
        side.start_seq
    } else {
        first.measured.seq
    }
}

/// The part of the three-way handshake that was seen.
trait ThreeWay {
    fn has_syn(&self) -> bool;
    fn has_syn_ack(&self) -> bool;
}

impl ThreeWay for Flow {
    fn has_syn(&self) -> bool {
        let [syn, _] = &self.syns;
        syn.was_seen()
    }

    fn has_syn_ack(&self) -> bool {
        let [_, syn_ack] = &self.syns;
        syn_ack.was_seen()
    }
}
