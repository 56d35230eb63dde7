//! State of a flow: its key, each side's numbers, and the records seen so far.
//!
//! Observations contain these types, and maps store them, so their layout is fixed: no implicit
//! padding, numbers in host byte order unless stated otherwise.

use core::mem::{align_of, offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::syn::Syn;

/// Records kept per side.
pub const RECORDS_MAX: usize = 16;

/// An IPv6 address, or an IPv4 address in IPv4-mapped form (RFC 4291 §2.5.5.2).
///
/// In memory it is the 16 bytes in network order; two words rather than an array, because the
/// eBPF compiler spends one register per byte of an array.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct Address {
    words: [u64; 2],
}

impl Address {
    /// Returns the IPv4-mapped form of an IPv4 address in host byte order.
    #[inline(always)]
    pub const fn from_ipv4(address: u32) -> Self {
        Self {
            words: [0, (0xffff_0000_0000 | address as u64).to_be()],
        }
    }

    /// Returns the address whose upper and lower 64 bits are given in host byte order.
    #[inline(always)]
    pub const fn from_halves(high: u64, low: u64) -> Self {
        Self {
            words: [high.to_be(), low.to_be()],
        }
    }

    /// Returns 0 for the IPv4-mapped form of an IPv4 address.
    #[inline(always)]
    pub(crate) const fn beyond_ipv4(&self) -> u64 {
        let [high, low] = self.words;
        high | u64::from_be(low) >> 32 ^ 0xffff
    }

    /// Returns the last 32 bits in host byte order, all of an IPv4 address.
    #[inline(always)]
    pub(crate) const fn last_word(&self) -> u32 {
        let [_, low] = self.words;
        u64::from_be(low) as u32
    }

    /// Returns both halves as they lie in memory, for hashing.
    #[inline(always)]
    pub(crate) const fn halves(&self) -> (u64, u64) {
        let [high, low] = self.words;
        (high, low)
    }

    /// Returns the 16 bytes in network order.
    pub const fn octets(&self) -> [u8; 16] {
        let [high, low] = self.words;
        (((u64::from_be(high) as u128) << 64) | u64::from_be(low) as u128).to_be_bytes()
    }
}

/// A TCP connection as one tap sees it, the same for both directions.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct FlowKey {
    /// Both addresses, in an order that does not depend on the direction.
    pub addresses: [Address; 2],
    /// Their ports.
    pub ports: [u16; 2],
    /// VLAN IDs, outermost first, 0 for none; zeros if the tap cannot see them in both directions.
    pub vlan: [u16; 2],
    /// Interface index of the tap, or the interface's number in a capture.
    pub interface: u32,
    /// Tunnel that carries the connection's frames, see [`crate::tunnel::TunnelTag`]; 0 for none.
    pub tunnel: u32,
}

impl FlowKey {
    /// Orders source and destination (endpoints 0 and 1 so far); returns the source's new index.
    #[inline(always)]
    pub fn canonicalize(&mut self) -> u8 {
        let [source, destination] = &self.addresses;
        let [source_port, destination_port] = self.ports;
        if order(source, source_port) <= order(destination, destination_port) {
            return 0;
        }
        self.addresses.swap(0, 1);
        self.ports.swap(0, 1);
        1
    }
}

/// Returns the sort key of an endpoint. Any total order would do; this one is three native
/// comparisons.
#[inline(always)]
fn order(address: &Address, port: u16) -> (u64, u64, u16) {
    let [high, low] = address.words;
    (low, high, port)
}

/// Side of a TLS connection, as a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Sender {
    /// The side that sent the ClientHello.
    Client = 0,
    /// The other.
    Server = 1,
}

/// One TLS record as its header shows it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Record {
    /// Time of its header, microseconds since the flow began, saturating.
    pub at_us: u32,
    /// Length of its body, in bytes.
    pub length: u16,
    /// ContentType (RFC 8446 §5.1).
    pub content_type: u8,
    /// Low byte of the record's version.
    pub version_minor: u8,
    /// First two body bytes of alert and handshake records: level and description, or HandshakeType
    /// and a length byte. Ciphertext if the record is encrypted.
    pub detail: [u8; 2],
    /// Rank among all records of both sides, wrapping; breaks ties of `at_us`.
    pub order: u8,
    /// See [`record_flags`].
    pub flags: u8,
}

/// Bits of [`Record::flags`].
pub mod record_flags {
    /// Bytes before it are missing; it begins at the next plausible header.
    pub const AFTER_GAP: u8 = 1;
    /// It arrived after bytes that follow it.
    pub const LATE: u8 = 2;
}

