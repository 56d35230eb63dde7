//! One packet as if of many clients, in turn or at random.

use anyhow::Context;
use aya::Ebpf;
use aya::maps::{HashMap, PerCpuArray, PerCpuValues, ProgramArray};
use aya::programs::Xdp;
use aya::util::nr_cpus;
use detector_common::flow::{Address, FlowKey, Settled};
use detector_user::source::tap::object::{ObjectOptions, load};
use detector_user::source::tap::rings::Rings;

use super::cases::{self, Case};
use super::programs::{Nobody, references, run, xdp};

/// Clients in turn whose observations and handshake bytes the rings hold at once.
pub(super) const AT_ONCE: u32 = 2048;
/// Clients at random.
const CLIENTS: u32 = 1 << 20;
/// Flows in their handshake or at their end while a million are established.
const WATCHED: u32 = 62_500;

/// Number of the next client.
#[derive(Clone, Copy)]
pub(super) enum Order {
    InTurn,
    AtRandom,
}

impl Order {
    fn program(self) -> &'static str {
        match self {
            Self::InTurn => "in_turn",
            Self::AtRandom => "at_random",
        }
    }
}

/// The object and the references behind a program that changes the client.
pub(super) struct Clients {
    references: Ebpf,
    next: ProgramArray<aya::maps::MapData>,
    turn: PerCpuArray<aya::maps::MapData, u32>,
    object: Ebpf,
    rings: Rings,
    order: Order,
    client_port: u16,
}

impl Clients {
    pub(super) fn load(order: Order) -> anyhow::Result<Self> {
        let options = match order {
            Order::InTurn => ObjectOptions::default(),
            Order::AtRandom => ObjectOptions {
                watched_flows: WATCHED,
                settled_flows: CLIENTS,
                ..ObjectOptions::default()
            },
        };
        let mut object = load(&options)?;
        xdp(&mut object, "tlswhy_xdp")?.load()?;
        // As an LRU map evicts before it is full, it gets some more room.
        let mut references = references(CLIENTS + CLIENTS / 8)?;
        let next = references.take_map("NEXT").context("no such map")?;
        let turn = references.take_map("TURN").context("no such map")?;
        Ok(Self {
            next: next.try_into()?,
            turn: turn.try_into()?,
            references,
            rings: Rings::take(&mut object)?,
            object,
            order,
            client_port: 1024,
        })
    }

    /// Brings new connections of the clients to where the case's packet comes, and returns that.
    pub(super) fn prepare(&mut self, case: &Case) -> anyhow::Result<Vec<u8>> {
        self.client_port += 1;
        let (before, packet) = case.packets(self.client_port);
        for frame in before {
            self.tlswhy(&frame, AT_ONCE)?;
            self.rings.drain(&mut Nobody);
        }
        self.rings.drain(&mut Nobody);
        Ok(packet)
    }

    /// Establishes a connection of every client, and has as many as are allowed begin another; returns
    /// a segment of the established ones' data.
    pub(super) fn establish_all(&mut self) -> anyhow::Result<Vec<u8>> {
        let (before, segment) = cases::established();
        let map = self.object.map_mut("SETTLED").context("no such map")?;
        let mut settled: HashMap<_, [u8; size_of::<FlowKey>()], [u8; size_of::<Settled>()]> =
            map.try_into()?;
        for client in 0..CLIENTS {
            settled.insert(key_of(client), [0; size_of::<Settled>()], 0)?;
        }
        self.order = Order::InTurn;
        let hello = before.first().context("a connection begins with a hello")?;
        let mut other = hello.clone();
        if let Some(port) = other.get_mut(34..36) {
            port.copy_from_slice(&1024u16.to_be_bytes());
        }
        self.tlswhy(&other, WATCHED)?;
        self.order = Order::AtRandom;
        self.rings.drain(&mut Nobody);
        Ok(segment)
    }

    pub(super) fn empty(&mut self, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
        self.reference("reference_empty", packet, repeat)
    }

    pub(super) fn lru(&mut self, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
        self.reference("reference_lru", packet, repeat)
    }

    pub(super) fn tlswhy(&mut self, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
        let program = xdp(&mut self.object, "tlswhy_xdp")?.fd()?;
        self.next.set(0, program, 0)?;
        self.run(packet, repeat)
    }

    /// Sends the next runs to the agent's program, beginning with the first client; returns the
    /// first of as many unused ports.
    pub(super) fn begin(&mut self, ports: usize) -> anyhow::Result<u16> {
        let first = self.client_port + 1;
        self.client_port += ports as u16;
        let program = xdp(&mut self.object, "tlswhy_xdp")?.fd()?;
        self.next.set(0, program, 0)?;
        self.rewind()?;
        Ok(first)
    }

    /// Returns the program that changes the client and goes on.
    pub(super) fn program(&mut self) -> anyhow::Result<&Xdp> {
        Ok(xdp(&mut self.references, self.order.program())?)
    }

    pub(super) fn drain(&mut self) {
        self.rings.drain(&mut Nobody);
    }

    fn reference(&mut self, name: &str, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
        let program = xdp(&mut self.references, name)?.fd()?;
        self.next.set(0, program, 0)?;
        self.run(packet, repeat)
    }

    fn run(&mut self, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
        self.rewind()?;
        run(self.program()?, packet, repeat)
    }

    fn rewind(&mut self) -> anyhow::Result<()> {
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        let turns = PerCpuValues::try_from(vec![0; cpus])?;
        Ok(self.turn.set(0, turns, 0)?)
    }
}

/// Returns the key of a client's connection on the loopback device, where test runs take place, as
/// bytes.
fn key_of(client: u32) -> [u8; size_of::<FlowKey>()] {
    let mut key = FlowKey {
        addresses: [
            Address::from_ipv4(0x0a00_0000 | client),
            Address::from_ipv4(0x0a00_0002),
        ],
        ports: [40_112, 443],
        interface: 1,
        ..FlowKey::default()
    };
    key.canonicalize();
    let mut bytes = [0; size_of::<FlowKey>()];
    let [one, other] = key.addresses.map(|address| address.octets());
    let [one_port, other_port] = key.ports.map(u16::to_ne_bytes);
    let parts: [&[u8]; 4] = [&one, &other, &one_port, &other_port];
    for (to, from) in bytes.iter_mut().zip(parts.concat()) {
        *to = from;
    }
    let [.., a, b, c, d, _, _, _, _] = &mut bytes;
    [*a, *b, *c, *d] = key.interface.to_ne_bytes();
    bytes
}
