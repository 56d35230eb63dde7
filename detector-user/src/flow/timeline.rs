//! Timelines: all that was seen of one flow, in order.

use std::net::SocketAddr;
use std::sync::Arc;

use detector_common::flow::{Sender, Side};
use detector_common::observation::Measured;
use detector_common::record::{HANDSHAKE, HEADER_LEN};
use detector_common::syn::Syn;

use crate::flow::flow_id::FlowId;
use crate::flow::preamble::{Preamble, Refusal, Target};
use crate::flow::tls::Handshake;
use crate::flow::unreachable::Unreachable;

/// Event of a flow, from the tracker.
#[derive(Clone, Debug)]
pub enum FlowEvent {
    /// It began. Raised only where several taps may see the same connection.
    Began(Box<Beginning>),
    /// It works, since application records went both ways; it goes on, and [`FlowEvent::Over`] follows.
    Works(Box<Timeline>),
    /// It is over, or no longer followed.
    Over(Box<Timeline>),
}

/// A flow's beginning, by which the legs of one connection find each other.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The flow.
    pub flow: FlowId,
    /// Time of its ClientHello, nanoseconds on the tap's clock.
    pub started_ns: u64,
    /// The client random.
    pub random: [u8; 32],
    /// The server name, if the hello has one and it has come.
    pub server_name: Option<Arc<str>>,
    /// The server's address.
    pub server: SocketAddr,
    /// Address of the client.
    pub client: SocketAddr,
    /// Whether the server's address is an explicit proxy's: `server_name` may then be that of CONNECT or
    /// SOCKS, and `target` the address asked for there.
    pub ends_at_proxy: bool,
    /// The address that the client asked a proxy for, where it gave one.
    pub target: Option<SocketAddr>,
    /// Whether the hello was seen at egress; `None` of a capture, which does not say.
    pub egress: Option<bool>,
}

/// One flow as far as it was seen.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The flow.
    pub flow: FlowId,
    /// Name of the tap: an interface, or of a capture its interface's or file's name.
    pub tap: Arc<str>,
    /// Address of the client, which sent the ClientHello.
    pub client: SocketAddr,
    /// Address of the server.
    pub server: SocketAddr,
    /// VLAN IDs, outermost first.
    pub vlan: Vec<u16>,
    /// Time of the ClientHello's first byte, nanoseconds since the UNIX epoch.
    pub started_ns: u64,
    /// Time of the last observation, likewise.
    pub last_ns: u64,
    /// The handshake as far as it is in the clear.
    pub handshake: Handshake,
    /// Records of both sides in the order they were seen.
    pub records: Vec<TimelineRecord>,
    /// FIN, RST, and segments after a side's own RST, in order; of resets that the other side outlived
    /// only [`Timeline::resets_outlived`] tells.
    pub closes: Vec<Close>,
    /// Resets after which the side that they were sent to acknowledged new data: they had no effect.
    pub resets_outlived: u8,
    /// Bytes of the other side's stream that the segment of a side's first alert acknowledges: client,
    /// server. Alerts of TLS 1.3 that look like data are none.
    pub alert_acknowledges: [Option<u32>; 2],
    /// State of both sides at the last observation: client, server.
    pub sides: [Side; 2],
    /// SYN or SYN,ACK of both sides, as far as they were seen: client, server. Times as
    /// [`Timeline::started_ns`].
    pub syns: [Syn; 2],
    /// Whether it was refused before its first byte, in answer to its SYN or right behind the SYN,ACK.
    pub refused: bool,
    /// Whether so many application records went both ways that the connection worked.
    pub settled: bool,
    /// The reason why it ends here.
    pub ending: Ending,
    /// Bytes before the ClientHello, where the source reads them. A proxy's refusal is a timeline
    /// without a hello.
    pub preamble: Option<Arc<Preamble>>,
    /// ICMP errors about segments of which none arrived since, where the source reads them.
    pub unreachable: Option<Box<Unreachable>>,
    /// Bytes of the largest ClientHello for the same name that this server had answered, if it did not
    /// answer this one.
    pub largest_answered: Option<u32>,
    /// Whether the client's address is a proxy's, at which other clients' requests end.
    pub client_is_proxy: bool,
}

