//! A capture as TCP connections with their segments.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use detector_common::flow::{Address, Sender};
use detector_common::headers;
use detector_common::headers::tcp_flags::{ACK, FIN, RST, SYN};
use hashlink::LruCache;

use super::segment::{Contents, Segment};
use crate::flow::tls::HandshakeView;
use crate::source::capture::Frame;
use crate::source::link_header;

/// Bytes of each direction's stream that are compared; behind them only what ends a connection.
const STREAM_MAX: u32 = 1 << 20;
/// Maximum segments of a capture that are kept; beyond them only what begins or ends a connection.
const SEGMENTS_MAX: usize = 2 << 20;
/// Maximum segments of a capture at all.
const ALL_MAX: usize = 3 << 20;
/// Maximum connections of a capture.
const FLOWS_MAX: usize = 1 << 18;
/// Maximum bytes of a ClientHello.
const HELLO_MAX: u32 = 1 << 16;
/// Maximum hellos that are read at a time.
const HELLOS_MAX: usize = 4096;

/// A connection's segments from one end.
#[derive(Clone, Debug, Default)]
pub(super) struct Half {
    pub(super) segments: Vec<Segment>,
    /// Initial sequence number, if its SYN was seen.
    pub(super) syn: Option<u32>,
    /// Sequence number of the first segment.
    pub(super) first_seq: Option<u32>,
    /// Whether data are left out behind [`STREAM_MAX`], or for want of room.
    pub(super) is_cut: bool,
}

/// A TCP connection as a capture has it, of which a direction may be elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) ends: [SocketAddr; 2],
    /// Segments from each end.
    pub(super) halves: [Half; 2],
    pub(super) server_name: Option<Arc<str>>,
    /// Time of the ClientHello.
    pub(super) hello_ns: Option<u64>,
    pub(super) first_ns: u64,
    /// The end that opened it, if a segment says so.
    opener: Option<usize>,
}

impl Flow {
    /// Returns the index of the client's end: of the end that opened it, or by its port.
    pub(super) fn client(&self) -> usize {
        let [first, second] = self.ends;
        self.opener
            .unwrap_or_else(|| usize::from(second.port() > first.port()))
    }
}

/// Frames and segments that are not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfollowed {
    /// Segments of connections beyond the maximum number.
    pub connections: u64,
    /// Segments of data beyond the maximum number, or late in their connections.
    pub data: u64,
}

/// The connections of a capture.
pub struct Traffic {
    pub(super) flows: Vec<Flow>,
    /// Times of the first and the last frame.
    pub(super) span: Option<(u64, u64)>,
    /// Segments that are not compared.
    pub unfollowed: Unfollowed,
    latest: HashMap<(SocketAddr, SocketAddr), usize>,
    /// Hellos that are not complete: the latest.
    hellos: LruCache<usize, (u32, HandshakeView)>,
    kept: usize,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            flows: Vec::new(),
            span: None,
            unfollowed: Unfollowed::default(),
            latest: HashMap::new(),
            hellos: LruCache::new(HELLOS_MAX),
            kept: 0,
        }
    }
}

impl Traffic {
    /// Returns the number of its connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Reads a frame.
    pub fn read(&mut self, frame: &Frame<'_>) {
        if frame.time_ns > 0 {
            let (first, last) = self.span.unwrap_or((frame.time_ns, frame.time_ns));
            self.span = Some((first.min(frame.time_ns), last.max(frame.time_ns)));
        }
        self.segment(frame);
    }

    /// Returns whether the sender of a frame of this capture is the client of its connection; `None` if the frame
    /// is of none that is known.
    #[must_use]
    pub fn is_from_client(&self, frame: &Frame<'_>) -> Option<bool> {
        let (walked, _) = link_header::segment(frame, false)?;
        let [from, to] = ends(&walked);
        let number = self.latest.get(&(from.min(to), from.max(to)))?;
        let flow = self.flows.get(*number)?;
        let end = usize::from(from > to);
        Some(end == flow.client())
    }

