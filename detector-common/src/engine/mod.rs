//! The engine: one frame in, at most one observation and some handshake bytes out.
//!
//! State begins with a ClientHello, on any port, recognised by content; a SYN leaves a baseline in a slot
//! that the next may overwrite. A flow is *watched* (each segment looked up and processed) through its handshake and from its first FIN,
//! RST or late alert on; in between it is *settled*, and its data pass without a look-up. Where one direction
//! may take another way, a ServerHello begins a flow too: see `half`.

mod half;
mod handshake;
mod host;
mod port_reuse;
mod segment;
mod unspoken;

use crate::counter::Counter;
pub use crate::engine::host::{OBSERVATIONS_MAX, Output, Tables};
use crate::engine::port_reuse::{Relation, relation_to};
use crate::engine::segment::{NextState, process};
use crate::fast_path::glance;
use crate::flow::{Flow, FlowKey, Side, Watched, flow_flags};
use crate::headers::{self, Segment, Tap, tcp_flags};
use crate::packet::Packet;
use crate::record::{
    ALERT, HEAD_MAX, HEADER_LEN, RecordHeader, begins_server_hello, may_begin_client_hello,
};
use crate::syn::Syn;

/// Processes one frame. Returns its outcome, which the caller counts.
///
/// # Example
/// A host with room for one flow, and one frame: IPv4, TCP, and the beginning of a ClientHello.
///
/// ```
/// use detector_common::counter::Counter;
/// use detector_common::engine::{Output, Tables, inspect};
/// use detector_common::flow::{Flow, FlowKey, Watched};
/// use detector_common::headers::{LinkType, Tap};
/// use detector_common::observation::{ChunkHead, Observation, events};
/// use detector_common::packet::Packet;
/// use detector_common::report::Report;
/// use detector_common::syn::SynSlot;
///
/// #[derive(Default)]
/// struct OneFlow(Option<(FlowKey, Watched)>);
///
/// impl Tables for OneFlow {
///     fn may_watch(&mut self, key: &FlowKey) -> bool {
///         self.0.is_some()
///     }
///     fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched> {
///         self.0.as_mut().filter(|flow| flow.0 == *key).map(|flow| &mut flow.1)
///     }
///     fn watch(
///         &mut self,
///         key: &FlowKey,
///         _: u64,
///         begin: impl FnOnce(&mut Flow, Option<&SynSlot>),
///     ) -> Option<&mut Watched> {
///         let (_, watched) = self.0.insert((*key, Watched::default()));
///         begin(&mut watched.flow, None);
///         Some(watched)
///     }
///     fn unwatch(&mut self, _: &FlowKey) {
///         self.0 = None;
///     }
///     fn settle(&mut self, _: &FlowKey) {
///         self.0 = None;
///     }
///     fn resume(&mut self, _: &FlowKey, _: u64) -> Option<&mut Watched> {
///         None
///     }
///     fn claim_syns(&mut self, _: &FlowKey) -> Option<&mut SynSlot> {
///         None
///     }
///     fn syns(&mut self, _: &FlowKey) -> Option<&mut SynSlot> {
///         None
///     }
/// }
///
/// #[derive(Default)]
/// struct Sent {
///     observations: Vec<Observation>,
///     handshake: Vec<u8>,
/// }
///
/// impl Output for Sent {
///     fn now_ns(&mut self) -> u64 {
///         1
///     }
///     fn send_report<P: Packet>(&mut self, _: &P, report: &Report<'_>) -> bool {
///         let mut observation = Observation::default();
///         report.write(&mut observation);
///         self.observations.push(observation);
///         true
///     }
///     fn send_chunk<P: Packet>(
///         &mut self,
///         packet: &P,
///         offset: usize,
///         len: usize,
///         fill: impl FnOnce(&mut ChunkHead),
///     ) -> bool {
///         let mut bytes = [0; 1536];
///         let copied = packet.copy(offset, &mut bytes, len);
///         self.handshake.extend(&bytes[..len]);
///         copied
///     }
///     fn count(&mut self, _: Counter) {}
/// }
///
/// let mut frame = vec![0x45, 0, 0, 49, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
/// frame.extend([0xc0, 0, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
/// frame.extend([22, 3, 1, 0, 4, 1, 0, 0, 0]);
///
/// let tap = Tap { link: LinkType::Raw, interface: 1, egress: false, vlan_in_key: false, tunnel: 0 };
/// let (mut flows, mut sent) = (OneFlow::default(), Sent::default());
/// let outcome = inspect(&frame.as_slice(), &tap, &mut flows, &mut sent);
///
/// assert_eq!(outcome, Counter::Followed);
/// assert_eq!(sent.observations[0].events, events::HELLO);
/// assert_eq!(sent.handshake, frame[40..]);
/// ```
#[inline(always)]
pub fn inspect<P: Packet, T: Tables, O: Output>(
    packet: &P,
    tap: &Tap,
    tables: &mut T,
    output: &mut O,
) -> Counter {
    // The payload comes last: in the kernel its first byte may lie in a fragment.
    if let Some(glance) = glance(packet, tap)
        && !tables.may_watch(&glance.key)
        && glance.is_uneventful(packet, |key| tables.is_settled(key))
    {
        return Counter::Unwatched;
    }
    // Two programs behind a constant in the kernel: the verifier never sees the other one.
    if tables.follows_halves() {
        inspect_eventful::<true, _, _, _>(packet, tap, tables, output)
    } else {
        inspect_eventful::<false, _, _, _>(packet, tap, tables, output)
    }
}

