//! The engine on frames of a capture, in this process.

mod midway;
mod packed;
mod paths;
mod syn_slots;
mod tables;
mod tags;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::BTreeMap;

use detector_common::counter::Counter;
use detector_common::engine::{Output, Tables, inspect};
use detector_common::fast_path::glance;
use detector_common::flow::{FlowKey, Sender};
use detector_common::headers::{self, Segment, Tap, walk};
use detector_common::observation::{CHUNK_MAX, ChunkHead, Observation};
use detector_common::packet::Packet;
use detector_common::record::{ALERT, HANDSHAKE};
use detector_common::report::Report;
use detector_common::tunnel::innermost;

use self::paths::Paths;
use self::tables::LruTables;
use crate::flow::receiver::Receiver;
use crate::source::capture::{Frame, LinkType};
use crate::source::icmp_errors::IcmpErrors;
use crate::source::link_header::peel;
use crate::source::preambles::{self, Preambles};
use crate::source::unread::Unread;

/// Maximum number of sets of tags of watched flows.
const TAG_SETS: usize = 1 << 19;
/// Maximum number of settled flows.
pub const SETTLED_MAX: usize = 1 << 20;

/// The engine and its tables, in this process.
///
/// ```
/// use std::path::Path;
///
/// use detector_common::flow::Sender;
/// use detector_common::observation::{ChunkHead, Observation};
/// use detector_user::flow::receiver::Receiver;
/// use detector_user::flow::tls::HandshakeView;
/// use detector_user::flow::tls::ja4::ja4;
/// use detector_user::source::capture::{CaptureError, CaptureFile};
/// use detector_user::source::capture_tap::CaptureTap;
///
/// /// The JA4 of each client.
/// struct Fingerprints(Vec<String>);
///
/// impl Receiver for Fingerprints {
///     fn observation(&mut self, _: &Observation) {}
///
///     fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
///         let mut view = HandshakeView::default();
///         if head.sender == Sender::Client as u8 {
///             view.feed(Sender::Client, head.offset, bytes);
///         }
///         // A hello of several chunks would need a view for each flow: see `Tracker`.
///         self.0.extend(view.client_hello().and_then(|hello| ja4(&hello)));
///     }
/// }
///
/// # fn main() -> Result<(), CaptureError> {
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/clients.pcap");
/// let mut capture = CaptureFile::open(Path::new(path))?;
/// let mut tap = CaptureTap::default();
/// let mut fingerprints = Fingerprints(Vec::new());
/// while let Some(frame) = capture.next_frame()? {
///     tap.capture_frame(&frame, &mut fingerprints);
/// }
/// assert_eq!(fingerprints.0.len(), 10);
/// assert_eq!(fingerprints.0[0], "t12d2807h2_d943125447b4_a44c6288192a");
/// # Ok(())
/// # }
/// ```
pub struct CaptureTap {
    tables: LruTables,
    preambles: Preambles,
    icmp_errors: IcmpErrors,
    counters: [u64; Counter::COUNT],
    unread: BTreeMap<Unread, u64>,
    paths: Paths,
    now_ns: u64,
    vlan_in_key: bool,
}

impl Default for CaptureTap {
    fn default() -> Self {
        Self::with_tag_sets(TAG_SETS)
    }
}

impl CaptureTap {
    /// Creates a tap with a maximum number of sets of tags of watched flows: with few, more packets are looked
    /// up in vain, and nothing else changes.
    pub fn with_tag_sets(tag_sets_max: usize) -> Self {
        Self {
            tables: LruTables::new(tag_sets_max),
            preambles: Preambles::default(),
            icmp_errors: IcmpErrors::default(),
            counters: [0; Counter::COUNT],
            unread: BTreeMap::new(),
            paths: Paths::default(),
            now_ns: 0,
            vlan_in_key: true,
        }
    }

    /// Makes [`Self::frame`] follow connections of which one direction alone passes, as the kernel does where
    /// it is told so. Captures know other ways: see [`Self::capture_frame`].
    #[must_use]
    pub fn with_halves(mut self) -> Self {
        self.tables.follow_halves();
        self
    }