impl Timeline {
    /// Creates a connection without a byte in either direction.
    #[must_use]
    pub fn unspoken(flow: FlowId, started_ns: u64) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            flow,
            tap: Arc::from(""),
            client: nowhere,
            server: nowhere,
            vlan: Vec::new(),
            started_ns,
            last_ns: started_ns,
            handshake: Handshake::default(),
            records: Vec::new(),
            closes: Vec::new(),
            resets_outlived: 0,
            alert_acknowledges: [None; 2],
            sides: [Side::default(); 2],
            syns: [Syn::default(); 2],
            refused: false,
            settled: false,
            ending: Ending::Closed,
            preamble: None,
            unreachable: None,
            largest_answered: None,
            client_is_proxy: false,
        }
    }

    /// Returns the same with all times moved by `offset_ns` nanoseconds.
    #[must_use]
    pub fn moved_by(mut self, offset_ns: i64) -> Self {
        self.shift(offset_ns);
        self
    }

    /// Moves all times by `offset_ns` nanoseconds.
    pub fn shift(&mut self, offset_ns: i64) {
        let closes = self.closes.iter_mut().map(|close| &mut close.time_ns);
        let syns = self.syns.iter_mut().filter(|syn| syn.was_seen());
        let syns = syns.map(|syn| &mut syn.time_ns);
        let move_by = |time: &mut u64| *time = time.saturating_add_signed(offset_ns);
        closes
            .chain([&mut self.started_ns, &mut self.last_ns])
            .chain(syns)
            .for_each(move_by);
        if let Some(error) = &mut self.unreachable {
            move_by(&mut error.first_ns);
            move_by(&mut error.last_ns);
        }
    }

    /// Microseconds from the flow's beginning to a time; 0 for an earlier one.
    #[must_use]
    pub const fn micros_until(&self, time_ns: u64) -> u64 {
        time_ns.saturating_sub(self.started_ns) / 1000
    }

    /// Nanoseconds since the UNIX epoch of a time in microseconds since the flow's beginning.
    #[must_use]
    pub const fn nanos_at(&self, at_us: u64) -> u64 {
        self.started_ns.saturating_add(at_us.saturating_mul(1000))
    }

    /// Returns the name of the server that the client wants: in its hello, or where there is none,
    /// the host that it asked a proxy for.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        let hello = self.handshake.client_hello.as_ref();
        let name = hello.and_then(|hello| hello.server_name.as_deref());
        name.or_else(|| Some(self.target()?.host.as_str()))
    }

    /// Returns the same, shared with the hello.
    #[must_use]
    pub fn shared_server_name(&self) -> Option<Arc<str>> {
        let hello = self.handshake.client_hello.as_ref();
        let name = hello.and_then(|hello| hello.server_name.clone());
        name.or_else(|| Some(self.target()?.host.as_str().into()))
    }

    /// Returns the bytes of the ClientHello's first record with its header.
    #[must_use]
    pub fn hello_len(&self) -> Option<u32> {
        let mut records = self.records_of(Sender::Client);
        let hello = records.next().filter(|it| it.content_type == HANDSHAKE)?;
        Some(HEADER_LEN + u32::from(hello.length))
    }

    /// Returns the destination that the client asked an explicit proxy for.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        self.preamble.as_ref()?.target.as_ref()
    }

    /// Returns the refusal of an explicit proxy.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.preamble.as_ref()?.refusal
    }

    /// Returns one side's records, in order.
    pub fn records_of(&self, sender: Sender) -> impl Iterator<Item = &TimelineRecord> + Clone {
        let records = self.records.iter();
        records.filter(move |record| record.sender == sender)
    }

    /// Returns one side's SYN or SYN,ACK, if it was seen.
    #[must_use]
    pub fn syn(&self, sender: Sender) -> Option<&Syn> {
        let [client, server] = &self.syns;
        let syn = match sender {
            Sender::Client => client,
            Sender::Server => server,
        };
        syn.was_seen().then_some(syn)
    }

    /// Returns the time from here to the server and back, nanoseconds: from its SYN to its SYN,ACK.
    #[must_use]
    pub fn syn_round_trip_ns(&self) -> Option<u64> {
        let [client, server] = &self.syns;
        let both = client.was_seen() && server.was_seen();
        both.then(|| server.time_ns.saturating_sub(client.time_ns))
    }

    /// Nanoseconds from the server's SYN,ACK to the ClientHello.
    #[must_use]
    pub fn syn_ack_to_hello_ns(&self) -> Option<u64> {
        let syn_ack = self.syn(Sender::Server)?;
        Some(self.started_ns.saturating_sub(syn_ack.time_ns))
    }

    /// Returns one side's numbers as last observed.
    #[must_use]
    pub const fn side(&self, sender: Sender) -> &Side {
        let [client, server] = &self.sides;
        match sender {
            Sender::Client => client,
            Sender::Server => server,
        }
    }
}

/// A record and its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineRecord {
    /// The sender.
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

/// Kind of a segment at a flow's end.
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
    /// Its kind.
    pub kind: CloseKind,
    /// Its sender by its addresses, which may be forged.
    pub sender: Sender,
    /// Its time, nanoseconds since the UNIX epoch.
    pub time_ns: u64,
    /// Whether it was seen at egress; always `false` of a capture, which does not say.
    pub egress: bool,
    /// Number of the sender's records before it.
    pub records_before: u8,
    /// Its fields, measured against the baseline.
    pub measured: Measured,
    /// State of both sides at that time (a RST does not change it): client, server.
    pub sides: [Side; 2],
}

/// The reason why a timeline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Both sides closed, or one was reset.
    Closed,
    /// Nothing was seen of it until its deadline.
    Silent,
    /// The capture or the agent ended before it did.
    Cut,
    /// The tracker evicted it to make room for others.
    Evicted,
}