/// Processes a frame that may begin or end a flow, or be of a watched one.
#[inline(always)]
fn inspect_eventful<const HALVES: bool, P: Packet, T: Tables, O: Output>(
    packet: &P,
    tap: &Tap,
    tables: &mut T,
    output: &mut O,
) -> Counter {
    let mut segment = match headers::walk(packet, tap) {
        Ok(segment) => segment,
        Err(reason) => return reason,
    };
    let opening = opening::<HALVES, _>(packet, &segment);
    let ends = opening.alert() || segment.has(tcp_flags::FIN | tcp_flags::RST);
    let may_be_watched = tables.may_watch(&segment.key);
    let is_syn = segment.has(tcp_flags::SYN);
    let begins = opening.hello() || (HALVES && opening.server_hello());
    if !(may_be_watched || begins || ends || is_syn) {
        return Counter::Unwatched;
    }
    segment.order_endpoints();
    segment.endpoint = packet.black_box(u32::from(segment.endpoint)) as u8;

    let key = &segment.key;
    let begins_half = HALVES && half::begins(&segment, opening, tables);
    let begins_half = HALVES && packet.black_box(u32::from(begins_half)) != 0;
    let opening = Opening(packet.black_box(opening.0));
    let mut relation = Relation::Continues;
    let known = if may_be_watched {
        tables.watched(key).filter(|watched| {
            relation = relation_to::<HALVES, _>(watched, &segment, opening, output);
            matches!(relation, Relation::Continues)
        })
    } else {
        None
    };
    let watched = match (known, relation) {
        (Some(watched), _) => Some(watched),
        (None, relation) if opening.hello() || begins_half => {
            if !matches!(relation, Relation::Continues) {
                tables.unwatch(key);
            }
            start::<HALVES, _, _>(&segment, begins_half, tables, output)
        }
        (None, Relation::Stray) => None,
        (None, Relation::Replaces) => {
            tables.unwatch(key);
            None
        }
        (None, Relation::Continues) if ends => resume(key, tables, output),
        (None, Relation::Continues) => None,
    };
    let Some(watched) = watched else {
        unspoken::inspect(packet, tap, &segment, tables, output);
        return Counter::Unwatched;
    };
    match process::<HALVES, _, _>(packet, tap, &segment, opening, watched, output) {
        NextState::Watched => {
            let (last_ns, has_ended) = (watched.flow.last_ns(), watched.flow.has_ended());
            tables.record_segment(last_ns, has_ended);
        }
        NextState::Settled => {
            output.count(Counter::Settled);
            tables.settle(key);
        }
        NextState::Removed => {
            output.count(Counter::NotHello);
            tables.unwatch(key);
        }
    }
    Counter::Followed
}