    /// Removes all flows and resets the clock, for frames that were captured earlier or elsewhere. Counters
    /// stay.
    pub fn restart(&mut self) {
        let counters = self.counters;
        let follows_halves = self.tables.follows_halves();
        *self = Self {
            counters,
            unread: std::mem::take(&mut self.unread),
            ..Self::default()
        };
        if follows_halves {
            self.tables.follow_halves();
        }
    }

    /// Runs the engine on a frame of any link type, as a capture has it. Connections are followed also
    /// where the capture shows their directions in different places, or missed their ClientHello.
    #[inline]
    pub fn capture_frame(&mut self, frame: &Frame<'_>, receiver: &mut impl Receiver) {
        if self.is_uneventful(frame) {
            self.now_ns = self.now_ns.max(frame.time_ns);
            return add(&mut self.counters, Counter::Unwatched);
        }
        self.examine(frame, receiver);
    }

    /// Whether a frame is of no watched flow and begins nothing: a look at the places where most frames have
    /// their headers. It answers nothing but what [`Self::examine`] would find.
    #[inline(always)]
    fn is_uneventful(&mut self, frame: &Frame<'_>) -> bool {
        let is_looked_for = frame.link_type == LinkType::ETHERNET
            && self.preambles.is_empty()
            && self.icmp_errors.is_empty()
            && self.paths.is_all_of(frame.interface);
        if !is_looked_for {
            return false;
        }
        let packet = CapturedPacket {
            bytes: frame.captured,
            wire_len: frame.original_len,
        };
        let tap = Tap {
            link: headers::LinkType::Ethernet,
            interface: frame.interface,
            egress: false,
            vlan_in_key: self.vlan_in_key,
            tunnel: 0,
        };
        let Some(glance) = glance(&packet, &tap) else {
            return false;
        };
        // Padding is looked at as well, as it is where connections begin midway.
        let behind_headers = frame.captured.get(glance.payload_offset());
        !matches!(behind_headers, Some(&(ALERT | HANDSHAKE)))
            && glance.is_uneventful(&packet, |_| false)
            && !preambles::is_wanted(glance.payload(frame.captured))
            && !self.tables.may_watch(&glance.key)
    }

    /// Looks at a frame for all that captures show.
    fn examine(&mut self, frame: &Frame<'_>, receiver: &mut impl Receiver) {
        let (offset, link) = match peel(frame.link_type, frame.captured) {
            Ok(peeled) => peeled,
            Err(unread) => return self.count_unread(unread),
        };
        let frame = Frame {
            captured: frame.captured.get(offset..).unwrap_or_default(),
            original_len: frame.original_len.saturating_sub(offset as u32),
            ..*frame
        };
        let (packet, mut tap) = self.begin_frame(&frame, link, frame.interface);
        let rewritten = self
            .preambles
            .frame(&packet, packet.bytes, &tap, self.now_ns, receiver);
        let packet = match &rewritten {
            Some(frame) => {
                tap.link = headers::LinkType::Ethernet;
                CapturedPacket {
                    bytes: &frame.bytes,
                    wire_len: frame.wire_len,
                }
            }
            None => packet,
        };
        let elsewhere = self.elsewhere(&packet, &tap);
        self.tables.set_alias(elsewhere);
        let mut outcome = self.inspect(&packet, &tap, elsewhere.map(|(_, key)| key), receiver);
        self.tables.set_alias(None);
        if outcome == Counter::Unwatched && self.begins_midway(&packet, &tap) {
            outcome = self.inspect(&packet, &tap, None, receiver);
        }
        if outcome == Counter::NotTcp {
            let (tables, now_ns) = (&self.tables, self.now_ns);
            let flow_of = |key: &_| tables.flow(key);
            let errors = &mut self.icmp_errors;
            if errors.read(packet.bytes, &tap, now_ns, flow_of, receiver) {
                return add(&mut self.counters, outcome);
            }
        } else {
            self.icmp_errors
                .segment(&packet, &tap, self.now_ns, receiver);
        }
        self.count_outcome(outcome, &packet, &tap);
    }

