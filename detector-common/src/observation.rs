//! Items of the ring buffers: observations of a flow, and handshake bytes.
//!
//! Layouts are fixed and checked at compile time; numbers are in host byte order.

use core::mem::{align_of, offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::{Flow, FlowKey, Watched};

/// Version of the layouts of ring items and map values.
pub const LAYOUT_VERSION: u32 = 3;

/// Bits of [`Observation::events`]: reasons to report the segment.
pub mod events {
    /// The flow's ClientHello began.
    pub const HELLO: u16 = 1;
    /// An alert record, in the clear or encrypted (the timeline has it).
    pub const ALERT: u16 = 2;
    /// An application-data record too short for a TLS 1.3 Finished: perhaps an encrypted alert.
    pub const SHORT_RECORD: u16 = 4;
    /// The first FIN of a side.
    pub const FIN: u16 = 8;
    /// RST; of a side's many the first few.
    pub const RESET: u16 = 16;
    /// A segment of a side that sent RST before; of many a few.
    pub const SENT_AFTER_RESET: u16 = 32;
    /// The flow is established: its segments are not processed until FIN, RST or alert.
    pub const SETTLED: u16 = 64;
    /// A segment that acknowledges bytes sent after the other side's RST: its sender outlived it.
    pub const OUTLIVED_RESET: u16 = 128;
    /// A RST that answers a SYN, or comes right behind the SYN,ACK. There is no flow: of
    /// [`super::Observation::watched`] its time, its client and its SYNs count.
    pub const REFUSED: u16 = 256;
    /// A SYN that was sent several times without an answer. There is no flow, as with
    /// [`REFUSED`].
    pub const UNANSWERED: u16 = 512;
    /// The flow began at its server, see [`crate::flow::flow_flags::SERVER_HALF`].
    pub const SERVER_HALF: u16 = 1024;
    /// A segment with payload of a flow of which the other side was not seen so far; of many the first few.
    pub const HALF: u16 = 2048;
}

/// Value of [`Measured::since_same_ns`] and [`Measured::since_other_ns`] if there was no segment.
pub const NEVER: u64 = u64::MAX;
/// Interval at which the agent polls the rings after it found an item, nanoseconds. The kernel sends
/// no wake-up within half of it after the last.
pub const POLL_INTERVAL_NS: u64 = 25_000_000;

/// One segment, measured against its flow's baseline before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Measured {
    /// Nanoseconds since the same side's last segment, or [`NEVER`].
    pub since_same_ns: u64,
    /// Nanoseconds since the other side's last segment, or [`NEVER`].
    pub since_other_ns: u64,
    /// Source MAC address, in the low 48 bits.
    pub mac: u64,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number field.
    pub ack: u32,
    /// `seq` minus the sender's next sequence number, modulo 2^32.
    pub seq_ahead: i32,
    /// `ack` minus the receiver's next sequence number, modulo 2^32.
    pub ack_ahead: i32,
    /// Bytes of payload.
    pub payload_len: u32,
    /// Window, unscaled.
    pub window: u16,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
    /// TCP flags, see [`crate::headers::tcp_flags`].
    pub flags: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Bytes of TCP options.
    pub options_len: u8,
    /// Baselines that existed before this segment, see [`baseline`].
    pub baseline: u8,
    /// Zero.
    pub reserved: [u8; 4],
}

/// Bits of [`Measured::baseline`].
pub mod baseline {
    /// The sender sent a segment before: TTL, IP ID, window, MAC and options are comparable.
    pub const SAME: u8 = 1;
    /// The other side sent a segment before.
    pub const OTHER: u8 = 2;
    /// The sender's next sequence number was known: `seq_ahead` is valid.
    pub const SEQ: u8 = 4;
    /// The receiver's next sequence number was known: `ack_ahead` is valid.
    pub const ACK: u8 = 8;
    /// The flow was settled since: baselines may be older than the connection's last segments.
    pub const STALE: u8 = 16;
}

