//! The engine on frames of a capture, in this process.

use detector_common::counter::Counter;
use detector_common::engine::{Output, Tables, inspect};
use detector_common::flow::{Flow, FlowKey, Settled, Watched};
use detector_common::headers::{self, Tap};
use detector_common::observation::{CHUNK_MAX, ChunkHead, Observation};
use detector_common::packet::Packet;
use detector_common::tag_set::{FlowTag, TagSet};
use hashlink::LruCache;

use crate::flow::receiver::Receiver;
use crate::source::capture::{Frame, LinkType};

/// Maximum number of watched flows; beyond it the least recently seen is evicted.
const WATCHED_MAX: usize = 1 << 20;
/// Sets of tags of watched flows. Memory that no flow's tag touched is not taken.
const TAG_SETS: usize = 1 << 19;
/// Maximum number of settled flows, likewise.
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
/// use detector_user::source::capture_tap::{CaptureTap, link_type};
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
///     if let Some(link) = link_type(frame.link_type) {
///         tap.frame(&frame, link, frame.interface, &mut fingerprints);
///     }
/// }
/// assert_eq!(fingerprints.0.len(), 10);
/// assert_eq!(fingerprints.0[0], "t12d2807h2_d943125447b4_a44c6288192a");
/// # Ok(())
/// # }
/// ```
pub struct CaptureTap {
    tables: LruTables,
    counters: [u64; Counter::COUNT],
    now_ns: u64,
    vlan_in_key: bool,
}

impl Default for CaptureTap {
    fn default() -> Self {
        Self::with_tag_sets(TAG_SETS)
    }
}

/// Returns the engine's link type for a capture's; `None` if the engine does not read such frames.
pub fn link_type(link: LinkType) -> Option<headers::LinkType> {
    Some(match link {
        LinkType::ETHERNET => headers::LinkType::Ethernet,
        LinkType::LINUX_SLL => headers::LinkType::LinuxSll,
        LinkType::LINUX_SLL2 => headers::LinkType::LinuxSll2,
        LinkType::NULL | LinkType::LOOP => headers::LinkType::Null,
        // 12 and 14 are what systems' own DLT_RAW was written as.
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType(12 | 14) => {
            headers::LinkType::Raw
        }
        _ => return None,
    })
}

impl CaptureTap {
    /// Creates a tap with a number of sets of tags of watched flows: with few, more packets are looked up
    /// in vain, and nothing else changes.
    pub fn with_tag_sets(tag_sets: usize) -> Self {
        Self {
            tables: LruTables::new(tag_sets),
            counters: [0; Counter::COUNT],
            now_ns: 0,
            vlan_in_key: true,
        }
    }

    /// Removes all flows and resets the clock, for frames that were captured earlier or elsewhere. Counters
    /// stay.
    pub fn restart(&mut self) {
        let counters = self.counters;
        *self = Self {
            counters,
            ..Self::default()
        };
    }

    /// Runs the engine on a frame of `interface`; its observations and handshake bytes go to `receiver`.
    pub fn frame(
        &mut self,
        frame: &Frame<'_>,
        link: headers::LinkType,
        interface: u32,
        receiver: &mut impl Receiver,
    ) {
        // Captures merged or written by several queues go back in time now and then; the engine's
        // clock, like the kernel's, does not.
        self.now_ns = self.now_ns.max(frame.time_ns);
        let packet = CapturedPacket {
            bytes: frame.captured,
            wire_len: frame.original_len,
        };
        let tap = Tap {
            link,
            interface,
            egress: false,
            vlan_in_key: self.vlan_in_key,
        };
        let mut output = CaptureOutput {
            now_ns: self.now_ns,
            counters: &mut self.counters,
            receiver,
        };
        let way = inspect(&packet, &tap, &mut self.tables, &mut output);
        add(&mut self.counters, way);
    }

    /// The engine's clock: the latest time of any frame so far, UNIX nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The engine's counters.
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

impl Packet for CapturedPacket<'_> {
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.bytes.get(offset..)?.first_chunk::<N>()
    }

    fn head(&self, offset: usize, count: u32) -> Option<u64> {
        self.bytes.head(offset, count)
    }

    fn copy<const ROOM: usize>(&self, offset: usize, to: &mut [u8; ROOM], len: usize) -> bool {
        self.bytes.copy(offset, to, len)
    }

    fn frame_len(&self) -> usize {
        self.bytes.len().max(self.wire_len as usize)
    }
}

/// Flows by key, the one seen longest ago first to go.
struct LruTables {
    watched: LruCache<FlowKey, Box<Watched>>,
    settled: LruCache<FlowKey, Settled>,
    /// Tags of the watched flows, as in the kernel; a power of two.
    tags: Box<[u64]>,
}

impl LruTables {
    fn new(tag_sets: usize) -> Self {
        Self {
            watched: LruCache::new_unbounded(),
            settled: LruCache::new(SETTLED_MAX),
            tags: vec![0; tag_sets.max(1).next_power_of_two()].into(),
        }
    }

    /// The set that a tag belongs to.
    fn word(&mut self, tag: FlowTag) -> Option<&mut u64> {
        let number = tag.set as usize & (self.tags.len() - 1);
        self.tags.get_mut(number)
    }

    fn tag(&mut self, key: &FlowKey) {
        let tag = FlowTag::of(key, 0);
        if let Some(word) = self.word(tag) {
            *word = TagSet(*word).with(tag).0;
        }
    }

    fn remove(&mut self, key: &FlowKey) -> Option<Box<Watched>> {
        let watched = self.watched.remove(key)?;
        self.untag(key);
        Some(watched)
    }

    fn untag(&mut self, key: &FlowKey) {
        let tag = FlowTag::of(key, 0);
        if let Some(word) = self.word(tag) {
            *word = TagSet(*word).without(tag).0;
        }
    }
}

impl Tables for LruTables {
    fn may_watch(&mut self, key: &FlowKey) -> bool {
        let tag = FlowTag::of(key, 0);
        self.word(tag)
            .is_none_or(|word| TagSet(*word).may_contain(tag))
    }

    fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched> {
        self.watched.get_mut(key).map(|watched| &mut **watched)
    }

    fn watch(
        &mut self,
        key: &FlowKey,
        _: u64,
        begin: impl FnOnce(&mut Flow),
    ) -> Option<&mut Watched> {
        let mut watched = Box::<Watched>::default();
        begin(&mut watched.flow);
        if self.watched.len() >= WATCHED_MAX
            && let Some((oldest, _)) = self.watched.remove_lru()
        {
            self.untag(&oldest);
        }
        if self.watched.insert(*key, watched).is_none() {
            self.tag(key);
        }
        self.watched(key)
    }

    fn unwatch(&mut self, key: &FlowKey) {
        self.remove(key);
    }

    fn settle(&mut self, key: &FlowKey) {
        if let Some(watched) = self.remove(key) {
            self.settled.insert(*key, Settled::of(&watched.flow));
        }
    }

    fn resume(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Watched> {
        let settled = self.settled.remove(key)?;
        self.watch(key, now_ns, |flow| settled.resume(flow))
    }
}

struct CaptureOutput<'a, R> {
    now_ns: u64,
    counters: &'a mut [u64; Counter::COUNT],
    receiver: &'a mut R,
}

impl<R: Receiver> Output for CaptureOutput<'_, R> {
    fn now_ns(&mut self) -> u64 {
        self.now_ns
    }

    fn send_observation(&mut self, fill: impl FnOnce(&mut Observation)) -> bool {
        let mut observation = Observation::default();
        fill(&mut observation);
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
