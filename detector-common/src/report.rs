//! A report about one flow on its way from the engine to its host: by reference, in no form yet.

use zerocopy::{FromBytes, Immutable, IntoBytes, transmute, transmute_ref};

use crate::flow::{Flow, FlowKey, RECORDS_MAX, Side, Watched, flow_flags};
use crate::item::{self, ADDRESSES, FIXED, PAIR, PAIRS, Room, SIDE, SYNS, room_at};
use crate::observation::{Measured, Observation};
use crate::syn::{Syn, SynSlot};

/// Words of a flow's state without its records, and of one side's records.
const FLOW: usize = size_of::<Flow>() / 8;
const RECORDS: usize = PAIRS * PAIR;

/// A report about one flow, raised by one segment.
pub struct Report<'a> {
    /// Time of the segment, nanoseconds on the host's clock.
    pub(crate) time_ns: u64,
    /// The segment.
    pub(crate) measured: Measured,
    /// Key of the flow.
    pub(crate) key: &'a FlowKey,
    /// Subject of the report.
    pub(crate) about: About<'a>,
    /// See [`crate::observation::events`].
    pub(crate) events: u16,
    /// Sender of the segment: 0 client, 1 server.
    pub(crate) sender: u8,
    /// 1 if the segment left through the tap's interface, 0 if it arrived through it.
    pub(crate) egress: u8,
    /// See [`Observation::alert_unsent`].
    pub(crate) alert_unsent: u8,
}

/// Subject of a report.
#[derive(Clone, Copy)]
pub(crate) enum About<'a> {
    /// A flow and its timeline.
    Watched(&'a Watched),
    /// A connection without a flow: its SYNs, and the segment's VLAN IDs.
    Unspoken(&'a SynSlot, [u16; 2]),
}

/// The last word of a [`Flow`], fields as there.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Tail {
    pub(crate) vlan: [u16; 2],
    pub(crate) client_endpoint: u8,
    pub(crate) flags: u8,
    pub(crate) observations: u8,
    pub(crate) order: u8,
}

impl Tail {
    /// Returns that of a connection without a flow.
    #[inline(always)]
    const fn unspoken(slot: &SynSlot, vlan: [u16; 2]) -> Self {
        Self {
            vlan,
            client_endpoint: slot.endpoint,
            flags: flow_flags::PROVISIONAL,
            observations: 1,
            order: 0,
        }
    }
}

