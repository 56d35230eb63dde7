//! The outline of a capture: its time, its ClientHellos and when they were answered.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use detector_common::flow::{Address, FlowKey, Sender};
use detector_common::headers::Segment;
use detector_common::record::{APPLICATION_DATA, HANDSHAKE, HEADER_LEN};
use hashlink::LruCache;

use crate::flow::tls::HandshakeView;
use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::extensions::is_grease;
use crate::flow::tls::records::{CLIENT_HELLO, SERVER_HELLO};
use crate::source::capture::{CaptureFile, Frame};
use crate::source::link_header;

/// Maximum number of hellos that are compared: the first of a capture.
const HELLOS_MAX: usize = 1 << 14;
/// Number of a client's first segments of application data that may be its request.
const REQUESTS_MAX: usize = 4;
/// Maximum number of connections whose hello, answer or request is awaited: the latest.
const OPEN_MAX: usize = 4096;
/// Maximum number of addresses by which a tap is recognised.
const MARKS_MAX: usize = 4096;

/// An address and port.
pub(super) type Endpoint = (Address, u16);

/// A ClientHello and its fate.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    pub(super) time_ns: u64,
    pub(super) random: [u8; 32],
    pub(super) client: Endpoint,
    pub(super) server: Endpoint,
    pub(super) server_name: Option<Arc<str>>,
    /// Cipher suites and extensions: the same for hellos of one program.
    pub(super) offer: u64,
    pub(super) ttl: u8,
    /// MAC address that it came from; 0 where the link has none.
    pub(super) mac: u64,
    /// Time of the server's first bytes.
    pub(super) answered_ns: Option<u64>,
    /// Times of the client's first segments of application data: its request is among them.
    pub(super) requests_ns: Vec<u64>,
    /// Sequence number after the bytes that came with the hello's first segment.
    pub(super) next_seq: u32,
}

/// A ServerHello of a connection whose ClientHello the capture does not have.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) time_ns: u64,
    pub(super) client: Endpoint,
    pub(super) server: Endpoint,
    pub(super) ack: u32,
}

/// The outline of a capture.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) hellos: Vec<Hello>,
    pub(super) answers: Vec<Answer>,
    /// Hashes of the addresses on its link.
    pub(super) marks: BTreeSet<u64>,
}

/// A connection whose hello is not complete or not answered.
struct Open {
    hello: usize,
    client: Endpoint,
    start_seq: u32,
    /// Of a hello of several segments.
    view: Option<HandshakeView>,
}

struct Reader {
    outline: Outline,
    open: LruCache<FlowKey, Open>,
}

impl Outline {
    /// Reads a capture to its end, or as far as it is readable; `None` without a frame.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let mut capture = CaptureFile::open(path).ok()?;
        let mut reader = Reader {
            outline: Outline::default(),
            open: LruCache::new(OPEN_MAX),
        };
        let mut has_frames = false;
        while let Ok(Some(frame)) = capture.next_frame() {
            // A pcapng Simple Packet Block has no time.
            if frame.time_ns > 0 {
                let outline = &mut reader.outline;
                if !has_frames {
                    outline.first_ns = frame.time_ns;
                }
                outline.first_ns = outline.first_ns.min(frame.time_ns);
                outline.last_ns = outline.last_ns.max(frame.time_ns);
                has_frames = true;
            }
            reader.frame(&frame);
        }
        let mut outline = reader.outline;
        outline.hellos.sort_by_key(|hello| hello.time_ns);
        has_frames.then_some(outline)
    }

    /// Whether both captures ran at the same time.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.first_ns <= other.last_ns && other.first_ns <= self.last_ns
    }
}

impl Reader {
    fn frame(&mut self, frame: &Frame<'_>) -> Option<()> {
        let (segment, payload) = link_header::segment(frame, true)?;
        match payload {
            [] => None,
            [HANDSHAKE, 3, 0..=4, _, _, CLIENT_HELLO, ..] => {
                self.client_hello(&segment, payload, frame.time_ns)
            }
            [HANDSHAKE, 3, 0..=4, _, _, SERVER_HELLO, ..] => {
                self.server(&segment, frame.time_ns, true)
            }
            _ if self.open.is_empty() => None,
            _ => self.later(&segment, payload, frame.time_ns),
        }
    }

