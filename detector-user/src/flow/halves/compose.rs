//! One connection of two halves, as one tap would have observed it.

use detector_common::flow::{Flow, FlowKey, Record, Sender, Side, flow_flags, side_flags};
use detector_common::headers::tcp_flags;
use detector_common::observation::{ChunkHead, Measured, Observation, baseline, events};
use detector_common::syn::Syn;
use detector_common::tracking::{before, is_settled};

use super::clocks::offset_ns;
use super::direction::{Direction, Placed, State};
use super::{Half, first_seq};

/// Events of a whole connection; a half's own mean nothing for it.
const WHOLE: u16 = events::HELLO
    | events::ALERT
    | events::SHORT_RECORD
    | events::FIN
    | events::RESET
    | events::SENT_AFTER_RESET
    | events::SETTLED
    | events::OUTLIVED_RESET;
/// Maximum distance of one side's first byte from the other's first acknowledgement: both belong to one connection.
const BEGINNING_MAX: u32 = 1 << 16;
/// Maximum bytes that a side acknowledges beyond those known of the other, which may have sent them unobserved.
const UNOBSERVED_MAX: u32 = 1 << 20;

/// An input of the tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An observation.
    Observation(Box<Observation>),
    /// Handshake bytes.
    Chunk(Box<ChunkHead>, Vec<u8>),
}

/// A composed connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// Observations and handshake bytes, in order.
    pub items: Vec<Item>,
    /// Time of the last observation.
    pub last_ns: u64,
}

/// Whether two halves are of the same connection, by the numbers at their beginning.
#[must_use]
pub(super) fn belong_together(client: &Half, server: &Half) -> bool {
    let (Some(hello), Some(answer)) = (client.observations.first(), server.observations.first())
    else {
        return false;
    };
    // A segment that comes before what it follows was sent again.
    let is_near = |ahead: u32| ahead < BEGINNING_MAX || ahead.wrapping_neg() < BEGINNING_MAX;
    let same_ends = hello.key.addresses == answer.key.addresses
        && hello.key.ports == answer.key.ports
        && hello.watched.flow.client_endpoint == answer.watched.flow.client_endpoint;
    let follows = is_near(first_seq(answer).wrapping_sub(hello.measured.ack));
    // A reset may acknowledge nothing.
    let acknowledges = answer.measured.flags & tcp_flags::ACK != 0;
    let answers = is_near(answer.measured.ack.wrapping_sub(first_seq(hello)));
    same_ends && follows && (answers || !acknowledges)
}

/// Composes two halves. The flow has the client's times moved by `shift_ns`, and the `interface`. `None` if they are
/// not of one connection.
#[must_use]
pub fn compose(client: &Half, server: &Half, interface: u32, shift_ns: i64) -> Option<Composed> {
    if (client.side, server.side) != (Sender::Client, Sender::Server)
        || !belong_together(client, server)
    {
        return None;
    }
    let hello = client.observations.first()?;
    let answer = server.observations.first()?;
    let key = FlowKey {
        interface,
        ..hello.key
    };
    // An answer follows in any case.
    let least = hello.time_ns.wrapping_sub(answer.time_ns).cast_signed();
    let offset_ns = offset_ns(client, server)?.max(least);
    let client_direction = Direction::new(client, shift_ns);
    let server_direction = Direction::new(server, offset_ns.saturating_add(shift_ns));
    let started_ns = client_direction.moved(hello.watched.flow.started_ns);
    let mut flow = Composer {
        records: ranked(
            &client_direction.records(),
            &server_direction.records(),
            started_ns,
        ),
        directions: [client_direction, server_direction],
        key,
        started_ns,
        hello,
        answer,
        settled: false,
        resumed_ns: None,
        outlived: [false; 2],
        number: 0,
    };
    let mut items = flow.chunks([client, server]);
    items.extend(flow.observations());
    let last_ns = items.iter().rev().find_map(|it| match it {
        Item::Observation(observation) => Some(observation.time_ns),
        Item::Chunk(..) => None,
    })?;
    Some(Composed { items, last_ns })
}

struct Composer<'a> {
    directions: [Direction<'a>; 2],
    /// Records of both sides on the composed clock, with their ranks.
    records: [Vec<(u64, Record)>; 2],
    key: FlowKey,
    started_ns: u64,
    hello: &'a Observation,
    answer: &'a Observation,
    /// Whether enough went both ways.
    settled: bool,
    /// When the first half was watched again after it had been settled.
    resumed_ns: Option<u64>,
    /// Whether the other side outlived a side's reset.
    outlived: [bool; 2],
    /// Observations so far.
    number: u8,
}

