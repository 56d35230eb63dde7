//! One frame in, at most one observation and some handshake bytes out.
//!
//! State begins with a ClientHello, on any port, found by content; a SYN costs nothing. A flow is
//! *watched* (every segment looked up and read) through its handshake and from its first FIN, RST
//! or late alert on; in between it is *settled*, and its data pass without a look-up.

use crate::counter::Counter;
use crate::flow::{Flow, FlowKey, Record, Side, Watched, flow_flags, record_flags, side_flags};
use crate::glance::glance;
use crate::headers::{self, Segment, Tap, tcp_flags};
use crate::observation::{
    CARRY_MAX, CHUNK_MAX, ChunkHead, Measured, NEVER, Observation, baseline, events,
};
use crate::packet::Packet;
use crate::record::{ALERT, HEAD_MAX, HEADER_LEN, RecordHeader, may_begin_client_hello};
use crate::tracking::{before, is_settled, track};

/// Observations sent of one flow; a reset storm must not fill the ring.
pub const OBSERVATIONS_MAX: u8 = 16;
/// Chunks cut from one segment: together [`CARRY_MAX`] and a little more.
const CHUNKS_PER_SEGMENT: usize = 11;
/// How far beyond what is expected a hello may lie and still belong to the same connection.
const SAME_CONNECTION_WINDOW: i32 = 1 << 20;

/// Where flows are kept.
pub trait Tables {
    /// Whether the flow of `key` may be watched, its endpoints in either order. Never `false` for one
    /// that is; this is all that a packet of an established connection costs.
    fn may_watch(&mut self, key: &FlowKey) -> bool;
    /// The watched flow of `key`.
    fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched>;
    /// Begins to watch a flow at `now_ns`, in place of any older one of `key`. `begin` makes it from
    /// whatever was in its memory. `None` if the table takes no more.
    fn watch(
        &mut self,
        key: &FlowKey,
        now_ns: u64,
        begin: impl FnOnce(&mut Flow),
    ) -> Option<&mut Watched>;
    /// Stops to watch, keeping nothing.
    fn forget(&mut self, key: &FlowKey);
    /// Stops to watch, keeping what [`crate::flow::Settled`] does.
    fn settle(&mut self, key: &FlowKey);
    /// Begins to watch the settled flow of `key` again, at `now_ns`.
    fn resume(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Watched>;
}

/// Where observations and handshake bytes go, and what time it is.
pub trait Output {
    /// Now, nanoseconds on the host's clock, the same for all that is asked of one frame. Taken only
    /// for segments of watched flows.
    fn now_ns(&mut self) -> u64;
    /// Sends an observation made by `fill`, which writes every field; `false` if it was lost.
    fn observe(&mut self, fill: impl FnOnce(&mut Observation)) -> bool;
    /// Sends `len` bytes of the packet from `offset`, under the head that `fill` makes (it writes
    /// every field); `false` if they were lost.
    fn carry<P: Packet>(
        &mut self,
        packet: &P,
        offset: usize,
        len: usize,
        fill: impl FnOnce(&mut ChunkHead),
    ) -> bool;
    /// Counts something that happened beside the packet's way.
    fn count(&mut self, event: Counter);
}

/// Looks at one frame. Returns which way it took; the caller counts it and passes the frame on.
#[inline(always)]
pub fn inspect<P: Packet, T: Tables, O: Output>(
    packet: &P,
    tap: &Tap,
    tables: &mut T,
    output: &mut O,
) -> Counter {
    if let Some(key) = glance(packet, tap)
        && !tables.may_watch(&key)
    {
        return Counter::Unwatched;
    }
    let mut segment = match headers::walk(packet, tap) {
        Ok(segment) => segment,
        Err(reason) => return reason,
    };
    let opening = opening(packet, &segment);
    let ends = opening.alert || segment.has(tcp_flags::FIN | tcp_flags::RST);
    let may_be_watched = tables.may_watch(&segment.key);
    if !(may_be_watched || opening.hello || ends) {
        return Counter::Unwatched;
    }
    segment.order_endpoints();
    segment.endpoint = packet.forget(u32::from(segment.endpoint)) as u8;

    let key = &segment.key;
    let known = if may_be_watched {
        tables
            .watched(key)
            .filter(|watched| !(opening.hello && is_another_connection(watched, &segment)))
    } else {
        None
    };
    let watched = match known {
        Some(watched) => Some(watched),
        None if opening.hello => start(&segment, tables, output),
        None if ends => resume(key, tables, output),
        None => None,
    };
    let Some(watched) = watched else {
        return Counter::Unwatched;
    };
    match follow(packet, tap, &segment, watched, output) {
        Fate::Watch => {}
        Fate::Settle => {
            output.count(Counter::Settled);
            tables.settle(key);
        }
        Fate::Forget => {
            output.count(Counter::NotHello);
            tables.forget(key);
        }
    }
    Counter::Followed
}

/// Begins a flow with its hello's first segment.
#[inline(always)]
fn start<'t, T: Tables, O: Output>(
    segment: &Segment,
    tables: &'t mut T,
    output: &mut O,
) -> Option<&'t mut Watched> {
    let now_ns = output.now_ns();
    let watched = tables.watch(&segment.key, now_ns, |flow| {
        begin_flow(flow, segment, now_ns)
    });
    output.count(if watched.is_some() {
        Counter::Started
    } else {
        Counter::TableFull
    });
    watched
}