/// State of one side. Its first part travels with each observation, the engine's own comes last.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Side {
    /// Time of its last segment, nanoseconds on the host's clock; 0 before any.
    pub last_ns: u64,
    /// Source MAC address of its last segment, in the low 48 bits.
    pub mac: u64,
    /// Sequence number of its first payload byte seen.
    pub start_seq: u32,
    /// Sequence number after its highest payload byte or FIN seen.
    pub next_seq: u32,
    /// Its last acknowledgement number.
    pub ack: u32,
    /// Sequence number of its next record header.
    pub header_seq: u32,
    /// Sequence number after all that it had sent by its last RST: its peer acknowledges more only
    /// if it outlived the RST.
    pub reset_end: u32,
    /// Application-data records, saturating.
    pub application_records: u16,
    /// Last IPv4 identification.
    pub ip_id: u16,
    /// Last window, unscaled.
    pub window: u16,
    /// See [`side_flags`].
    pub flags: u16,
    /// Lowest TTL or hop limit, except of resets.
    pub ttl_min: u8,
    /// Highest TTL or hop limit, except of resets.
    pub ttl_max: u8,
    /// Bytes of TCP options in its last segment, except of resets.
    pub options_len: u8,
    /// Number of records in the timeline.
    pub record_count: u8,
    /// RST segments, saturating.
    pub resets: u8,
    /// Segments without RST after a RST of its own, saturating.
    pub after_reset: u8,
    /// Number of bytes in `head`.
    pub head_len: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// Bytes of a record's head received so far, the first in the highest byte.
    pub head: u64,
    /// Sequence number of a record header in bytes not received yet: the hole's beginning.
    pub hole_seq: u32,
    /// Sequence number after the hole.
    pub hole_end: u32,
    /// Sequence number up to which handshake bytes were sent to user space without a hole.
    pub sent_to: u32,
    /// Sequence number of the first encrypted record.
    pub plaintext_end: u32,
}

/// Bits of [`Side::flags`].
pub mod side_flags {
    /// A segment of this side was seen.
    pub const SEEN: u16 = 1;
    /// Payload of this side was seen.
    pub const STARTED: u16 = 2;
    /// `header_seq` is known.
    pub const SYNCED: u16 = 4;
    /// Bytes of this side were missing at some point.
    pub const GAP: u16 = 8;
    /// `hole_seq` and `hole_end` are known: the bytes between them may still arrive.
    pub const HOLE: u16 = 16;
    /// `plaintext_end` is known.
    pub const PLAINTEXT_END: u16 = 32;
    /// FIN was seen.
    pub const FIN: u16 = 64;
    /// RST was seen.
    pub const RST: u16 = 128;
    /// Its peer acknowledged bytes beyond its last RST, which had no effect.
    pub const RESET_OUTLIVED: u16 = 256;
    /// Bytes in the place of a record header were none.
    pub const NOT_TLS: u16 = 512;
}

impl Side {
    /// Whether any of `flags` is set.
    #[inline(always)]
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// Whether it sent RST and its peer did not go on.
    #[inline(always)]
    pub fn is_reset(&self) -> bool {
        self.flags & (side_flags::RST | side_flags::RESET_OUTLIVED) == side_flags::RST
    }
}

/// State of a flow, without its records.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Flow {
    /// Time of its ClientHello, or of the ServerHello that it began with, nanoseconds on the host's clock.
    /// Identifies the flow with its key.
    pub started_ns: u64,
    /// Client, then server; index with [`Sender`].
    pub sides: [Side; 2],
    /// SYN or SYN,ACK of the client, then of the server, seen before the ClientHello. Not kept while the
    /// flow is settled. Where halves are followed, `next_seq` of a SYN,ACK that was not seen is the
    /// ClientHello's acknowledgement number.
    pub syns: [Syn; 2],
    /// First VLAN IDs seen in either direction, outermost first.
    pub vlan: [u16; 2],
    /// Index of the client among the key's endpoints: 0 or 1.
    pub client_endpoint: u8,
    /// See [`flow_flags`].
    pub flags: u8,
    /// Observations sent so far.
    pub observations: u8,
    /// Number of records of both sides so far, wrapping.
    pub order: u8,
}

/// Bits of [`Flow::flags`].
pub mod flow_flags {
    /// The first record is incomplete: it may not be a ClientHello.
    pub const PROVISIONAL: u8 = 1;
    /// It was settled before: the timeline contains only records since it was resumed.
    pub const RESUMED: u8 = 2;
    /// It began at its server's hello, or at what its server sent instead: no ClientHello was seen so far.
    /// Only where the engine [follows halves](crate::engine::Tables::follows_halves).
    pub const SERVER_HALF: u8 = 4;
}

impl Flow {
    /// Whether any of `flags` is set.
    #[inline(always)]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Returns the time of the last segment of either side, except of resets, nanoseconds.
    #[inline(always)]
    pub fn last_ns(&self) -> u64 {
        let [client, server] = &self.sides;
        if client.last_ns > server.last_ns {
            client.last_ns
        } else {
            server.last_ns
        }
    }

    /// Whether a side sent FIN, or RST and its peer did not go on.
    #[inline(always)]
    pub fn has_ended(&self) -> bool {
        let [client, server] = &self.sides;
        let has_fin = (client.flags | server.flags) & side_flags::FIN != 0;
        has_fin || client.is_reset() || server.is_reset()
    }
}