    fn client_hello(&mut self, segment: &Segment, payload: &[u8], time_ns: u64) -> Option<()> {
        if self.outline.hellos.len() == HELLOS_MAX {
            return None;
        }
        let mut view = HandshakeView::default();
        view.feed(Sender::Client, 0, payload);
        let hello = view.client_hello()?;
        let (client, server) = ends(segment);
        self.mark(segment);
        let position = self.outline.hellos.len();
        self.outline.hellos.push(Hello {
            time_ns,
            random: hello.random,
            client,
            server,
            offer: offer(&hello),
            server_name: hello.server_name,
            ttl: segment.ttl,
            mac: segment.source_mac,
            answered_ns: None,
            requests_ns: Vec::new(),
            next_seq: segment.payload_seq().wrapping_add(segment.payload_len),
        });
        let open = Open {
            hello: position,
            client,
            start_seq: segment.payload_seq(),
            view: (!hello.complete).then_some(view),
        };
        self.open.insert(key(segment), open);
        Some(())
    }

    /// Returns a segment that begins with neither hello.
    fn later(&mut self, segment: &Segment, payload: &[u8], time_ns: u64) -> Option<()> {
        let open = self.open.get_mut(&key(segment))?;
        let (sender, _) = ends(segment);
        if sender != open.client {
            return self.server(segment, time_ns, false);
        }
        if payload.starts_with(&[APPLICATION_DATA, 3]) {
            return self.request(segment, time_ns);
        }
        let view = open.view.as_mut()?;
        let offset = segment.payload_seq().wrapping_sub(open.start_seq);
        if offset > HEADER_LEN + (1 << 16) {
            open.view = None;
            return None;
        }
        view.feed(Sender::Client, offset, payload);
        let hello = view.client_hello()?;
        let known = self.outline.hellos.get_mut(open.hello)?;
        known.offer = offer(&hello);
        known.server_name.clone_from(&hello.server_name);
        if hello.complete {
            open.view = None;
        }
        Some(())
    }

    fn server(&mut self, segment: &Segment, time_ns: u64, is_hello: bool) -> Option<()> {
        if let Some(open) = self.open.get(&key(segment)) {
            let hello = self.outline.hellos.get_mut(open.hello)?;
            hello.answered_ns.get_or_insert(time_ns);
            return Some(());
        }
        if is_hello && self.outline.answers.len() < HELLOS_MAX {
            let (server, client) = ends(segment);
            self.mark(segment);
            self.outline.answers.push(Answer {
                time_ns,
                client,
                server,
                ack: segment.ack,
            });
        }
        Some(())
    }

    fn request(&mut self, segment: &Segment, time_ns: u64) -> Option<()> {
        let key = key(segment);
        let hello = self.open.get(&key)?.hello;
        let hello = self.outline.hellos.get_mut(hello)?;
        hello.requests_ns.push(time_ns);
        if hello.requests_ns.len() == REQUESTS_MAX {
            self.open.remove(&key);
        }
        Some(())
    }

    fn mark(&mut self, segment: &Segment) {
        let marks = &mut self.outline.marks;
        if marks.len() < MARKS_MAX {
            let [source, destination] = segment.key.addresses;
            marks.extend([hash(&source), hash(&destination), hash(&segment.source_mac)]);
        }
    }
}

/// Returns source and destination.
fn ends(segment: &Segment) -> (Endpoint, Endpoint) {
    let [source, destination] = segment.key.addresses;
    let [source_port, destination_port] = segment.key.ports;
    ((source, source_port), (destination, destination_port))
}

fn key(segment: &Segment) -> FlowKey {
    let mut segment = *segment;
    segment.order_endpoints();
    segment.key
}

fn offer(hello: &ClientHello) -> u64 {
    let meaningful = |values: &[u16]| -> BTreeSet<u16> {
        let values = values.iter().copied();
        values.filter(|value| !is_grease(*value)).collect()
    };
    hash(&(
        hello.legacy_version,
        meaningful(&hello.cipher_suites),
        meaningful(&hello.extensions),
    ))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
