//! An entry of which nothing but a whole ClientHello was seen, as a few bytes.
//!
//! Its state is that of one observation. That is written as its difference from a usual one: most of it is zero.

use std::sync::Arc;

use detector_common::flow::{Record, Side, side_flags};
use detector_common::observation::Observation;
use detector_common::record::{CLIENT_HELLO, HANDSHAKE, HEADER_LEN};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::Entry;
use crate::flow::flow_id::FlowId;
use crate::flow::tls::client_hello::{ClientHello, EchOffer};
use crate::flow::tls::offers::Offers;
use crate::flow::tls::shared_name::shared_name;
use crate::flow::tracker::buffers::Buffers;
use crate::flow::tracker::latest::Latest;

/// A packed entry.
pub(in crate::flow::tracker) struct Packed {
    /// The difference, then the hello's own fields.
    bytes: Box<[u8]>,
    offers: Arc<Offers>,
}

/// Zero bytes between others that are written with them.
const JOINED: usize = 2;

impl Entry {
    /// Packs the entry, whose tap has this number; `None` if there is more to it than a hello.
    pub(in crate::flow::tracker) fn pack(&self, flow: &FlowId, tap: u8) -> Option<Packed> {
        let hello = self.view.hello()?;
        let record = self.latest.as_deref()?.only_of_client()?;
        let [client, server] = &self.sides;
        let untouched = !self.settled
            && !self.resumed
            && self.hello
            && self.half.is_none()
            && self.preamble.is_none()
            && self.unreachable.is_none()
            && self.closes.is_empty()
            && self.late_alert.is_none()
            && self.elsewhere_us.is_empty()
            && self.resets_outlived == 0
            && self.alert_acknowledges == [None; 2]
            && *server == Side::default()
            && client.record_count == 1
            && self.started_ns == flow.started_ns
            && self.view.hello_len() == len_of(&record)
            && !self.view.has_more_than_hello();
        if !untouched {
            return None;
        }
        let mut told = Observation {
            time_ns: self.last_ns,
            egress: u8::from(self.hello_egress),
            sender: u8::from(self.announced),
            ..Observation::default()
        };
        let state = &mut told.watched.flow;
        state.started_ns = flow.started_ns;
        state.client_endpoint = self.client_endpoint;
        state.vlan = self.vlan;
        state.sides = self.sides;
        state.syns = self.syns;
        let [[first, ..], _] = &mut told.watched.records;
        *first = record;
        let mut bytes = Vec::with_capacity(256);
        write_difference(&told, flow, &mut bytes);
        bytes.push(tap);
        write_hello(hello, &mut bytes)?;
        Some(Packed {
            bytes: bytes.into(),
            offers: Arc::clone(hello.offers()),
        })
    }
}

impl Packed {
    /// Returns the time of the last observation, nanoseconds on the tap's clock.
    pub(in crate::flow::tracker) fn last_ns(&self, flow: &FlowId) -> u64 {
        let told = read_difference(flow, &mut &*self.bytes);
        told.map_or(0, |told| told.time_ns)
    }

    /// Restores the entry; `tap` returns the tap's name by its number.
    pub(in crate::flow::tracker) fn unpack(
        self,
        flow: &FlowId,
        tap: impl FnOnce(u8) -> Arc<str>,
        buffers: &mut Buffers,
    ) -> Option<Box<Entry>> {
        let mut rest = &*self.bytes;
        let told = read_difference(flow, &mut rest)?;
        let number = take(&mut rest, 1)?.first().copied()?;
        let hello = read_hello(&mut rest, self.offers)?;
        let state = &told.watched.flow;
        let mut entry = buffers.entry(flow.started_ns, tap(number));
        entry.last_ns = told.time_ns;
        entry.hello = true;
        entry.hello_egress = told.egress != 0;
        entry.announced = told.sender != 0;
        entry.client_endpoint = state.client_endpoint;
        entry.vlan = state.vlan;
        entry.sides = state.sides;
        entry.syns = state.syns;
        let [[record, ..], _] = &told.watched.records;
        entry.view.set_hello(hello, len_of(record));
        let mut latest = buffers.latest();
        latest.read(&told);
        entry.latest = Some(latest);
        Some(entry)
    }
}

impl Latest {
    /// Returns the client's record if there is no other.
    fn only_of_client(&self) -> Option<Record> {
        match self.sides() {
            [[record], []] => Some(*record),
            _ => None,
        }
    }
}

/// Returns the bytes of a record with its header.
fn len_of(record: &Record) -> usize {
    HEADER_LEN as usize + usize::from(record.length)
}

/// Exchanges fields for their differences from others that are alike as a rule, and back.
fn fold(told: &mut Observation) {
    let flow = &mut told.watched.flow;
    let [client, _] = &mut flow.sides;
    let (start, next, mac) = (client.start_seq, client.next_seq, client.mac);
    client.header_seq ^= next;
    client.sent_to ^= next;
    client.ttl_max ^= client.ttl_min;
    let [syn, syn_ack] = &mut flow.syns;
    if syn.was_seen() {
        syn.next_seq ^= start;
        syn.mac ^= mac;
        syn.time_ns ^= flow.started_ns;
    }
    if syn_ack.was_seen() {
        syn_ack.time_ns ^= flow.started_ns;
    }
    let [[record, ..], _] = &mut told.watched.records;
    let len = next.wrapping_sub(start).wrapping_sub(HEADER_LEN);
    record.length ^= len as u16;
}