/// A report about one flow, raised by one segment.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Observation {
    /// Time of the segment, nanoseconds on the host's clock.
    pub time_ns: u64,
    /// The segment.
    pub measured: Measured,
    /// The flow and its timeline, this segment included (a reset changes no baseline).
    pub watched: Watched,
    /// Key of the flow.
    pub key: FlowKey,
    /// See [`events`].
    pub events: u16,
    /// Sender of the segment: 0 client, 1 server.
    pub sender: u8,
    /// 1 if the segment left through the tap's interface, 0 if it arrived through it.
    pub egress: u8,
    /// Zero.
    pub reserved: u32,
}

impl Observation {
    /// Returns the bytes of which [`read`](Self::read) makes the same observation.
    pub fn as_item(&self) -> &[u8] {
        self.as_bytes()
    }

    /// Reads an item of the observation ring, which need not be aligned; `None` if it is not of an
    /// observation's size.
    ///
    /// ```
    /// use detector_common::observation::Observation;
    /// use zerocopy::IntoBytes;
    ///
    /// let observation = Observation { time_ns: 7, ..Observation::default() };
    /// let item = observation.as_bytes();
    /// assert_eq!(Observation::read(item), Some(observation));
    /// assert_eq!(Observation::read(&item[1..]), None);
    /// ```
    pub fn read(item: &[u8]) -> Option<Self> {
        Self::read_from_bytes(item).ok()
    }
}

/// Maximum handshake bytes in one chunk.
pub const CHUNK_MAX: usize = 1536;
/// Capacity of the smaller of the two kinds of chunk, in bytes.
pub const CHUNK_SMALL: usize = 512;
/// Maximum handshake bytes sent per side.
pub const HANDSHAKE_BYTES_MAX: u32 = 16 * 1024;

/// Header of a chunk.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ChunkHead {
    /// Time of the segment, nanoseconds on the host's clock.
    pub time_ns: u64,
    /// The flow's [`Flow::started_ns`].
    pub started_ns: u64,
    /// Key of the flow.
    pub key: FlowKey,
    /// Position of the first byte in the side's stream, 0 for its first payload byte seen.
    pub offset: u32,
    /// Number of bytes that follow, 1 to [`CHUNK_MAX`].
    pub len: u16,
    /// Sender: 0 client, 1 server.
    pub sender: u8,
    /// Index of the client among the key's endpoints: 0 or 1.
    pub client_endpoint: u8,
    /// VLAN IDs of the flow, outermost first.
    pub vlan: [u16; 2],
    /// Zero.
    pub reserved: u32,
}

impl ChunkHead {
    /// Reads the head of an item of the handshake ring, which need not be aligned; returns it with
    /// the room behind it, or `None` if the item is shorter than a head.
    pub fn read(item: &[u8]) -> Option<(Self, &[u8])> {
        Self::read_from_prefix(item).ok()
    }
}

/// Handshake bytes of one segment, with room for `N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Chunk<const N: usize> {
    /// Flow, position and length.
    pub head: ChunkHead,
    /// The bytes; those beyond `head.len` are meaningless.
    pub bytes: [u8; N],
}

const _: () = {
    assert!(size_of::<Measured>() == 56 && align_of::<Measured>() == 8);
    assert!(offset_of!(Measured, seq) == 24 && offset_of!(Measured, reserved) == 52);
    assert!(size_of::<ChunkHead>() == 80 && offset_of!(ChunkHead, offset) == 64);
    assert!(size_of::<Chunk<CHUNK_MAX>>() == 80 + CHUNK_MAX);
    assert!(offset_of!(Observation, watched) == 64);
    assert!(offset_of!(Observation, key) == 64 + size_of::<Watched>());
    assert!(size_of::<Observation>() == 64 + size_of::<Watched>() + 56);
    assert!(size_of::<Flow>().is_multiple_of(8));
};
