//! Preambles in captures: requests to explicit proxies, PROXY protocol headers, TLS inside TDS, and
//! ClientHellos in the format of SSL 2.0.
//!
//! In: the frames of a capture, before the engine. Out: reports of targets and refusals, and of segments
//! that hold a preamble and TLS together a frame without it, in which the engine finds the ClientHello.
//! Live taps have no part in this: it would cost each packet a look.

mod exchange;
mod proxy_protocol;
mod removed;
mod ssl2_hello;
mod tds;

use detector_common::flow::FlowKey;
use detector_common::headers::{self, LinkType, Segment, Tap, tcp_flags};
use detector_common::packet::Packet;
use detector_common::record::{HEAD_MAX, may_begin_client_hello};
use hashlink::LruCache;

use crate::flow::preamble::{Preamble, PreambleReport, Target};
use crate::flow::receiver::Receiver;
use crate::flow::tls::stream::HandshakeStream;
use exchange::Exchange;
use removed::Removed;
use tds::Packets;

/// Maximum connections whose preamble is read, or whose segments are rewritten.
const CONNECTIONS_MAX: usize = 1 << 14;
/// Maximum bytes of an exchange with a proxy, per side.
const EXCHANGE_MAX: usize = 16 * 1024;

/// Connections with a preamble.
pub(super) struct Preambles(LruCache<FlowKey, Box<Connection>>);

impl Default for Preambles {
    fn default() -> Self {
        Self(LruCache::new(CONNECTIONS_MAX))
    }
}

/// A frame without the preamble's bytes.
pub(super) struct Rewritten {
    /// An Ethernet frame.
    pub(super) bytes: Vec<u8>,
    /// Its length on the wire.
    pub(super) wire_len: u32,
}

/// One connection with a preamble.
struct Connection {
    client_endpoint: u8,
    vlan: [u16; 2],
    began_ns: u64,
    flow_began_ns: Option<u64>,
    removed: [Removed; 2],
    stage: Stage,
}

/// Progress of a preamble.
enum Stage {
    /// A client asks a proxy.
    Asking(Box<Asking>),
    /// The proxy consented to this; the ClientHello is to come.
    Accepted(Target),
    /// The handshake is wrapped: client, server.
    Wrapped([Packets; 2]),
    /// Nothing more is to be read.
    Over,
}

/// An exchange with a proxy.
struct Asking {
    /// Sequence numbers of both sides' first bytes.
    start: [u32; 2],
    streams: [HandshakeStream; 2],
}

impl Preambles {
    /// Whether no preamble is read, and none removed.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a frame's preamble. Returns the frame to be inspected in its place.
    pub(super) fn frame(
        &mut self,
        packet: &impl Packet,
        bytes: &[u8],
        tap: &Tap,
        now_ns: u64,
        receiver: &mut impl Receiver,
    ) -> Option<Rewritten> {
        if self.0.is_empty() && !may_hold_one(bytes, tap.link) {
            return None;
        }
        let mut segment = headers::walk(packet, tap).ok()?;
        let payload = bytes.get(segment.payload_offset..).unwrap_or_default();
        let payload = payload
            .get(..segment.payload_len as usize)
            .unwrap_or(payload);
        if self.0.is_empty() && !is_beginning(payload) {
            return None;
        }
        segment.order_endpoints();
        if let Some(rewritten) = ssl2_hello::rewritten(&segment, payload) {
            return Some(rewritten);
        }
        if segment.has(tcp_flags::SYN) && !segment.has(tcp_flags::RST) {
            self.0.remove(&segment.key);
            return None;
        }
        if may_begin(payload) && self.may_replace(&segment) {
            let connection = Connection::new(&segment, payload, now_ns)?;
            self.0.insert(segment.key, Box::new(connection));
        }
        let connection = self.0.get_mut(&segment.key)?;
        connection.read(&segment, payload, now_ns, receiver);
        let rewritten = connection.rewritten(&segment, payload);
        if matches!(connection.stage, Stage::Over) && !connection.is_rewritten() {
            self.0.remove(&segment.key);
        }
        rewritten
    }

