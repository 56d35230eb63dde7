//! Handshake bytes on their way to user space.

use crate::counter::Counter;
use crate::engine::host::Output;
use crate::flow::{FlowKey, Side, side_flags};
use crate::headers::Segment;
use crate::observation::{CHUNK_MAX, HANDSHAKE_BYTES_MAX};
use crate::packet::Packet;
use crate::tracking::before;

/// Maximum chunks of one segment: together [`HANDSHAKE_BYTES_MAX`] and a little more.
const CHUNKS_PER_SEGMENT: usize = 11;

/// The flow and side that bytes come from, for the heads of their chunks.
pub(super) struct Source<'a> {
    pub(super) key: &'a FlowKey,
    pub(super) started_ns: u64,
    pub(super) now_ns: u64,
    pub(super) sender: u8,
    pub(super) client_endpoint: u8,
    pub(super) vlan: [u16; 2],
}

/// Sends the handshake bytes of a segment that were not sent yet: plaintext only, bounded.
#[inline(always)]
pub(super) fn send_handshake<P: Packet, O: Output>(
    packet: &P,
    segment: &Segment,
    side: &mut Side,
    source: &Source<'_>,
    output: &mut O,
) {
    let start = segment.payload_seq();
    let mut end = start.wrapping_add(segment.payload_len);
    let cap = side.start_seq.wrapping_add(HANDSHAKE_BYTES_MAX);
    if before(cap, end) {
        end = cap;
    }
    if side.has(side_flags::PLAINTEXT_END) && before(side.plaintext_end, end) {
        end = side.plaintext_end;
    }
    // From here on relative to the payload: no sequence number, however far away, leads out of it.
    let end = end.wrapping_sub(start);
    if end > segment.payload_len {
        return;
    }
    let mut at = if before(start, side.sent_to) {
        side.sent_to.wrapping_sub(start)
    } else {
        0
    };
    let contiguous = start.wrapping_add(at) == side.sent_to;
    for _ in 0..CHUNKS_PER_SEGMENT {
        if at >= end {
            break;
        }
        let left = end - at;
        let len = if left > CHUNK_MAX as u32 {
            CHUNK_MAX as u32
        } else {
            left
        };
        let sent = output.send_chunk(
            packet,
            segment.payload_offset + at as usize,
            len as usize,
            |head| {
                head.time_ns = source.now_ns;
                head.started_ns = source.started_ns;
                head.key = *source.key;
                head.offset = start.wrapping_add(at).wrapping_sub(side.start_seq);
                head.len = len as u16;
                head.sender = source.sender;
                head.client_endpoint = source.client_endpoint;
                head.vlan = source.vlan;
                head.reserved = 0;
            },
        );
        if !sent {
            output.count(Counter::HandshakeLost);
        }
        at = packet.black_box(at + len);
    }
    let sent_to = start.wrapping_add(at);
    if contiguous && before(side.sent_to, sent_to) {
        side.sent_to = sent_to;
    }
}