/// Returns a usual observation of a hello, with exchanged fields.
fn usual(flow: &FlowId) -> Observation {
    let mut usual = Observation {
        time_ns: flow.started_ns,
        ..Observation::default()
    };
    let state = &mut usual.watched.flow;
    state.started_ns = flow.started_ns;
    let [client, _] = &mut state.sides;
    client.last_ns = flow.started_ns;
    client.flags = side_flags::SEEN | side_flags::STARTED | side_flags::SYNCED;
    client.ttl_min = 64;
    client.record_count = 1;
    let [[record, ..], _] = &mut usual.watched.records;
    record.content_type = HANDSHAKE;
    record.version_minor = 1;
    record.detail = [CLIENT_HELLO, 0];
    usual
}

/// Writes numbers of equal bytes and of others, and the others' differences.
fn write_difference(told: &Observation, flow: &FlowId, bytes: &mut Vec<u8>) {
    let mut told = *told;
    fold(&mut told);
    let usual = usual(flow);
    let pairs = told.as_bytes().iter().zip(usual.as_bytes());
    let difference: Vec<u8> = pairs.map(|(one, other)| one ^ other).collect();
    write_sparse(&difference, bytes);
}

fn write_sparse(difference: &[u8], bytes: &mut Vec<u8>) {
    let mut rest = difference;
    while let Some(equal) = rest.iter().position(|byte| *byte != 0) {
        let skipped = equal.min(usize::from(u8::MAX));
        rest = rest.get(skipped..).unwrap_or_default();
        let end = if skipped < equal { 0 } else { run(rest) };
        bytes.extend([skipped as u8, end as u8]);
        let (others, behind) = rest.split_at(end);
        bytes.extend_from_slice(others);
        rest = behind;
    }
    bytes.extend([u8::MAX, u8::MAX]);
}

/// Returns the length of the bytes before the next zeros that are worth skipping.
fn run(bytes: &[u8]) -> usize {
    let mut end = 0;
    for (at, byte) in bytes.iter().enumerate().take(usize::from(u8::MAX) - 1) {
        if *byte != 0 {
            end = at + 1;
        } else if at >= end + JOINED {
            break;
        }
    }
    end
}

fn read_sparse(difference: &mut [u8], bytes: &mut &[u8]) -> Option<()> {
    let mut at = 0;
    loop {
        let [skipped, len] = *take(bytes, 2)? else {
            return None;
        };
        if [skipped, len] == [u8::MAX, u8::MAX] {
            return Some(());
        }
        at += usize::from(skipped);
        let others = take(bytes, usize::from(len))?;
        difference
            .get_mut(at..at + others.len())?
            .copy_from_slice(others);
        at += others.len();
    }
}