    /// Whether a segment that looks like a preamble's beginning begins one: a client asks again after a
    /// refusal, and its first segment may come twice.
    fn may_replace(&mut self, segment: &Segment) -> bool {
        self.0.get(&segment.key).is_none_or(|connection| {
            let asks_again = matches!(&connection.stage, Stage::Asking(asking)
                if segment.seq.wrapping_sub(asking.start[0]) as i32 > 0);
            asks_again && segment.endpoint == connection.client_endpoint
        })
    }
}

/// Whether a frame may hold a preamble's beginning, by a look at the places where most frames have their
/// headers: true where they are elsewhere.
fn may_hold_one(bytes: &[u8], link: LinkType) -> bool {
    let ip = match (link, bytes) {
        (LinkType::Ethernet, [_, _, _, _, _, _, _, _, _, _, _, _, 8, 0, ip @ ..]) => ip,
        (LinkType::Raw, ip) => ip,
        _ => return true,
    };
    let byte = |at: usize| ip.get(at).copied().unwrap_or_default();
    if (byte(0), byte(9)) != (0x45, 6) {
        return true;
    }
    let payload = 20 + usize::from(byte(32) >> 4) * 4;
    ip.get(payload).is_some_and(|first| may_be_first(*first))
}

/// Whether a payload begins a preamble, or has to be looked at for another reason, while none is read.
#[inline]
pub(super) fn is_wanted(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|first| may_be_first(*first) && is_beginning(payload))
}

#[inline(never)]
fn is_beginning(payload: &[u8]) -> bool {
    may_begin(payload) || ssl2_hello::is_one(payload)
}

/// Whether a preamble may begin with this byte.
const fn may_be_first(byte: u8) -> bool {
    const FIRST_OF_SSL2: u8 = *ssl2_hello::FIRST.start();
    const LAST_OF_SSL2: u8 = *ssl2_hello::FIRST.end();
    matches!(
        byte,
        b'C' | b'P' | 4 | 5 | b'\r' | 0x12 | FIRST_OF_SSL2..=LAST_OF_SSL2
    )
}

/// Whether a payload may begin a preamble that is read.
fn may_begin(payload: &[u8]) -> bool {
    // Most payloads differ in their first byte.
    payload.first().is_some_and(|byte| may_be_first(*byte))
        && (exchange::may_begin(payload)
            || proxy_protocol::header(payload).is_some()
            || tds::content(payload).is_some_and(is_hello))
}

/// Whether bytes can begin a ClientHello.
fn is_hello(payload: &[u8]) -> bool {
    let head = &payload;
    payload.len() >= HEAD_MAX as usize
        && head
            .head(0, HEAD_MAX)
            .is_some_and(|head| may_begin_client_hello(head, HEAD_MAX))
}

impl Connection {
    fn new(segment: &Segment, payload: &[u8], now_ns: u64) -> Option<Self> {
        let stage = if exchange::may_begin(payload) {
            Stage::Asking(Box::new(Asking {
                start: [segment.seq, segment.ack],
                streams: [0, 1].map(|_| HandshakeStream::with_capacity(EXCHANGE_MAX)),
            }))
        } else if tds::content(payload).is_some() {
            Stage::Wrapped([segment.seq, segment.ack].map(Packets::new))
        } else {
            Stage::Over
        };
        Some(Self {
            client_endpoint: segment.endpoint,
            vlan: segment.vlan,
            began_ns: now_ns,
            flow_began_ns: None,
            removed: Default::default(),
            stage,
        })
    }

    fn is_rewritten(&self) -> bool {
        self.removed.iter().any(|removed| !removed.is_empty())
    }