impl Composer<'_> {
    fn chunks(&self, halves: [&Half; 2]) -> Vec<Item> {
        let flow = &self.hello.watched.flow;
        let head = |sender: Sender, offset: u32, len: usize| ChunkHead {
            time_ns: self.started_ns,
            started_ns: self.started_ns,
            key: self.key,
            offset,
            len: u16::try_from(len).unwrap_or(u16::MAX),
            sender: sender as u8,
            client_endpoint: flow.client_endpoint,
            vlan: flow.vlan,
            reserved: 0,
        };
        let pieces = halves.into_iter().flat_map(|half| {
            let pieces = half.handshake.iter();
            pieces.map(|(offset, bytes)| (half.side, *offset, bytes))
        });
        pieces
            .map(|(side, offset, bytes)| {
                Item::Chunk(Box::new(head(side, offset, bytes.len())), bytes.clone())
            })
            .collect()
    }

    fn observations(&mut self) -> Vec<Item> {
        let of_side = |number: usize| {
            let direction = self.directions.get(number);
            let observations = direction.into_iter().flat_map(Direction::observations);
            observations.map(move |(time_ns, it)| (time_ns, number, it))
        };
        let mut all: Vec<(u64, usize, &Observation)> = of_side(0).chain(of_side(1)).collect();
        all.sort_by_key(|(time_ns, number, _)| (*time_ns, *number));
        let mut composed = Vec::new();
        for (time_ns, number, observation) in all {
            self.compose(time_ns, number, observation, &mut composed);
        }
        let items = composed.into_iter();
        items.map(|it| Item::Observation(Box::new(it))).collect()
    }

    /// Composes one observation, and appends it if a whole connection has such a one.
    fn compose(
        &mut self,
        time_ns: u64,
        number: usize,
        observation: &Observation,
        composed: &mut Vec<Observation>,
    ) {
        let sender = if number == 0 {
            Sender::Client
        } else {
            Sender::Server
        };
        let [client, server] = &self.directions;
        let (own, other) = match sender {
            Sender::Client => (client, server),
            Sender::Server => (server, client),
        };
        let State { mut side, .. } = own.at(time_ns);
        let State {
            side: mut peer,
            limit,
        } = other.at(time_ns);
        if observation.watched.flow.has(flow_flags::RESUMED) {
            self.resumed_ns.get_or_insert(time_ns);
        }
        let mut events = observation.events & WHOLE;
        if sender == Sender::Server {
            events &= !events::HELLO;
        }
        raise(&mut peer, limit, side.ack);
        let measured = self.measured(observation, time_ns, &mut peer, limit);
        if self.outlived[number] {
            side.flags |= side_flags::RESET_OUTLIVED;
        }
        if peer.is_reset() && goes_on(&measured, &peer) && !self.outlived[number ^ 1] {
            self.outlived[number ^ 1] = true;
            events |= events::OUTLIVED_RESET;
        }
        if self.outlived[number ^ 1] {
            peer.flags |= side_flags::RESET_OUTLIVED;
        }
        let sides = match sender {
            Sender::Client => [side, peer],
            Sender::Server => [peer, side],
        };
        let settles = !self.settled && has_settled(events, &sides);
        events &= !events::SETTLED;
        if settles {
            self.settled = true;
            events |= events::SETTLED;
        }
        if events == 0 {
            return;
        }
        self.number = self.number.saturating_add(1);
        let mut whole = Observation {
            time_ns,
            measured,
            key: self.key,
            events,
            sender: sender as u8,
            egress: observation.egress,
            ..Observation::default()
        };
        self.fill(&mut whole, sides);
        composed.push(whole);
    }

    /// Returns the segment, measured against the other side's baseline, too.
    fn measured(
        &self,
        observation: &Observation,
        time_ns: u64,
        peer: &mut Side,
        limit: Option<u32>,
    ) -> Measured {
        let mut measured = observation.measured;
        if !peer.has(side_flags::SEEN) {
            return measured;
        }
        if measured.flags & tcp_flags::ACK != 0 {
            raise(peer, limit, measured.ack);
        }
        measured.since_other_ns = time_ns.saturating_sub(peer.last_ns);
        measured.ack_ahead = measured.ack.wrapping_sub(peer.next_seq).cast_signed();
        measured.baseline |= baseline::OTHER | baseline::ACK;
        if self.resumed_ns.is_some() {
            measured.baseline |= baseline::STALE;
        }
        measured
    }

    /// Writes the flow as of an observation.
    fn fill(&self, observation: &mut Observation, mut sides: [Side; 2]) {
        let from_ns = self.resumed_ns.unwrap_or(0);
        let times = from_ns..=observation.time_ns;
        let lists = self.records.iter().zip(&mut observation.watched.records);
        let mut order = 0_u8;
        for ((all, list), side) in lists.zip(&mut sides) {
            let known = all.iter().filter(|(time_ns, _)| times.contains(time_ns));
            let known = known.map(|(_, record)| record);
            let filled = list
                .iter_mut()
                .zip(known)
                .map(|(slot, record)| *slot = *record);
            side.record_count = u8::try_from(filled.count()).unwrap_or(u8::MAX);
            order = order.saturating_add(side.record_count);
        }
        let [syn, _] = self.hello.watched.flow.syns;
        let [_, syn_ack] = self.answer.watched.flow.syns;
        let [client, server] = &self.directions;
        let on = |direction: &Direction<'_>, syn: Syn| match syn.was_seen() {
            true => Syn {
                time_ns: direction.moved(syn.time_ns),
                ..syn
            },
            false => Syn::default(),
        };
        let flags = self.resumed_ns.map_or(0, |_| flow_flags::RESUMED);
        observation.watched.flow = Flow {
            started_ns: self.started_ns,
            sides,
            syns: [on(client, syn), on(server, syn_ack)],
            vlan: self.hello.watched.flow.vlan,
            client_endpoint: self.hello.watched.flow.client_endpoint,
            flags,
            observations: self.number,
            order,
        };
    }
}

