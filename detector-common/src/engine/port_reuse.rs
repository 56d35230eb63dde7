//! Port reuse: telling a connection from the next one on the same addresses and ports.

use crate::engine::Opening;
use crate::engine::host::Output;
use crate::flow::{Flow, Side, Watched, flow_flags, side_flags};
use crate::headers::{Segment, tcp_flags};
use crate::record::HEAD_MAX;

/// Maximum distance of a ClientHello from its side's first byte within one connection: a
/// retransmission, or the second hello after a HelloRetryRequest.
pub(super) const HELLOS_END: u32 = 1 << 15;
/// Silence, nanoseconds, after which a SYN with another initial sequence number replaces a flow that
/// has not ended. Endpoints reuse ports no sooner, and a forged SYN must not end a watched flow.
const PORT_REUSE_NS: u64 = 3_000_000_000;

/// Relation of a segment to the watched flow of its key.
pub(super) enum Relation {
    /// It belongs to it.
    Continues,
    /// It begins another connection on the same ports.
    Replaces,
    /// It belongs to no connection that an endpoint would open now.
    Stray,
}

/// Compares the sequence number of a SYN, or where it was not seen, of a hello that may begin a flow, with the
/// flow's.
#[inline(always)]
pub(super) fn relation_to<const HALVES: bool, O: Output>(
    watched: &Watched,
    segment: &Segment,
    opening: Opening,
    output: &mut O,
) -> Relation {
    let [client, server] = &watched.flow.sides;
    let (side, peer) = if segment.endpoint == watched.flow.client_endpoint {
        (client, server)
    } else {
        (server, client)
    };
    let ended = watched.flow.has_ended();
    if segment.has(tcp_flags::SYN) && !segment.has(tcp_flags::RST) {
        if is_own_first_byte(side, peer, segment.payload_seq()) {
            return Relation::Continues;
        }
        if ended || is_silent(&watched.flow, output.now_ns()) {
            return Relation::Replaces;
        }
        return Relation::Stray;
    }
    let of_half = HALVES && watched.flow.has(flow_flags::SERVER_HALF);
    if !(opening.hello() || (of_half && opening.server_hello())) {
        return Relation::Continues;
    }
    let another = if side.has(side_flags::STARTED) {
        // A segment of a few bytes says too little to end a connection that goes on.
        let says_enough = ended || segment.payload_len >= HEAD_MAX;
        says_enough && segment.payload_seq().wrapping_sub(side.start_seq) >= HELLOS_END
    } else {
        // The first hello of a half's client acknowledges the beginning of what its server sent.
        let is_elsewhere = || segment.ack.wrapping_sub(peer.start_seq) >= HELLOS_END;
        ended || (of_half && is_elsewhere())
    };
    if another {
        Relation::Replaces
    } else {
        Relation::Continues
    }
}

/// Whether `seq`, the first byte behind a SYN, is where the side's bytes begin.
#[inline(always)]
fn is_own_first_byte(side: &Side, peer: &Side, seq: u32) -> bool {
    if side.has(side_flags::STARTED) {
        return seq == side.start_seq;
    }
    if side.has(side_flags::SEEN) {
        return seq == side.next_seq;
    }
    !peer.has(side_flags::SEEN) || seq == peer.ack
}

#[inline(always)]
fn is_silent(flow: &Flow, now_ns: u64) -> bool {
    now_ns.saturating_sub(flow.last_ns()) >= PORT_REUSE_NS
}