/// Begins to watch a flow at its hello's first segment, the server's of a `server_half`.
#[inline(always)]
fn start<'t, const HALVES: bool, T: Tables, O: Output>(
    segment: &Segment,
    server_half: bool,
    tables: &'t mut T,
    output: &mut O,
) -> Option<&'t mut Watched> {
    let now_ns = output.now_ns();
    let watched = tables.watch(&segment.key, now_ns, |flow, slot| {
        begin_flow(flow, segment, now_ns);
        let [client, server] = &mut flow.syns;
        let mut baselines = [client, server];
        if HALVES && server_half {
            flow.client_endpoint = segment.endpoint ^ 1;
            flow.flags = flow_flags::SERVER_HALF;
            baselines.reverse();
        } else if HALVES {
            let [_, server] = &mut baselines;
            server.next_seq = half::peer_start(segment);
        }
        if let Some(slot) = slot {
            slot.copy_before(segment, baselines);
        }
    });
    output.count(if watched.is_some() {
        Counter::Started
    } else {
        Counter::TableFull
    });
    watched
}

/// Resumes a settled flow at its end.
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

/// Classification of a segment's first payload bytes: bits in one word, as the eBPF compiler would put a
/// pair of booleans where the verifier lets no two bytes be written at once.
#[derive(Clone, Copy)]
struct Opening(u32);

impl Opening {
    const NOTHING: Self = Self(0);

    #[inline(always)]
    const fn hello(self) -> bool {
        self.0 & 1 != 0
    }

    #[inline(always)]
    const fn alert(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether the payload is one alert record in the clear and no more.
    #[inline(always)]
    const fn lone_alert(self) -> bool {
        self.0 & 8 != 0
    }

    /// Never where halves are not followed.
    #[inline(always)]
    const fn server_hello(self) -> bool {
        self.0 & 4 != 0
    }
}

#[inline(always)]
fn opening<const HALVES: bool, P: Packet>(packet: &P, segment: &Segment) -> Opening {
    if segment.payload_len == 0 {
        return Opening::NOTHING;
    }
    let count = if segment.payload_len < HEAD_MAX {
        segment.payload_len
    } else {
        HEAD_MAX
    };
    let Some(head) = packet.head(segment.payload_offset, count) else {
        return Opening::NOTHING;
    };
    let alert = RecordHeader::parse(head)
        .filter(|header| count >= HEADER_LEN && header.content_type == ALERT);
    let is_lone = alert.is_some_and(|it| it.length == 2) && segment.payload_len == HEAD_MAX;
    let opening = u32::from(may_begin_client_hello(head, count))
        | u32::from(alert.is_some()) << 1
        | u32::from(is_lone) << 3;
    if HALVES && begins_server_hello(head, count) {
        return Opening(opening | 4);
    }
    Opening(opening)
}

/// Initialises a flow at its hello's first segment. Writes every field.
#[inline(always)]
fn begin_flow(flow: &mut Flow, segment: &Segment, now_ns: u64) {
    flow.started_ns = now_ns;
    flow.syns = [Syn::default(); 2];
    flow.vlan = segment.vlan;
    flow.client_endpoint = segment.endpoint;
    flow.flags = flow_flags::PROVISIONAL;
    flow.observations = 0;
    flow.order = 0;
    for side in &mut flow.sides {
        *side = Side::default();
    }
}