    fn read(
        &mut self,
        segment: &Segment,
        payload: &[u8],
        now_ns: u64,
        receiver: &mut impl Receiver,
    ) {
        let side = usize::from(segment.endpoint != self.client_endpoint);
        if self.began_ns == now_ns
            && side == 0
            && let Some((len, told_client)) = proxy_protocol::header(payload)
        {
            if payload.get(len..).is_some_and(is_hello) {
                self.remove(0, segment.seq, len);
            }
            let preamble = Preamble {
                told_client,
                ..Preamble::default()
            };
            return self.report(segment, preamble, now_ns, receiver);
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Asking(asking) => {
                self.ask(asking, side, segment, payload, now_ns, receiver);
                if segment.has(tcp_flags::RST) && matches!(self.stage, Stage::Asking(_)) {
                    self.stage = Stage::Over;
                }
            }
            Stage::Accepted(target)
                if side == 1 && segment.has(tcp_flags::FIN) && self.flow_began_ns.is_none() =>
            {
                let preamble = Preamble {
                    target: Some(target),
                    closed_before_hello: true,
                    ..Preamble::default()
                };
                self.report(segment, preamble, now_ns, receiver);
            }
            Stage::Accepted(_) if side == 0 && !payload.is_empty() => {}
            Stage::Wrapped(mut packets) => {
                if let (Some(packets), Some(removed)) =
                    (packets.get_mut(side), self.removed.get_mut(side))
                    && !payload.is_empty()
                {
                    packets.read(segment.payload_seq(), payload, removed);
                }
                self.stage = Stage::Wrapped(packets);
            }
            stage => self.stage = stage,
        }
    }

    /// Reads a segment of an exchange with a proxy.
    fn ask(
        &mut self,
        mut asking: Box<Asking>,
        side: usize,
        segment: &Segment,
        payload: &[u8],
        now_ns: u64,
        receiver: &mut impl Receiver,
    ) {
        let (Some(stream), Some(start)) = (asking.streams.get_mut(side), asking.start.get(side))
        else {
            return;
        };
        stream.feed(segment.payload_seq().wrapping_sub(*start), payload);
        let [client_start, server_start] = asking.start;
        let [client, server] = &asking.streams;
        let is_full = client.is_full() || server.is_full();
        let exchange = exchange::read(client.contiguous(), server.contiguous());
        let mut preamble = Preamble::default();
        match exchange {
            Exchange::Accepted { target, lengths } => {
                if self.flow_began_ns.is_some() {
                    self.remove(1, server_start, lengths[1]);
                }
                self.stage = Stage::Accepted(target.clone());
                preamble.target = Some(target);
            }
            Exchange::Refused { target, refusal } => {
                preamble.target = target;
                preamble.refusal = Some(refusal);
                // The client may ask again.
                self.stage = Stage::Asking(Box::new(Asking {
                    start: asking.start,
                    streams: [0, 1].map(|_| HandshakeStream::with_capacity(0)),
                }));
            }
            Exchange::Pending(Some((target, len))) => {
                let rest = client.contiguous().get(len..).unwrap_or_default();
                let pipelined = is_hello(rest) && self.flow_began_ns.is_none();
                if self.flow_began_ns.is_some() {
                    self.remove(1, server_start, server.contiguous().len());
                }
                self.stage = Stage::Asking(asking);
                if !pipelined {
                    return;
                }
                self.flow_began_ns = Some(now_ns);
                self.remove(0, client_start, len);
                preamble.target = Some(target);
            }
            Exchange::Pending(None) if !is_full => {
                self.stage = Stage::Asking(asking);
                return;
            }
            Exchange::Pending(None) | Exchange::Other => return,
        }
        self.report(segment, preamble, now_ns, receiver);
    }

    fn remove(&mut self, side: usize, seq: u32, len: usize) {
        if let Some(removed) = self.removed.get_mut(side) {
            removed.push(seq, u32::try_from(len).unwrap_or(0));
        }
    }

    fn report(
        &self,
        segment: &Segment,
        preamble: Preamble,
        now_ns: u64,
        receiver: &mut impl Receiver,
    ) {
        receiver.preamble(&PreambleReport {
            key: segment.key,
            client_endpoint: self.client_endpoint,
            vlan: self.vlan,
            began_ns: self.began_ns,
            time_ns: now_ns,
            flow_began_ns: self.flow_began_ns,
            preamble,
        });
    }

    fn rewritten(&self, segment: &Segment, payload: &[u8]) -> Option<Rewritten> {
        if !self.is_rewritten() {
            return None;
        }
        let [client, server] = &self.removed;
        let (own, peers) = if segment.endpoint == self.client_endpoint {
            (client, server)
        } else {
            (server, client)
        };
        let (bytes, wire_len) = removed::frame(segment, payload, own, peers)?;
        Some(Rewritten { bytes, wire_len })
    }
}

#[cfg(test)]
mod tests;