impl Report<'_> {
    /// Writes it as an observation, every field of it.
    pub fn write(&self, observation: &mut Observation) {
        observation.time_ns = self.time_ns;
        observation.measured = self.measured;
        match self.about {
            About::Watched(watched) => observation.watched = *watched,
            About::Unspoken(slot, vlan) => {
                observation.watched = Watched::default();
                let flow = &mut observation.watched.flow;
                flow.started_ns = self.time_ns;
                flow.syns = [slot.syn, slot.syn_ack];
                item::set_tail(flow, Tail::unspoken(slot, vlan));
            }
        }
        observation.key = *self.key;
        observation.events = self.events;
        observation.sender = self.sender;
        observation.egress = self.egress;
        observation.alert_unsent = self.alert_unsent;
        observation.reserved = [0; 3];
    }

    /// Writes it as an [item] into `room`; returns the item's length in words.
    ///
    /// `hide` returns the number it gets, of which the eBPF verifier then knows nothing.
    #[inline(always)]
    pub fn pack(&self, room: &mut Room, hide: impl Fn(u64) -> u64) -> u32 {
        let hide_word = |number: u32| hide(u64::from(number)) as u32;
        let mut kind = self.sender & 1 | (self.egress & 1) << 1 | (self.alert_unsent & 1) << 4;
        let mut at = FIXED as u32;
        let [one, other] = &self.key.addresses;
        // Hidden, or the verifier would follow IPv4 and IPv6 apart all the way to here.
        if hide(one.beyond_ipv4() | other.beyond_ipv4()) == 0 {
            kind |= item::IPV4;
            if let Some([addresses]) = room_at(room, at) {
                *addresses = pair(one.last_word(), other.last_word());
            }
            at += 1;
        } else {
            if let Some(to) = room_at::<{ ADDRESSES }>(room, at) {
                let from: &[u64; ADDRESSES] = transmute_ref!(&self.key.addresses);
                *to = *from;
            }
            at += ADDRESSES as u32;
        }
        at = hide_word(at);
        kind = hide_word(u32::from(kind)) as u8;
        let [syn, syn_ack] = self.syns();
        if syn.says() | syn_ack.says() != 0 {
            kind |= item::HAS_SYNS;
            for syn in [syn, syn_ack] {
                if let Some(to) = room_at::<{ SYNS / 2 }>(room, at) {
                    pack_syn(to, syn);
                }
                at += SYNS as u32 / 2;
            }
        }
        at = hide_word(at);
        let kind = hide_word(u32::from(kind)) as u8;
        self.pack_fixed(room, kind);
        let About::Watched(watched) = self.about else {
            return at;
        };
        let [client, server] = &watched.flow.sides;
        let words: &[u64; FLOW + 2 * RECORDS] = transmute_ref!(watched);
        at = hide_word(pack_records::<FLOW>(room, at, words, client.record_count));
        hide_word(pack_records::<{ FLOW + RECORDS }>(
            room,
            at,
            words,
            server.record_count,
        ))
    }

    /// Writes the words that every item has. Each is written where it belongs at once: the kernel's stack has no
    /// room for them.
    #[inline(always)]
    fn pack_fixed(&self, room: &mut Room, kind: u8) {
        let Some([numbers @ .., ports, place]) = room.first_chunk_mut::<FIXED>() else {
            return;
        };
        let FlowKey {
            ports: [one, other],
            vlan: [outer, inner],
            interface,
            tunnel,
            ..
        } = self.key;
        *ports = quarters(*one, *other, *outer, *inner);
        *place = pair(*interface, *tunnel);
        let Some((segment, sides)) = numbers.split_first_chunk_mut::<{ FIXED - 2 - 2 * SIDE }>()
        else {
            return;
        };
        self.pack_segment(segment, kind);
        let Some((to_client, to_server)) = sides.split_first_chunk_mut::<SIDE>() else {
            return;
        };
        let Some(to_server) = to_server.first_chunk_mut::<SIDE>() else {
            return;
        };
        if let About::Watched(watched) = self.about {
            let [client, server] = &watched.flow.sides;
            pack_side(to_client, client);
            pack_side(to_server, server);
        } else {
            *to_client = [0; SIDE];
            *to_server = [0; SIDE];
        }
    }

    #[inline(always)]
    fn pack_segment(&self, words: &mut [u64; FIXED - 2 - 2 * SIDE], kind: u8) {
        let measured = &self.measured;
        let [syn, syn_ack] = self.syns();
        let [
            time_ns,
            started_ns,
            same,
            other,
            mac,
            seq,
            ack,
            segment,
            about,
            tail,
        ] = words;
        *time_ns = self.time_ns;
        *started_ns = self.started_ns();
        *same = measured.since_same_ns;
        *other = measured.since_other_ns;
        *mac = measured.mac | u64::from(measured.window) << 48;
        *seq = pair(measured.seq, measured.seq_ahead as u32);
        *ack = pair(measured.ack, measured.ack_ahead as u32);
        *segment = u64::from(measured.payload_len)
            | u64::from(measured.ip_id) << 32
            | u64::from(measured.flags) << 48
            | u64::from(measured.ttl) << 56;
        *about = u64::from(self.events)
            | u64::from(measured.options_len) << 16
            | u64::from(measured.baseline) << 24
            | u64::from(syn.count) << 32
            | u64::from(syn_ack.count) << 40
            | u64::from(kind) << 48;
        *tail = self.tail();
    }

    #[inline(always)]
    fn started_ns(&self) -> u64 {
        match self.about {
            About::Watched(watched) => watched.flow.started_ns,
            About::Unspoken(..) => self.time_ns,
        }
    }

    #[inline(always)]
    fn tail(&self) -> u64 {
        match self.about {
            About::Watched(watched) => {
                let [.., tail]: &[u64; FLOW] = transmute_ref!(&watched.flow);
                *tail
            }
            About::Unspoken(slot, vlan) => transmute!(Tail::unspoken(slot, vlan)),
        }
    }

    #[inline(always)]
    fn syns(&self) -> [&Syn; 2] {
        match self.about {
            About::Watched(watched) => watched.flow.syns.each_ref(),
            About::Unspoken(slot, _) => [&slot.syn, &slot.syn_ack],
        }
    }
}

#[inline(always)]
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[inline(always)]
fn quarters(a: u16, b: u16, c: u16, d: u16) -> u64 {
    u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48
}

/// Writes the part of a side that its observations have.
#[inline(always)]
fn pack_side(to: &mut [u64; SIDE], side: &Side) {
    let words: &[u64; size_of::<Side>() / 8] = transmute_ref!(side);
    let [last_ns, mac, a, b, c, d, ..] = words;
    let counts = u64::from(side.resets) | u64::from(side.after_reset) << 8;
    let [to_last_ns, to_mac, to_a, to_b, to_c, to_d] = to;
    *to_last_ns = *last_ns;
    *to_mac = mac | counts << 48;
    *to_a = *a;
    *to_b = *b;
    *to_c = *c;
    *to_d = *d;
}

/// Writes a SYN without its count.
#[inline(always)]
fn pack_syn(to: &mut [u64; SYNS / 2], syn: &Syn) {
    let [time_ns, mac, rest] = to;
    *time_ns = syn.time_ns;
    *mac = syn.mac | u64::from(syn.ttl) << 48 | u64::from(syn.options_len) << 56;
    *rest = u64::from(syn.next_seq) | u64::from(syn.window) << 32 | u64::from(syn.ip_id) << 48;
}

/// Writes the first `count` records, which begin at word `FIRST` of a watched flow, in pairs to the word `at`;
/// returns the place behind them.
#[inline(always)]
fn pack_records<const FIRST: usize>(
    room: &mut Room,
    mut at: u32,
    watched: &[u64; FLOW + 2 * RECORDS],
    count: u8,
) -> u32 {
    for number in 0..PAIRS {
        if 2 * number >= usize::from(count) {
            break;
        }
        let from = watched.get(FIRST + number * PAIR..);
        let from = from.and_then(|rest| rest.first_chunk::<PAIR>());
        if let (Some(from), Some(to)) = (from, room_at::<PAIR>(room, at)) {
            *to = *from;
        }
        at += PAIR as u32;
    }
    at
}

const _: () = {
    assert!(PAIRS * 2 == RECORDS_MAX);
    assert!(size_of::<Watched>() == 8 * (FLOW + 2 * RECORDS));
    assert!(size_of::<Tail>() == 8);
};