    /// Runs the engine on a frame of `interface`, as the kernel does; its observations and handshake bytes
    /// go to `receiver`.
    pub fn frame(
        &mut self,
        frame: &Frame<'_>,
        link: headers::LinkType,
        interface: u32,
        receiver: &mut impl Receiver,
    ) {
        let (packet, tap) = self.begin_frame(frame, link, interface);
        let outcome = self.inspect(&packet, &tap, None, receiver);
        self.count_outcome(outcome, &packet, &tap);
    }

    fn begin_frame<'a>(
        &mut self,
        frame: &Frame<'a>,
        link: headers::LinkType,
        interface: u32,
    ) -> (CapturedPacket<'a>, Tap) {
        // Captures merged or written by several queues go back in time now and then; the engine's
        // clock, like the kernel's, does not.
        self.now_ns = self.now_ns.max(frame.time_ns);
        let inner = innermost(frame.captured, link);
        let packet = CapturedPacket {
            bytes: frame.captured.get(inner.offset..).unwrap_or_default(),
            wire_len: frame.original_len.saturating_sub(inner.offset as u32),
        };
        let tap = Tap {
            link: inner.link,
            interface,
            egress: false,
            vlan_in_key: self.vlan_in_key,
            tunnel: inner.tunnel.0,
        };
        (packet, tap)
    }

    /// Runs the engine. Its observations are of the flow of `key`, if one is given.
    fn inspect(
        &mut self,
        packet: &CapturedPacket<'_>,
        tap: &Tap,
        key: Option<FlowKey>,
        receiver: &mut impl Receiver,
    ) -> Counter {
        let mut output = CaptureOutput {
            now_ns: self.now_ns,
            key,
            counters: &mut self.counters,
            receiver,
        };
        inspect(packet, tap, &mut self.tables, &mut output)
    }

    fn count_outcome(&mut self, outcome: Counter, packet: &CapturedPacket<'_>, tap: &Tap) {
        add(&mut self.counters, outcome);
        if matches!(outcome, Counter::NotIp | Counter::NotTcp) {
            self.count_unread(Unread::of(packet.bytes, tap.link));
        }
    }

    fn count_unread(&mut self, unread: Unread) {
        *self.unread.entry(unread).or_default() += 1;
    }

    /// Returns a frame's key, and that of the connection whose other direction it is.
    fn elsewhere(&mut self, packet: &CapturedPacket<'_>, tap: &Tap) -> Option<(FlowKey, FlowKey)> {
        if self.paths.has_one(tap.interface, packet.bytes) {
            return None;
        }
        let mut segment = walk(packet, tap).ok()?;
        segment.order_endpoints();
        let other = self.paths.elsewhere(&segment, &self.tables)?;
        Some((segment.key, other))
    }

    /// Begins to watch the flow of a frame that shows a handshake under way, of which nothing is known.
    fn begins_midway(&mut self, packet: &CapturedPacket<'_>, tap: &Tap) -> bool {
        if !packet.may_begin_with_plaintext(tap.link) {
            return false;
        }
        let Ok(mut segment) = walk(packet, tap) else {
            return false;
        };
        let Some(sender) = midway::sender(packet, &segment) else {
            return false;
        };
        segment.order_endpoints();
        if self.tables.knows(&segment.key) || self.answers_no_tls(packet, sender, &segment) {
            return false;
        }
        let now_ns = self.now_ns;
        let begin =
            |flow: &mut _, slot: Option<&_>| midway::begin(flow, sender, &segment, now_ns, slot);
        add(&mut self.counters, Counter::Started);
        self.tables.watch(&segment.key, now_ns, begin).is_some()
    }

    /// Whether a server's alert answers a client that sent no ClientHello, though the capture has the
    /// connection from its SYN on: nothing but a FIN, as a check of a port does (measured: OpenSSL sends
    /// decode_error then, GnuTLS unexpected_message), or bytes of another protocol, by the alert's code.
    fn answers_no_tls(&mut self, packet: &impl Packet, sender: Sender, segment: &Segment) -> bool {
        const UNEXPECTED_MESSAGE: u8 = 10;
        const RECORD_OVERFLOW: u8 = 22;
        const DECODE_ERROR: u8 = 50;
        // A STARTTLS that no ClientHello follows is that long at most.
        const HELLO_WITHIN: u32 = 1 << 15;
        let Some(slot) = self.tables.syns(&segment.key) else {
            return false;
        };
        let acknowledged = segment.ack.wrapping_sub(slot.syn.next_seq);
        let whole = slot.syn.was_seen() && slot.endpoint != segment.endpoint;
        let by_code = || {
            let head = packet.window::<7>(segment.payload_offset);
            head.is_some_and(|[kind, .., code]| {
                let is_about_form =
                    matches!(*code, UNEXPECTED_MESSAGE | RECORD_OVERFLOW | DECODE_ERROR);
                *kind == ALERT && is_about_form && acknowledged < HELLO_WITHIN
            })
        };
        sender == Sender::Server && whole && (acknowledged <= 1 || by_code())
    }

    /// Returns the frames in which no TCP was looked for, by kind.
    pub fn unread(&self) -> &BTreeMap<Unread, u64> {
        &self.unread
    }

    /// Returns the engine's clock: the latest time of any frame so far, UNIX nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Returns the engine's counters.
    pub fn counters(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL
            .iter()
            .copied()
            .zip(self.counters.iter().copied())
    }
}

