//! Connections before their first byte: baselines from SYN and SYN,ACK, and refusals.

use crate::counter::Counter;
use crate::engine::host::{Output, Tables};
use crate::engine::segment::{Distance, measured};
use crate::flow::Sender;
use crate::headers::{Segment, Tap, tcp_flags};
use crate::observation::events;
use crate::packet::Packet;
use crate::report::{About, Report};
use crate::syn::SynSlot;

/// Minimum time between two refusals reported from one slot, nanoseconds: the number of slots limits what a
/// scan of ports can make the agent read.
const REPORT_EVERY_NS: u64 = 8_000_000_000;

/// Processes a segment that belongs to no flow: records a SYN, and reports a reset that refuses a connection
/// of which nothing but SYN and SYN,ACK was seen.
#[inline(always)]
pub(super) fn inspect<P: Packet, T: Tables, O: Output>(
    packet: &P,
    tap: &Tap,
    segment: &Segment,
    tables: &mut T,
    output: &mut O,
) {
    if !segment.has(tcp_flags::SYN | tcp_flags::RST) {
        return;
    }
    let is_reset = segment.has(tcp_flags::RST);
    let slot = if is_reset {
        tables.syns(&segment.key)
    } else {
        tables.claim_syns(&segment.key)
    };
    let Some(slot) = slot else {
        return;
    };
    let reports = if is_reset {
        slot.is_refused_by(segment)
    } else {
        slot.record(segment, output.now_ns())
    };
    if packet.black_box(u32::from(reports)) == 0 {
        return;
    }
    let event = if is_reset {
        output.count(Counter::Refused);
        events::REFUSED
    } else {
        output.count(Counter::Unanswered);
        events::UNANSWERED
    };
    let event = packet.black_box(u32::from(event)) as u16;
    report(packet, tap, segment, slot, event, output);
    // The same reset may be seen again.
    slot.syn.count = if is_reset { 0 } else { slot.syn.count };
}

#[inline(always)]
fn report<P: Packet, O: Output>(
    packet: &P,
    tap: &Tap,
    segment: &Segment,
    slot: &mut SynSlot,
    events: u16,
    output: &mut O,
) {
    let now_ns = output.now_ns();
    let reported = slot.reported_ns != 0;
    if (reported && now_ns.saturating_sub(slot.reported_ns) < REPORT_EVERY_NS) || !output.has_room()
    {
        return;
    }
    slot.reported_ns = now_ns;
    let sender = if segment.endpoint == slot.endpoint {
        Sender::Client
    } else {
        Sender::Server
    };
    let report = Report {
        time_ns: now_ns,
        measured: measured(segment, &Distance::UNKNOWN),
        key: &segment.key,
        about: About::Unspoken(slot, segment.vlan),
        events,
        sender: sender as u8,
        egress: u8::from(tap.egress),
        alert_unsent: 0,
    };
    if !output.send_report(packet, &report) {
        output.count(Counter::ObservationLost);
    }
}