fn read_difference(flow: &FlowId, bytes: &mut &[u8]) -> Option<Observation> {
    let mut difference = [0; size_of::<Observation>()];
    read_sparse(&mut difference, bytes)?;
    let usual = usual(flow);
    let pairs = difference.iter_mut().zip(usual.as_bytes());
    pairs.for_each(|(byte, usual)| *byte ^= usual);
    let mut told = Observation::read_from_bytes(&difference).ok()?;
    fold(&mut told);
    Some(told)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// Bits of the byte before a hello's own fields.
mod has {
    pub(super) const NAME: u8 = 1;
    pub(super) const TICKET: u8 = 2;
    pub(super) const ECH: u8 = 4;
    pub(super) const COMPLETE: u8 = 8;
}

fn write_hello(hello: &ClientHello, bytes: &mut Vec<u8>) -> Option<()> {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    bytes.push(
        flag(hello.server_name.is_some(), has::NAME)
            | flag(hello.session_ticket.is_some(), has::TICKET)
            | flag(hello.ech.is_some(), has::ECH)
            | flag(hello.complete, has::COMPLETE),
    );
    bytes.extend_from_slice(&hello.random);
    bytes.push(u8::try_from(hello.session_id.len()).ok()?);
    bytes.extend_from_slice(&hello.session_id);
    if let Some(ticket) = hello.session_ticket {
        bytes.extend(ticket.to_ne_bytes());
    }
    if let Some(ech) = hello.ech {
        bytes.push(ech.config_id);
        bytes.extend(ech.payload_len.to_ne_bytes());
    }
    if let Some(name) = &hello.server_name {
        bytes.extend_from_slice(name.as_bytes());
    }
    Some(())
}

fn read_hello(bytes: &mut &[u8], offers: Arc<Offers>) -> Option<ClientHello> {
    let flags = *take(bytes, 1)?.first()?;
    let number = |bytes: &mut &[u8]| Some(u16::from_ne_bytes(take(bytes, 2)?.try_into().ok()?));
    let mut hello = ClientHello::with_offers(offers);
    hello.random = take(bytes, 32)?.try_into().ok()?;
    let len = *take(bytes, 1)?.first()?;
    hello.session_id = take(bytes, usize::from(len))?.into();
    if flags & has::TICKET != 0 {
        hello.session_ticket = Some(number(bytes)?);
    }
    if flags & has::ECH != 0 {
        hello.ech = Some(EchOffer {
            config_id: *take(bytes, 1)?.first()?,
            payload_len: number(bytes)?,
        });
    }
    if flags & has::NAME != 0 {
        hello.server_name = Some(shared_name(std::str::from_utf8(bytes).ok()?));
    }
    hello.complete = flags & has::COMPLETE != 0;
    Some(hello)
}

#[cfg(test)]
mod tests {
    use detector_common::flow::{FlowKey, Sender};
    use detector_common::observation::{ChunkHead, events};
    use detector_common::syn::Syn;
    use proptest::prelude::*;

    use super::*;
    use crate::flow::timeline::Ending;
    use crate::flow::tls::tests::{client_hello, extension, message, record, sni};

    fn bytes_of_hello(name: &str, ticket: Option<usize>, ech: bool) -> Vec<u8> {
        let mut extensions = vec![sni(name), extension(0x2a2a, &[])];
        extensions.extend(ticket.map(|len| extension(35, &vec![1; len])));
        extensions.extend(ech.then(|| extension(0xfe0d, &[0, 0, 1, 0, 1, 7, 0, 0, 0, 3, 1, 2, 3])));
        record(
            22,
            &message(1, &client_hello(&[0x1301, 0x1302], &extensions)),
        )
    }

    /// Returns an observation of a hello with these bytes.
    fn told(hello: &[u8], numbers: [u32; 4], seen: [bool; 2], late_ns: u64) -> Observation {
        let mut told = Observation {
            time_ns: 5_000 + late_ns,
            events: events::HELLO,
            ..Observation::default()
        };
        let flow = &mut told.watched.flow;
        flow.started_ns = 5_000;
        flow.vlan = [numbers[3] as u16 & 0xfff, 0];
        flow.client_endpoint = 1;
        let [start, ack, mac, odd] = numbers;
        flow.sides[0] = Side {
            last_ns: 5_000 + late_ns,
            mac: u64::from(mac),
            start_seq: start,
            next_seq: start.wrapping_add(hello.len() as u32),
            header_seq: start.wrapping_add(hello.len() as u32),
            sent_to: start.wrapping_add(hello.len() as u32 & odd),
            ack,
            window: ack as u16,
            ip_id: odd as u16,
            flags: 7,
            ttl_min: 57,
            ttl_max: 64,
            record_count: 1,
            ..Side::default()
        };
        for (syn, seen) in flow.syns.iter_mut().zip(seen) {
            if seen {
                *syn = Syn {
                    time_ns: 4_000,
                    mac: 9,
                    next_seq: start,
                    ttl: 64,
                    count: 2,
                    ..Syn::default()
                };
            }
        }
        told.watched.records[0][0] = Record {
            length: (hello.len() - 5) as u16,
            content_type: 22,
            version_minor: 1,
            detail: [1, odd as u8],
            ..Record::default()
        };
        told
    }

    proptest! {
        /// An unpacked entry goes on as if it had never been packed.
        #[test]
        fn an_entry_is_restored_as_it_was(
            name in "[a-z]{1,30}\\.test",
            ticket: Option<u8>,
            ech: bool,
            numbers: [u32; 4],
            seen: [bool; 2],
            late_ns in 0_u64..3,
            further in proptest::collection::vec(any::<u8>(), 1..50),
        ) {
            let hello = bytes_of_hello(&name, ticket.map(usize::from), ech);
            let observation = told(&hello, numbers, seen, late_ns);
            let flow = FlowId { key: FlowKey::default(), started_ns: 5_000 };
            let tap: Arc<str> = "lan0".into();
            let mut buffers = Buffers::default();
            let mut entry = buffers.entry(5_000, Arc::clone(&tap));
            let head = ChunkHead { vlan: observation.watched.flow.vlan, client_endpoint: 1, ..ChunkHead::default() };
            entry.feed(Sender::Client, &head, &hello);
            entry.observe(&observation, &mut buffers);
            let packed = entry.pack(&flow, 3).unwrap();
            prop_assert!(packed.bytes.len() < 200, "{}", packed.bytes.len());
            prop_assert_eq!(packed.last_ns(&flow), observation.time_ns);
            let named = |number| {
                assert_eq!(number, 3);
                tap
            };
            let mut restored = packed.unpack(&flow, named, &mut buffers).unwrap();
            let mut timelines = [&mut entry, &mut restored].map(|entry| {
                let first = format!("{:?}", entry.timeline(flow, &mut buffers));
                let later = ChunkHead { offset: hello.len() as u32, ..head };
                entry.feed(Sender::Client, &later, &further);
                entry.feed(Sender::Server, &head, &further);
                (first, format!("{:?}", entry.last_timeline(flow, Some(Ending::Cut), &mut buffers)))
            });
            let [one, other] = &mut timelines;
            prop_assert_eq!(one, other);
        }
    }
}