/// Takes up a settled flow again, at its end.
#[inline(always)]
fn resume<'t, T: Tables, O: Output>(
    key: &FlowKey,
    tables: &'t mut T,
    output: &mut O,
) -> Option<&'t mut Watched> {
    let now_ns = output.now_ns();
    let watched = tables.resume(key, now_ns)?;
    output.count(Counter::Resumed);
    Some(watched)
}

/// What the first payload bytes of a segment look like.
struct Opening {
    hello: bool,
    alert: bool,
}

#[inline(always)]
fn opening<P: Packet>(packet: &P, segment: &Segment) -> Opening {
    let nothing = Opening {
        hello: false,
        alert: false,
    };
    if segment.payload_len == 0 {
        return nothing;
    }
    let count = if segment.payload_len < HEAD_MAX {
        segment.payload_len
    } else {
        HEAD_MAX
    };
    let Some(head) = packet.head(segment.payload_offset, count) else {
        return nothing;
    };
    let alert =
        count >= HEADER_LEN && RecordHeader::parse(head).is_some_and(|h| h.content_type == ALERT);
    Opening {
        hello: may_begin_client_hello(head, count),
        alert,
    }
}

/// Whether a hello cannot belong to the connection that is watched: its ports are used again.
#[inline(always)]
fn is_another_connection(watched: &Watched, segment: &Segment) -> bool {
    let [client, server] = &watched.flow.sides;
    let side = if segment.endpoint == watched.flow.client_endpoint {
        client
    } else {
        server
    };
    if !side.has(side_flags::SEEN) {
        return side_has_ended(client) || side_has_ended(server);
    }
    let ahead = segment.payload_seq().wrapping_sub(side.next_seq) as i32;
    if side_has_ended(client) || side_has_ended(server) {
        // A retransmission of what was sent before the end lies behind.
        return before(segment.payload_seq(), side.start_seq) || ahead > 0;
    }
    !(-SAME_CONNECTION_WINDOW..=SAME_CONNECTION_WINDOW).contains(&ahead)
}

#[inline(always)]
fn side_has_ended(side: &Side) -> bool {
    side.has(side_flags::FIN | side_flags::RST)
}

/// Makes the flow of a hello's first segment, whatever was in its memory before.
#[inline(always)]
fn begin_flow(flow: &mut Flow, segment: &Segment, now_ns: u64) {
    flow.started_ns = now_ns;
    flow.vlan = segment.vlan;
    flow.client_endpoint = segment.endpoint;
    flow.flags = flow_flags::PROVISIONAL;
    flow.observations = 0;
    flow.order = 0;
    for side in &mut flow.sides {
        *side = Side::default();
    }
}

/// What becomes of a flow after a segment.
enum Fate {
    Watch,
    Settle,
    Forget,
}

