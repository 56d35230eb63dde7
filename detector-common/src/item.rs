//! An observation as an item of its ring, and of the file of unread items: as long as it has something to say.
//!
//! Words of 64 bits in host byte order: those that every item has, addresses, SYNs if any was seen, and of each
//! side the records so far, in pairs. Left out is the engine's own state, which nobody else reads, and the
//! records that are yet to come.

use zerocopy::{FromBytes, IntoBytes, transmute};

use crate::flow::{Address, Flow, FlowKey, RECORDS_MAX, Record, Side};
use crate::observation::{Measured, Observation};
use crate::report::{About, Report, Tail};
use crate::syn::Syn;

/// Words that every item has: ten of segment and flow, both sides, and two of the key.
pub(crate) const FIXED: usize = 10 + 2 * SIDE + 2;
/// Words of a side, of both addresses unless they are IPv4, of both SYNs, and of two records.
pub(crate) const SIDE: usize = 6;
pub(crate) const ADDRESSES: usize = 4;
pub(crate) const SYNS: usize = 6;
pub(crate) const PAIR: usize = 3;
/// Maximum pairs of records of a side.
pub(crate) const PAIRS: usize = RECORDS_MAX / 2;
/// Words of the longest item.
const WORDS_MAX: usize = FIXED + ADDRESSES + SYNS + 2 * PAIRS * PAIR;

/// Bits of an item's kind: its addresses are IPv4, and it has SYNs.
pub(crate) const IPV4: u8 = 4;
pub(crate) const HAS_SYNS: u8 = 8;
/// The others: fields of [`Observation`].
const SENDER: u8 = 1;
const EGRESS: u8 = 2;
const ALERT_UNSENT: u8 = 16;

/// Length of the longest item, bytes.
pub const ITEM_MAX: usize = 8 * WORDS_MAX;
/// Length of the shortest item, bytes.
pub const ITEM_MIN: usize = 8 * (FIXED + 1);

/// Mask of places in a [`Room`].
const PLACE_MASK: u32 = 127;
/// Room for an item. More than the longest needs, so that a mask keeps all places within it.
pub type Room = [u64; PLACE_MASK as usize + 1 + SYNS];

/// Returns the words from `at` on.
#[inline(always)]
pub(crate) fn room_at<const N: usize>(room: &mut Room, at: u32) -> Option<&mut [u64; N]> {
    room.get_mut((at & PLACE_MASK) as usize..)?
        .first_chunk_mut::<N>()
}

/// An observation as an item.
pub struct Item {
    room: Room,
    words: usize,
}

impl Item {
    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.room.get(..self.words).unwrap_or_default().as_bytes()
    }
}

impl Observation {
    /// Returns the item of which [`read`](Self::read) makes the same observation, without the engine's own
    /// state.
    pub fn to_item(&self) -> Item {
        let mut room = [0; _];
        let report = Report {
            time_ns: self.time_ns,
            measured: self.measured,
            key: &self.key,
            about: About::Watched(&self.watched),
            events: self.events,
            sender: self.sender,
            egress: self.egress,
            alert_unsent: self.alert_unsent,
        };
        let words = report.pack(&mut room, |number| number) as usize;
        Item { room, words }
    }

    /// Reads an item, which need not be aligned; `None` if it is none of exactly the length that it says.
    ///
    /// ```
    /// use detector_common::observation::Observation;
    ///
    /// let observation = Observation { time_ns: 7, ..Observation::default() };
    /// let item = observation.to_item();
    /// assert_eq!(Observation::read(item.as_bytes()), Some(observation));
    /// assert_eq!(Observation::read(&item.as_bytes()[8..]), None);
    /// ```
    pub fn read(item: &[u8]) -> Option<Self> {
        let mut words = Words(item);
        let mut observation = Self::default();
        let kind = read_fixed(words.array()?, &mut observation)?;
        observation.key.addresses = if kind & IPV4 != 0 {
            let [addresses] = words.array()?;
            [addresses, addresses >> 32].map(|address| Address::from_ipv4(address as u32))
        } else {
            transmute!(words.array::<ADDRESSES>()?)
        };
        let watched = &mut observation.watched;
        if kind & HAS_SYNS != 0 {
            for syn in &mut watched.flow.syns {
                read_syn(words.array()?, syn);
            }
        }
        for (side, records) in watched.flow.sides.iter().zip(&mut watched.records) {
            let used = records.get_mut(..usize::from(side.record_count))?;
            for pair in used.chunks_mut(2) {
                let read: [Record; 2] = transmute!(words.array::<PAIR>()?);
                for (record, read) in pair.iter_mut().zip(read) {
                    *record = read;
                }
            }
        }
        words.is_empty().then_some(observation)
    }
}

