//! Observations of a flow, and handshake bytes. [`crate::item`] is their form on a ring.
//!
//! Layouts are fixed and checked at compile time; numbers are in host byte order.

use core::mem::{align_of, offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::{Flow, FlowKey, Watched};
use crate::headers::tcp_flags;
use crate::record::{ALERT, HEAD_MAX};

/// Version of the layouts of ring items and map values.
pub const LAYOUT_VERSION: u32 = 4;

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
    /// 1 if the segment's handshake bytes, an alert, were not sent on their own: see
    /// [`take_alert_bytes`](Self::take_alert_bytes).
    pub alert_unsent: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// Bytes of an alert record in the clear.
const ALERT_LEN: usize = HEAD_MAX as usize;

impl Observation {
    /// Removes the handshake bytes that its segment consists of, an alert, if they were not sent on their own;
    /// returns them with the head that they would have had.
    pub fn take_alert_bytes(&mut self) -> Option<(ChunkHead, [u8; ALERT_LEN])> {
        if core::mem::take(&mut self.alert_unsent) == 0 {
            return None;
        }
        let Watched { flow, records } = &self.watched;
        let sender = usize::from(self.sender);
        let side = flow.sides.get(sender)?;
        let last = usize::from(side.record_count).checked_sub(1)?;
        let record = records.get(sender)?.get(last)?;
        let [level, description] = record.detail;
        let after_syn = u32::from(self.measured.flags & tcp_flags::SYN != 0);
        let seq = self.measured.seq.wrapping_add(after_syn);
        let head = ChunkHead {
            time_ns: self.time_ns,
            started_ns: flow.started_ns,
            key: self.key,
            offset: seq.wrapping_sub(side.start_seq),
            len: ALERT_LEN as u16,
            sender: self.sender,
            client_endpoint: flow.client_endpoint,
            vlan: flow.vlan,
            reserved: 0,
        };
        let bytes = [ALERT, 3, record.version_minor, 0, 2, level, description];
        (record.content_type == ALERT && record.length == 2).then_some((head, bytes))
    }
}

/// Maximum handshake bytes in one chunk.
pub const CHUNK_MAX: usize = 1536;
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
    /// the bytes behind it, or `None` if the item is shorter than a head.
    pub fn read(item: &[u8]) -> Option<(Self, &[u8])> {
        Self::read_from_prefix(item).ok()
    }
}

/// Room for handshake bytes of one segment. An item has its bytes up to the last one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Chunk {
    /// Flow, position and length.
    pub head: ChunkHead,
    /// The bytes; those beyond `head.len` are meaningless.
    pub bytes: [u8; CHUNK_MAX],
}

const _: () = {
    assert!(size_of::<Measured>() == 56 && align_of::<Measured>() == 8);
    assert!(offset_of!(Measured, seq) == 24 && offset_of!(Measured, reserved) == 52);
    assert!(size_of::<ChunkHead>() == 80 && offset_of!(ChunkHead, offset) == 64);
    assert!(size_of::<Chunk>() == size_of::<ChunkHead>() + CHUNK_MAX);
    assert!(offset_of!(Observation, watched) == 64);
    assert!(offset_of!(Observation, key) == 64 + size_of::<Watched>());
    assert!(size_of::<Observation>() == 64 + size_of::<Watched>() + 56);
    assert!(size_of::<Flow>().is_multiple_of(8));
};
