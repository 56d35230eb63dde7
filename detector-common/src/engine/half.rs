//! Halves: connections of which one direction alone passes this tap, where a host
//! [follows them](crate::engine::Tables::follows_halves).
//!
//! A server's half begins at a ServerHello whose first seven bytes come in one segment, or where the server
//! answers a ClientHello otherwise: at an alert, FIN or RST right behind its SYN,ACK.

use crate::engine::Opening;
use crate::engine::host::Tables;
use crate::engine::port_reuse::HELLOS_END;
use crate::flow::{Flow, Sender, Side, flow_flags, side_flags};
use crate::headers::{Segment, tcp_flags};
use crate::observation::events;
use crate::record::HEAD_MAX;

/// Application records of one side after which its half is settled. A client's certificate, Finished and
/// first requests are fewer, and a server's flight with its tickets.
const CLIENT_SETTLES: u16 = 9;
const SERVER_SETTLES: u16 = 24;
/// Observations of a half's segments with payload: the rest of those of a flow are for its end.
const REPORTED: u8 = 8;
/// Bytes of the server that a client acknowledged after which its half is settled: no handshake has as many.
const ACKNOWLEDGED: u32 = 1 << 16;

/// Whether a segment of no watched flow begins a server's half.
#[inline(always)]
pub(super) fn begins<T: Tables>(segment: &Segment, opening: Opening, tables: &mut T) -> bool {
    if opening.server_hello() && !segment.has(tcp_flags::RST) {
        return begins_by_hello(segment, tables);
    }
    let ends = opening.alert() || segment.has(tcp_flags::FIN | tcp_flags::RST);
    ends && tables
        .syns(&segment.key)
        .is_some_and(|slot| slot.is_half_ended_by(segment))
}

/// Whether a ServerHello is none of a settled flow, or the SYN,ACK before it shows another connection on the
/// same ports.
#[inline(always)]
fn begins_by_hello<T: Tables>(segment: &Segment, tables: &mut T) -> bool {
    let Some(settled) = tables.settled(&segment.key) else {
        return true;
    };
    let start_seq = settled.start_seq(segment.endpoint);
    segment.payload_seq().wrapping_sub(start_seq) >= HELLOS_END
        && tables
            .syns(&segment.key)
            .is_some_and(|slot| slot.is_answered_by(segment))
}

/// Returns the sequence number at which the server's bytes begin, by a ClientHello; 0 if it does not say.
#[inline(always)]
pub(super) fn peer_start(hello: &Segment) -> u32 {
    if hello.has(tcp_flags::SYN) {
        0
    } else {
        hello.ack
    }
}

/// Returns the events of a segment of a server's half: its beginning, or a ClientHello that shows the
/// other direction after all.
#[inline(always)]
pub(super) fn events(flow: &mut Flow, sender: u8, segment: &Segment, opening: Opening) -> u16 {
    if !flow.has(flow_flags::SERVER_HALF) {
        return 0;
    }
    if flow.observations == 0 {
        return events::SERVER_HALF;
    }
    let [client, _] = &flow.sides;
    let is_first = client.has(side_flags::STARTED) && client.start_seq == segment.payload_seq();
    let is_hello = opening.hello() && segment.payload_len >= HEAD_MAX && is_first;
    let is_read = !segment.has(tcp_flags::RST) && !flow.has(flow_flags::RESUMED);
    if sender != Sender::Client as u8 || !is_hello || !is_read {
        return 0;
    }
    flow.flags &= !flow_flags::SERVER_HALF;
    events::HELLO
}

/// Whether a segment is reported because its flow is a half, whose end may pass elsewhere.
#[inline(always)]
pub(super) fn goes_on(flow: &Flow, receiver: u8, segment: &Segment) -> bool {
    let other = flow.sides.get(usize::from(receiver & 1));
    let is_alone = other.is_some_and(|other| !other.has(side_flags::SEEN));
    segment.payload_len > 0 && is_alone && flow.observations > 0 && flow.observations < REPORTED
}

/// Whether a flow is established by what one side sent, if the other is not seen.
#[inline(always)]
pub(super) fn is_settled(flow: &Flow) -> bool {
    let [client, server] = &flow.sides;
    if flow.has(flow_flags::SERVER_HALF) {
        return server.application_records >= SERVER_SETTLES;
    }
    let [_, syn_ack] = &flow.syns;
    if server.has(side_flags::SEEN) || syn_ack.next_seq == 0 {
        return false;
    }
    is_client_settled(client, client.ack.wrapping_sub(syn_ack.next_seq))
}

/// Early data come before the server's first byte, and say nothing.
#[inline(always)]
fn is_client_settled(client: &Side, acknowledged: u32) -> bool {
    let records = client.application_records;
    let is_answered = acknowledged > 0 && acknowledged <= i32::MAX as u32;
    is_answered && (records >= CLIENT_SETTLES || (records >= 1 && acknowledged >= ACKNOWLEDGED))
}