fn add(counters: &mut [u64; Counter::COUNT], counter: Counter) {
    if let Some(number) = counters.get_mut(counter as usize) {
        *number += 1;
    }
}

/// A frame, perhaps captured in part.
struct CapturedPacket<'a> {
    bytes: &'a [u8],
    wire_len: u32,
}

impl CapturedPacket<'_> {
    /// Whether the payload may begin with an alert or handshake record: a quick look at the commonest
    /// headers, IPv4 without options on Ethernet, and `true` for all others.
    fn may_begin_with_plaintext(&self, link: headers::LinkType) -> bool {
        let common = self.window::<47>(0).filter(|head| {
            link == headers::LinkType::Ethernet && head[12..15] == [0x08, 0x00, 0x45]
        });
        common.is_none_or(|head| {
            let payload = 14 + 20 + usize::from(head[46] >> 4) * 4;
            matches!(self.bytes.get(payload), Some(21 | 22))
        })
    }
}

impl Packet for CapturedPacket<'_> {
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.bytes.get(offset..)?.first_chunk::<N>()
    }

    fn head(&self, offset: usize, count: u32) -> Option<u64> {
        self.bytes.head(offset, count)
    }

    fn far_byte(&self, offset: usize) -> Option<u8> {
        self.bytes.far_byte(offset)
    }

    fn copy<const ROOM: usize>(&self, offset: usize, to: &mut [u8; ROOM], len: usize) -> bool {
        self.bytes.copy(offset, to, len)
    }

    fn frame_len(&self) -> usize {
        self.bytes.len().max(self.wire_len as usize)
    }
}

struct CaptureOutput<'a, R> {
    now_ns: u64,
    /// The flow's key where it isn't the frame's.
    key: Option<FlowKey>,
    counters: &'a mut [u64; Counter::COUNT],
    receiver: &'a mut R,
}

impl<R: Receiver> Output for CaptureOutput<'_, R> {
    fn now_ns(&mut self) -> u64 {
        self.now_ns
    }

    fn send_report<P: Packet>(&mut self, _: &P, report: &Report<'_>) -> bool {
        let mut observation = Observation::default();
        report.write(&mut observation);
        observation.key = self.key.unwrap_or(observation.key);
        self.receiver.observation(&observation);
        true
    }

    fn send_chunk<P: Packet>(
        &mut self,
        packet: &P,
        offset: usize,
        len: usize,
        fill: impl FnOnce(&mut ChunkHead),
    ) -> bool {
        let mut bytes = [0; CHUNK_MAX];
        let mut head = ChunkHead::default();
        fill(&mut head);
        head.key = self.key.unwrap_or(head.key);
        if !packet.copy(offset, &mut bytes, len) {
            return false;
        }
        let Some(bytes) = bytes.get(..len) else {
            return false;
        };
        self.receiver.chunk(&head, bytes);
        true
    }

    fn count(&mut self, event: Counter) {
        add(self.counters, event);
    }
}
