//! What the tracker hands the judge: all that was seen of one flow, in order.

use std::net::SocketAddr;
use std::sync::Arc;

use detector_common::flow::{Sender, Side};
use detector_common::observation::Measured;

use crate::flow::flow_id::FlowId;
use crate::flow::tls::Handshake;

/// What the tracker tells of a flow.
#[derive(Clone, Debug)]
pub enum FlowEvent {
    /// It began. Told only where several taps may see the same connection.
    Began(Beginning),
    /// So much went both ways that it works; it goes on, and its end will be told.
    Works(Box<Timeline>),
    /// It is over, or given up.
    Over(Box<Timeline>),
}

/// A flow's beginning, by which the legs of one connection find each other.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Which flow.
    pub flow: FlowId,
    /// When its ClientHello came, nanoseconds on the tap's clock.
    pub started_ns: u64,
    /// The client random.
    pub random: [u8; 32],
    /// The server name, if the hello has one and it has come.
    pub server_name: Option<String>,
    /// The server's address.
    pub server: SocketAddr,
    /// Whether the hello left by the tap's interface rather than came in by it; a capture does not
    /// tell.
    pub egress: Option<bool>,
}

/// One flow as far as it was seen when it is judged.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Which flow.
    pub flow: FlowId,
    /// Name of the tap: an interface, or of a capture its interface's or file's name.
    pub tap: Arc<str>,
    /// Who sent the ClientHello.
    pub client: SocketAddr,
    /// To whom.
    pub server: SocketAddr,
    /// VLAN IDs, outermost first.
    pub vlan: Vec<u16>,
    /// When the ClientHello began, nanoseconds since the UNIX epoch.
    pub started_ns: u64,
    /// When the last thing told here happened, likewise.
    pub last_ns: u64,
    /// What the handshake said in the clear.
    pub handshake: Handshake,
    /// Records of both sides in the order they were seen.
    pub records: Vec<TimelineRecord>,
    /// FIN, RST, and segments after a side's own RST, in order.
    pub closes: Vec<Close>,
    /// The sides' numbers as last told: client, server.
    pub sides: [Side; 2],
    /// Whether so many application records went both ways that the connection worked.
    pub settled: bool,
    /// Why it is judged now.
    pub ending: Ending,
}

impl Timeline {
    /// The same with all its times moved.
    #[must_use]
    pub fn moved_by(mut self, offset_ns: i64) -> Self {
        let closes = self.closes.iter_mut().map(|close| &mut close.time_ns);
        for time in closes.chain([&mut self.started_ns, &mut self.last_ns]) {
            *time = time.saturating_add_signed(offset_ns);
        }
        self
    }

    /// Microseconds from the flow's beginning to a time; 0 for an earlier one.
    #[must_use]
    pub const fn micros_until(&self, time_ns: u64) -> u64 {
        time_ns.saturating_sub(self.started_ns) / 1000
    }

    /// Nanoseconds since the UNIX epoch of a time in microseconds since the flow's beginning.
    #[must_use]
    pub const fn nanos_at(&self, at_us: u64) -> u64 {
        self.started_ns + at_us * 1000
    }

    /// One side's records, in order.
    pub fn records_of(&self, sender: Sender) -> impl Iterator<Item = &TimelineRecord> {
        let records = self.records.iter();
        records.filter(move |record| record.sender == sender)
    }

    /// One side's numbers as last told.
    #[must_use]
    pub const fn side(&self, sender: Sender) -> &Side {
        let [client, server] = &self.sides;
        match sender {
            Sender::Client => client,
            Sender::Server => server,
        }
    }
}

/// A record, and who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineRecord {
    /// Who sent it.
    pub sender: Sender,
    /// Microseconds since the flow began.
    pub at_us: u32,
    /// ContentType.
    pub content_type: u8,
    /// Low byte of the record's version.
    pub version_minor: u8,
    /// Bytes of its body.
    pub length: u16,
    /// Level and description of an alert, type of a handshake message; ciphertext once encrypted.
    pub detail: [u8; 2],
    /// See [`detector_common::flow::record_flags`].
    pub flags: u8,
}

/// What a segment told of a flow's end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseKind {
    /// The side's first FIN.
    Fin,
    /// RST.
    Reset,
    /// Data or an acknowledgement from a side that had sent RST before.
    SpeaksOn,
}

/// One segment of a flow's end, measured against its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// What it is.
    pub kind: CloseKind,
    /// Who sent it, or in whose name.
    pub sender: Sender,
    /// When, nanoseconds since the UNIX epoch.
    pub time_ns: u64,
    /// Whether it left by the tap's interface rather than came in by it; a capture does not tell.
    pub egress: bool,
    /// How many records of the sender's had been seen.
    pub records_before: u8,
    /// The segment.
    pub measured: Measured,
    /// The sides' numbers at that time (a RST does not change them): client, server.
    pub sides: [Side; 2],
}

/// Why a flow is judged when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Both sides closed, or one was reset.
    Closed,
    /// Nothing was seen of it for the tracker's patience.
    Silent,
    /// The capture or the agent ended before it did.
    Cut,
    /// The tracker had to make room.
    Evicted,
}