/// Reads the words that every item has; returns its kind.
fn read_fixed(fixed: [u64; FIXED], observation: &mut Observation) -> Option<u8> {
    let [numbers @ .., _, _] = &fixed;
    let (numbers, sides) = numbers.split_first_chunk::<10>()?;
    let [
        time_ns,
        started_ns,
        since_same_ns,
        since_other_ns,
        mac,
        seq,
        ack,
        segment,
        about,
        tail,
    ] = *numbers;
    let [events, measures, counts, kind] = quarters(about);
    let kind = u8::try_from(kind).ok()?;
    if kind & !(SENDER | EGRESS | IPV4 | HAS_SYNS | ALERT_UNSENT) != 0 {
        return None;
    }
    observation.time_ns = time_ns;
    observation.events = events;
    observation.sender = kind & SENDER;
    observation.egress = (kind & EGRESS) >> 1;
    observation.alert_unsent = (kind & ALERT_UNSENT) >> 4;
    observation.measured = Measured {
        since_same_ns,
        since_other_ns,
        mac: mac & MAC_MASK,
        seq: seq as u32,
        ack: ack as u32,
        seq_ahead: (seq >> 32) as i32,
        ack_ahead: (ack >> 32) as i32,
        payload_len: segment as u32,
        window: (mac >> 48) as u16,
        ip_id: (segment >> 32) as u16,
        flags: (segment >> 48) as u8,
        ttl: (segment >> 56) as u8,
        options_len: measures as u8,
        baseline: (measures >> 8) as u8,
        reserved: [0; 4],
    };
    let flow = &mut observation.watched.flow;
    flow.started_ns = started_ns;
    set_tail(flow, transmute!(tail));
    let [syn, syn_ack] = &mut flow.syns;
    [syn.count, syn_ack.count] = [counts as u8, (counts >> 8) as u8];
    for (side, words) in flow.sides.iter_mut().zip(sides.as_chunks().0) {
        *side = read_side(words);
    }
    let [.., ports, place] = fixed;
    let [one, other, outer, inner] = quarters(ports);
    observation.key = FlowKey {
        ports: [one, other],
        vlan: [outer, inner],
        interface: place as u32,
        tunnel: (place >> 32) as u32,
        ..FlowKey::default()
    };
    Some(kind)
}

/// The bits of a word that a MAC address takes.
const MAC_MASK: u64 = (1 << 48) - 1;

/// Returns a word's four parts, the lowest first.
fn quarters(word: u64) -> [u16; 4] {
    [word, word >> 16, word >> 32, word >> 48].map(|part| part as u16)
}

fn read_side(words: &[u64; SIDE]) -> Side {
    let [last_ns, mac, a, b, c, d] = *words;
    let words: [u64; size_of::<Side>() / 8] = [last_ns, mac & MAC_MASK, a, b, c, d, 0, 0, 0, 0];
    Side {
        resets: (mac >> 48) as u8,
        after_reset: (mac >> 56) as u8,
        ..transmute!(words)
    }
}

fn read_syn([time_ns, mac, rest]: [u64; SYNS / 2], syn: &mut Syn) {
    let [.., window, ip_id] = quarters(rest);
    *syn = Syn {
        time_ns,
        mac: mac & MAC_MASK,
        next_seq: rest as u32,
        window,
        ip_id,
        ttl: (mac >> 48) as u8,
        options_len: (mac >> 56) as u8,
        ..*syn
    };
}

/// Sets the last word of a flow.
pub(crate) fn set_tail(flow: &mut Flow, tail: Tail) {
    flow.vlan = tail.vlan;
    flow.client_endpoint = tail.client_endpoint;
    flow.flags = tail.flags;
    flow.observations = tail.observations;
    flow.order = tail.order;
}

/// An item's words that were not read yet.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u64; N]> {
        let (words, rest) = <[u64; N]>::read_from_prefix(self.0).ok()?;
        self.0 = rest;
        Some(words)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const _: () = {
    assert!(WORDS_MAX <= PLACE_MASK as usize + 1);
    assert!(ITEM_MIN == 200 && ITEM_MAX == 656);
    assert!(size_of::<Address>() == 16 && size_of::<Record>() * 2 == 8 * PAIR);
};