    fn segment(&mut self, frame: &Frame<'_>) -> Option<()> {
        let (walked, payload) = link_header::segment(frame, false)?;
        let [from, to] = ends(&walked);
        let segment = Segment::of(&walked, payload, frame.time_ns);
        let (number, end) = self.flow(from, to, &segment)?;
        self.record(number, end, segment);
        self.read_hello(number, end, &segment, payload);
        Some(())
    }

    /// Returns the number of a segment's connection, and that of its sender's end. A SYN with another
    /// sequence number begins another one.
    fn flow(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        segment: &Segment,
    ) -> Option<(usize, usize)> {
        let (ends, end) = if from <= to {
            ([from, to], 0)
        } else {
            ([to, from], 1)
        };
        let [first, second] = ends;
        if let Some(number) = self.latest.get(&(first, second)).copied() {
            let known = self.flows.get(number)?;
            let syn = known.halves.get(end).and_then(|half| half.syn);
            let is_other = segment.has(SYN) && syn.is_some_and(|syn| syn != segment.seq);
            if !is_other {
                return Some((number, end));
            }
        }
        if self.flows.len() == FLOWS_MAX {
            self.unfollowed.connections += 1;
            return None;
        }
        let number = self.flows.len();
        self.flows.push(Flow {
            ends,
            halves: [Half::default(), Half::default()],
            server_name: None,
            hello_ns: None,
            first_ns: segment.time_ns,
            opener: None,
        });
        self.latest.insert((first, second), number);
        Some((number, end))
    }

    fn record(&mut self, number: usize, end: usize, segment: Segment) -> Option<()> {
        let flow = self.flows.get_mut(number)?;
        let half = flow.halves.get_mut(end)?;
        if segment.has(SYN) {
            half.syn.get_or_insert(segment.seq);
            let answers = segment.has(ACK);
            flow.opener = flow.opener.or(Some(if answers { 1 - end } else { end }));
        }
        match segment.contents {
            Contents::ClientHello => flow.opener = flow.opener.or(Some(end)),
            Contents::ServerHello => flow.opener = flow.opener.or(Some(1 - end)),
            _ => {}
        }
        let first_seq = *half.first_seq.get_or_insert(segment.seq);
        let is_late = segment.seq.wrapping_sub(first_seq).wrapping_add(STREAM_MAX) > 2 * STREAM_MAX;
        let is_full = self.kept >= SEGMENTS_MAX;
        let ends = segment.has(SYN | FIN | RST) || segment.contents.is_alert();
        if !segment.counts() {
            return None;
        }
        if (is_late || is_full) && !(ends && self.kept < ALL_MAX) {
            half.is_cut = true;
            self.unfollowed.data += 1;
            return None;
        }
        self.kept += 1;
        half.segments.push(segment);
        Some(())
    }

    /// Reads the server name of a ClientHello, which may need several segments.
    fn read_hello(
        &mut self,
        number: usize,
        end: usize,
        segment: &Segment,
        payload: &[u8],
    ) -> Option<()> {
        if segment.contents == Contents::ClientHello {
            let flow = self.flows.get_mut(number)?;
            flow.hello_ns.get_or_insert(segment.time_ns);
            let begin = (segment.payload_seq(), HandshakeView::default());
            self.hellos.insert(number, begin);
        }
        let flow = self.flows.get_mut(number)?;
        if end != flow.client() {
            return None;
        }
        let (start, view) = self.hellos.get_mut(&number)?;
        let offset = segment.payload_seq().wrapping_sub(*start);
        if payload.is_empty() || offset > HELLO_MAX {
            return None;
        }
        view.feed(Sender::Client, offset, payload);
        let hello = view.client_hello()?;
        flow.server_name.clone_from(&hello.server_name);
        if hello.complete {
            self.hellos.remove(&number);
        }
        Some(())
    }
}

/// Returns sender and addressee.
fn ends(walked: &headers::Segment) -> [SocketAddr; 2] {
    [0, 1].map(|end: usize| {
        let address = walked.key.addresses.get(end).copied().unwrap_or_default();
        let port = walked.key.ports.get(end).copied().unwrap_or_default();
        SocketAddr::new(ip(address), port)
    })
}

fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address.octets()).to_canonical()
}