/// One side of a settled flow: the baseline for its end. Fields as in [`Side`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SettledSide {
    last_ns: u64,
    mac: u64,
    start_seq: u32,
    next_seq: u32,
    ack: u32,
    application_records: u16,
    window: u16,
    ip_id: u16,
    flags: u16,
    ttl_min: u8,
    ttl_max: u8,
    options_len: u8,
    resets: u8,
}

/// An established flow until its end. Most flows are settled most of the time, so it is small.
/// Fields as in [`Flow`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Settled {
    started_ns: u64,
    sides: [SettledSide; 2],
    vlan: [u16; 2],
    client_endpoint: u8,
    flags: u8,
    observations: u8,
    order: u8,
}

impl Settled {
    /// Returns the part of a flow that outlives its handshake.
    #[inline(always)]
    pub fn of(flow: &Flow) -> Self {
        let [client, server] = &flow.sides;
        Self {
            started_ns: flow.started_ns,
            sides: [SettledSide::of(client), SettledSide::of(server)],
            vlan: flow.vlan,
            client_endpoint: flow.client_endpoint,
            flags: flow.flags,
            observations: flow.observations,
            order: flow.order,
        }
    }

    /// Returns the sequence number of the first payload byte seen of an endpoint.
    #[inline(always)]
    pub(crate) fn start_seq(&self, endpoint: u8) -> u32 {
        let [client, server] = &self.sides;
        if endpoint == self.client_endpoint {
            client.start_seq
        } else {
            server.start_seq
        }
    }

    /// Restores the flow for watching, with an empty timeline; its handshake bytes are no longer
    /// sent. Writes every field.
    #[inline(always)]
    pub fn resume(&self, flow: &mut Flow) {
        let [client, server] = &self.sides;
        let [to_client, to_server] = &mut flow.sides;
        client.resume(to_client);
        server.resume(to_server);
        flow.started_ns = self.started_ns;
        flow.syns = [Syn::default(); 2];
        flow.vlan = self.vlan;
        flow.client_endpoint = self.client_endpoint;
        flow.flags = self.flags | flow_flags::RESUMED;
        flow.observations = self.observations;
        flow.order = self.order;
    }
}

impl SettledSide {
    #[inline(always)]
    fn of(side: &Side) -> Self {
        Self {
            last_ns: side.last_ns,
            mac: side.mac,
            start_seq: side.start_seq,
            next_seq: side.next_seq,
            ack: side.ack,
            application_records: side.application_records,
            window: side.window,
            ip_id: side.ip_id,
            flags: side.flags,
            ttl_min: side.ttl_min,
            ttl_max: side.ttl_max,
            options_len: side.options_len,
            resets: side.resets,
        }
    }

    #[inline(always)]
    fn resume(&self, side: &mut Side) {
        let gone = side_flags::SYNCED | side_flags::HOLE;
        *side = Side {
            last_ns: self.last_ns,
            mac: self.mac,
            start_seq: self.start_seq,
            next_seq: self.next_seq,
            ack: self.ack,
            sent_to: self.start_seq,
            plaintext_end: self.start_seq,
            application_records: self.application_records,
            window: self.window,
            ip_id: self.ip_id,
            flags: self.flags & !gone | side_flags::GAP | side_flags::PLAINTEXT_END,
            ttl_min: self.ttl_min,
            ttl_max: self.ttl_max,
            options_len: self.options_len,
            resets: self.resets,
            ..Side::default()
        };
    }
}

/// A flow of which each segment is processed: in its handshake, or at its end.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Watched {
    /// State of both sides.
    pub flow: Flow,
    /// Records of the client, then of the server, up to each side's `record_count`.
    pub records: [[Record; RECORDS_MAX]; 2],
}

/// Map value of a watched flow in the kernel.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct WatchedEntry {
    /// The flow.
    pub watched: Watched,
    /// Index of its key in the map of places, the order of eviction.
    pub place: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<FlowKey>() == 48 && align_of::<FlowKey>() == 8);
    assert!(offset_of!(FlowKey, ports) == 32 && offset_of!(FlowKey, tunnel) == 44);
    assert!(size_of::<Record>() == 12 && align_of::<Record>() == 4);
    assert!(offset_of!(Record, detail) == 8 && offset_of!(Record, flags) == 11);
    assert!(size_of::<Side>() == 80 && align_of::<Side>() == 8);
    assert!(offset_of!(Side, start_seq) == 16 && offset_of!(Side, application_records) == 36);
    assert!(offset_of!(Side, flags) == 42 && offset_of!(Side, resets) == 48);
    assert!(offset_of!(Side, reserved) == 51 && offset_of!(Side, head) == 56);
    assert!(size_of::<Flow>() == 240 && offset_of!(Flow, vlan) == 232);
    assert!(offset_of!(Flow, syns) == 168);
    assert!(size_of::<Watched>() == 240 + 2 * 12 * RECORDS_MAX);
    assert!(size_of::<WatchedEntry>() == size_of::<Watched>() + 8);
    assert!(size_of::<SettledSide>() == 40 && size_of::<Settled>() == 96);
    assert!(offset_of!(Settled, vlan) == 88 && offset_of!(SettledSide, ttl_min) == 36);
};
