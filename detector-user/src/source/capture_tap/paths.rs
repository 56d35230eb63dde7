//! Connections whose two directions a capture shows in different places: with different VLAN tags, or
//! on different interfaces.

use detector_common::flow::{FlowKey, side_flags};
use detector_common::headers::Segment;
use hashlink::LruCache;

use super::tables::LruTables;

/// Maximum number of places that are searched for a connection's other direction.
const PLACES_MAX: usize = 16;
/// Maximum number of directions that are followed elsewhere, the least recent first to go.
const FOLLOWED_MAX: usize = 1 << 16;
/// Bytes that a side may be acknowledged beyond the last one seen.
const AHEAD_MAX: u32 = 1 << 20;

/// Place of frames: interface and VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    interface: u32,
    vlan: [u16; 2],
}

impl Place {
    fn of(key: &FlowKey) -> Self {
        Self {
            interface: key.interface,
            vlan: key.vlan,
        }
    }

    /// Returns the key of the same connection here.
    fn key(self, key: &FlowKey) -> FlowKey {
        FlowKey {
            interface: self.interface,
            vlan: self.vlan,
            ..*key
        }
    }
}

/// The places of a capture.
pub(super) struct Paths {
    places: Vec<Place>,
    /// The last frame's place, as far as its first bytes show it.
    mark: Option<(u32, [u8; 4])>,
    followed: LruCache<(FlowKey, u8), FlowKey>,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            mark: None,
            followed: LruCache::new(FOLLOWED_MAX),
        }
    }
}

impl Paths {
    /// Whether a frame need not be looked at: all were seen in one place so far, and this one too. Costs
    /// one comparison in most captures.
    pub(super) fn has_one(&mut self, interface: u32, frame: &[u8]) -> bool {
        let tag = frame.get(12..16).and_then(|tag| tag.first_chunk());
        let tag = tag.copied().filter(|tag| tag.starts_with(&[0x81, 0]));
        let mark = Some((interface, tag.unwrap_or_default()));
        let same = self.mark == mark;
        self.mark = mark;
        same && self.places.len() == 1
    }

    /// Whether all frames were seen on one interface without a VLAN tag so far, and it is this one.
    #[inline]
    pub(super) fn is_all_of(&self, interface: u32) -> bool {
        self.mark == Some((interface, [0; 4])) && self.places.len() == 1
    }

    /// Returns the key of the connection that a segment is the unseen other direction of, if its own key
    /// is of none.
    pub(super) fn elsewhere(&mut self, segment: &Segment, tables: &LruTables) -> Option<FlowKey> {
        let key = &segment.key;
        let place = Place::of(key);
        if !self.places.contains(&place) && self.places.len() < PLACES_MAX {
            self.places.push(place);
        }
        if self.places.len() < 2 || tables.knows(key) {
            return None;
        }
        let direction = (*key, segment.endpoint);
        if let Some(followed) = self.followed.get(&direction) {
            if tables.knows(followed) {
                return Some(*followed);
            }
            self.followed.remove(&direction);
        }
        let others = self.places.iter().filter(|other| **other != place);
        let found = others
            .map(|other| other.key(key))
            .find(|other| is_unseen_side_of(segment, other, tables))?;
        self.followed.insert(direction, found);
        Some(found)
    }
}

/// Whether the connection of `key` lacks just this segment's direction: nothing of its sender was
/// seen, and it acknowledges its peer's bytes.
fn is_unseen_side_of(segment: &Segment, key: &FlowKey, tables: &LruTables) -> bool {
    tables.peek(key).is_some_and(|flow| {
        let [client, server] = &flow.sides;
        let (sender, peer) = if segment.endpoint == flow.client_endpoint {
            (client, server)
        } else {
            (server, client)
        };
        let acknowledged = segment.ack.wrapping_sub(peer.start_seq);
        let sent = peer.next_seq.wrapping_sub(peer.start_seq);
        !sender.has(side_flags::SEEN | side_flags::RST)
            && acknowledged <= sent.saturating_add(AHEAD_MAX)
    })
}