/// Takes one segment of a watched flow into account.
#[inline(always)]
fn follow<P: Packet, O: Output>(
    packet: &P,
    tap: &Tap,
    segment: &Segment,
    watched: &mut Watched,
    output: &mut O,
) -> Fate {
    let now_ns = output.now_ns();
    let sender = u32::from(segment.endpoint != watched.flow.client_endpoint);
    let sender = packet.forget(sender) as u8 & 1;
    let receiver = packet.forget(u32::from(sender ^ 1)) as u8 & 1;
    let distance = distance(&watched.flow, sender, receiver, segment, now_ns);
    let expected = expected(&watched.flow, receiver);
    let mut events = 0;

    let Watched { flow, records } = watched;
    let (Some(side), Some(side_records)) = (
        flow.sides.get_mut(usize::from(sender)),
        records.get_mut(usize::from(sender)),
    ) else {
        return Fate::Watch;
    };
    if side.has(side_flags::RST) && !segment.has(tcp_flags::RST) {
        events |= events::SPEAKS_ON;
    }
    let mut events = packet.forget(u32::from(events)) as u16;
    if segment.payload_len > 0 && !segment.has(tcp_flags::RST) {
        let mut track = track(
            expected,
            side,
            side_records,
            &mut flow.order,
            &mut flow.flags,
            flow.started_ns,
            now_ns,
        );
        let result = track.segment(packet, segment);
        events |= packet.forget(u32::from(track.events)) as u16;
        if result.is_err() {
            return Fate::Forget;
        }
        side.flags = packet.forget(u32::from(side.flags)) as u16;
        let source = Source {
            key: &segment.key,
            started_ns: flow.started_ns,
            now_ns,
            sender,
            client_endpoint: flow.client_endpoint,
            vlan: flow.vlan,
        };
        carry(packet, segment, side, &source, output);
    }
    side.flags = packet.forget(u32::from(side.flags)) as u16;
    events |= update(side, segment, now_ns);
    let [outer, _] = flow.vlan;
    if outer == 0 {
        flow.vlan = segment.vlan;
    }
    let settles = !flow.has(flow_flags::RESUMED) && is_settled(flow);
    if settles {
        events |= events::SETTLED;
    }
    let events = packet.forget(u32::from(events)) as u16;
    if events != 0 {
        tell(
            tap, sender, segment, &distance, events, watched, now_ns, output,
        );
    }
    if settles { Fate::Settle } else { Fate::Watch }
}

/// The next byte that the receiver wants of the sender.
#[inline(always)]
fn expected(flow: &Flow, receiver: u8) -> Option<u32> {
    let receiver = flow.sides.get(usize::from(receiver & 1))?;
    receiver.has(side_flags::SEEN).then_some(receiver.ack)
}

/// Where a segment stands against the baseline before it.
struct Distance {
    since_same_ns: u64,
    since_other_ns: u64,
    seq_ahead: i32,
    ack_ahead: i32,
    baseline: u8,
}

#[inline(always)]
fn distance(flow: &Flow, sender: u8, receiver: u8, segment: &Segment, now_ns: u64) -> Distance {
    let unseen = Side::default();
    let same = flow.sides.get(usize::from(sender & 1)).unwrap_or(&unseen);
    let other = flow.sides.get(usize::from(receiver & 1)).unwrap_or(&unseen);
    let mut known = 0;
    if same.has(side_flags::SEEN) {
        known |= baseline::SAME | baseline::SEQ;
    }
    if other.has(side_flags::SEEN) {
        known |= baseline::OTHER | baseline::ACK;
    }
    if flow.has(flow_flags::RESUMED) {
        known |= baseline::STALE;
    }
    Distance {
        since_same_ns: since(same, now_ns),
        since_other_ns: since(other, now_ns),
        seq_ahead: segment.seq.wrapping_sub(same.next_seq) as i32,
        ack_ahead: segment.ack.wrapping_sub(other.next_seq) as i32,
        baseline: known,
    }
}

/// Writes every field.
#[inline(always)]
fn write_measured(measured: &mut Measured, segment: &Segment, distance: &Distance) {
    measured.since_same_ns = distance.since_same_ns;
    measured.since_other_ns = distance.since_other_ns;
    measured.seq = segment.seq;
    measured.ack = segment.ack;
    measured.seq_ahead = distance.seq_ahead;
    measured.ack_ahead = distance.ack_ahead;
    measured.payload_len = segment.payload_len;
    measured.window = segment.window;
    measured.ip_id = segment.ip_id;
    measured.mac = segment.source_mac;
    measured.flags = segment.flags;
    measured.ttl = segment.ttl;
    measured.options_len = segment.options_len;
    measured.baseline = distance.baseline;
    measured.reserved = [0; 4];
}

#[inline(always)]
fn since(side: &Side, now_ns: u64) -> u64 {
    if side.has(side_flags::SEEN) {
        now_ns.saturating_sub(side.last_ns)
    } else {
        NEVER
    }
}