/// Moves a side's next number on to what the other acknowledges: it had sent that, be it unobserved. What lies beyond
/// its `limit`, or far away, it had not.
fn raise(peer: &mut Side, limit: Option<u32>, ack: u32) {
    let further = ack.wrapping_sub(peer.next_seq);
    let is_further = peer.has(side_flags::SEEN) && further > 0 && further <= UNOBSERVED_MAX;
    if !is_further || limit.is_some_and(|limit| before(limit, ack)) {
        return;
    }
    peer.next_seq = ack;
    if peer.has(side_flags::SYNCED) && before(peer.header_seq, ack) {
        // Records of it were not listed.
        peer.flags |= side_flags::GAP;
    }
}

/// Whether a segment acknowledges bytes behind the other side's reset.
fn goes_on(measured: &Measured, peer: &Side) -> bool {
    measured.flags & tcp_flags::ACK != 0
        && measured.flags & tcp_flags::RST == 0
        && before(peer.reset_end, measured.ack)
}

/// Whether enough went both ways: as the engine has it of a whole connection, or as it was of a half that the other
/// one answered.
fn has_settled(events: u16, sides: &[Side; 2]) -> bool {
    let [client, server] = sides;
    let is_reset = client.is_reset() || server.is_reset();
    let whole = is_settled(&Flow {
        sides: *sides,
        ..Flow::default()
    });
    let answered = client.application_records >= 1 && server.application_records >= 1;
    let half = events & events::SETTLED != 0 && answered;
    !is_reset && (whole || half)
}

/// Returns both sides' records with their times, and their places among all.
fn ranked(client: &[Placed], server: &[Placed], started_ns: u64) -> [Vec<(u64, Record)>; 2] {
    let times = [client, server].map(|side| side.iter().map(|it| it.time_ns));
    let [client_times, server_times] = times;
    let mut all: Vec<(u64, usize, usize)> = client_times
        .enumerate()
        .map(|(index, time_ns)| (time_ns, 0, index))
        .chain(
            server_times
                .enumerate()
                .map(|(index, time_ns)| (time_ns, 1, index)),
        )
        .collect();
    all.sort_unstable();
    let rank = |side: usize, index: usize| {
        let place = all.iter().position(|it| (it.1, it.2) == (side, index));
        place.unwrap_or(all.len()) as u8
    };
    let placed = |side: usize, records: &[Placed]| {
        let records = records.iter().enumerate();
        records
            .map(|(index, placed)| {
                let at_us = placed.time_ns.saturating_sub(started_ns) / 1000;
                let record = Record {
                    at_us: u32::try_from(at_us).unwrap_or(u32::MAX),
                    order: rank(side, index),
                    ..placed.record
                };
                (placed.time_ns, record)
            })
            .collect()
    };
    [placed(0, client), placed(1, server)]
}