/// Moves the side's baseline to this segment; a reset moves nothing but its own count.
#[inline(always)]
fn update(side: &mut Side, segment: &Segment, now_ns: u64) -> u16 {
    if segment.has(tcp_flags::RST) {
        side.resets = side.resets.saturating_add(1);
        side.flags |= side_flags::RST;
        return events::RESET;
    }
    let fin = segment.has(tcp_flags::FIN);
    let end = segment
        .payload_seq()
        .wrapping_add(segment.payload_len)
        .wrapping_add(fin as u32);
    if !side.has(side_flags::SEEN) || before(side.next_seq, end) {
        side.next_seq = end;
    }
    if !side.has(side_flags::SEEN) || segment.ttl < side.ttl_min {
        side.ttl_min = segment.ttl;
    }
    if !side.has(side_flags::SEEN) || segment.ttl > side.ttl_max {
        side.ttl_max = segment.ttl;
    }
    side.last_ns = now_ns;
    side.ack = segment.ack;
    side.window = segment.window;
    side.ip_id = segment.ip_id;
    side.mac = segment.source_mac;
    side.options_len = segment.options_len;
    let first_fin = fin && !side.has(side_flags::FIN);
    side.flags |= side_flags::SEEN;
    if first_fin {
        side.flags |= side_flags::FIN;
        return events::FIN;
    }
    0
}

/// What a chunk's head says of the flow.
struct Source<'a> {
    key: &'a FlowKey,
    started_ns: u64,
    now_ns: u64,
    sender: u8,
    client_endpoint: u8,
    vlan: [u16; 2],
}

/// Sends the handshake bytes of a segment that have not gone yet: those in the clear, bounded.
#[inline(always)]
fn carry<P: Packet, O: Output>(
    packet: &P,
    segment: &Segment,
    side: &mut Side,
    source: &Source<'_>,
    output: &mut O,
) {
    let start = segment.payload_seq();
    let mut end = start.wrapping_add(segment.payload_len);
    let cap = side.start_seq.wrapping_add(CARRY_MAX);
    if before(cap, end) {
        end = cap;
    }
    if side.has(side_flags::CARRY_STOP) && before(side.carry_stop, end) {
        end = side.carry_stop;
    }
    let mut from = if before(start, side.carried_to) {
        side.carried_to
    } else {
        start
    };
    let contiguous = from == side.carried_to;
    for _ in 0..CHUNKS_PER_SEGMENT {
        if !before(from, end) {
            break;
        }
        let left = end.wrapping_sub(from);
        let len = if left > CHUNK_MAX as u32 {
            CHUNK_MAX as u32
        } else {
            left
        };
        let offset = (from.wrapping_sub(start) & 0xf_ffff) as usize;
        let sent = output.carry(
            packet,
            segment.payload_offset + offset,
            len as usize,
            |head| {
                head.time_ns = source.now_ns;
                head.started_ns = source.started_ns;
                head.key = *source.key;
                head.offset = from.wrapping_sub(side.start_seq);
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
        from = packet.forget(from.wrapping_add(len));
    }
    if contiguous && before(side.carried_to, from) {
        side.carried_to = from;
    }
}

/// Sends an observation, unless the flow has had its share.
#[expect(
    clippy::too_many_arguments,
    reason = "the fields of an observation, named once"
)]
#[inline(always)]
fn tell<O: Output>(
    tap: &Tap,
    sender: u8,
    segment: &Segment,
    distance: &Distance,
    events: u16,
    watched: &mut Watched,
    now_ns: u64,
    output: &mut O,
) {
    if watched.flow.observations >= OBSERVATIONS_MAX {
        output.count(Counter::ObservationsCapped);
        return;
    }
    watched.flow.observations += 1;
    let sent = output.observe(|observation| {
        observation.time_ns = now_ns;
        write_measured(&mut observation.measured, segment, distance);
        observation.watched = *watched;
        observation.key = segment.key;
        observation.events = events;
        observation.sender = sender;
        observation.egress = tap.egress as u8;
        observation.reserved = 0;
    });
    if !sent {
        output.count(Counter::ObservationLost);
    }
}

/// Whether a record stands behind missing bytes.
pub fn is_after_gap(record: &Record) -> bool {
    record.flags & record_flags::AFTER_GAP != 0
}
