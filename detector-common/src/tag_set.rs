//! Tag filter: a membership test for watched flows that reads one 64-bit word.
//!
//! Each watched flow has a tag in one of many sets, selected by a hash of its key. A packet whose tag
//! is not in its set belongs to no watched flow and needs no look-up. A full set counts the flows it
//! could not store and matches every tag until they are gone: there are false positives, as in a
//! cuckoo filter, and no false negatives.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::FlowKey;

/// Tags per set.
const LANES: u32 = 4;
/// Bits of a lane.
const LANE_BITS: u32 = 15;
/// Bit that marks a lane in use; 0 is a free lane.
const IN_USE: u64 = 1 << (LANE_BITS - 1);
const LANE_MASK: u64 = (1 << LANE_BITS) - 1;
/// A one in every lane.
const ONES: u64 = 1 | 1 << LANE_BITS | 1 << (2 * LANE_BITS) | 1 << (3 * LANE_BITS);
/// The top bit of every lane.
const TOPS: u64 = ONES * IN_USE;
/// Bit position of the overflow count: flows in the set that have no lane.
const OVERFLOW_SHIFT: u32 = LANES * LANE_BITS;
/// Highest overflow count. It is never decremented: the set matches every tag from then on.
const OVERFLOW_MAX: u64 = u64::MAX >> OVERFLOW_SHIFT;

/// Tag of a flow, and the set it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTag {
    /// Index of the set; hosts mask it to the number of their sets.
    pub set: u32,
    bits: u64,
}

/// A set of tags.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct TagSet(pub u64);

/// The last few tags that were added: a set that forgets the oldest when it is full.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct RecentTags(pub u64);

/// Bits of a lane of [`RecentTags`]: a tag, and a zero above it.
const RECENT_BITS: u32 = LANE_BITS + 1;
const RECENT_MASK: u64 = (1 << RECENT_BITS) - 1;
/// A one in every lane of [`RecentTags`].
const RECENT_ONES: u64 = 1 | 1 << RECENT_BITS | 1 << (2 * RECENT_BITS) | 1 << (3 * RECENT_BITS);

/// Sets of tags of one hash.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Tags {
    /// Watched flows, each of them.
    pub watched: TagSet,
    /// Settled flows, some of them.
    pub settled: RecentTags,
}

impl FlowTag {
    /// Computes the tag of a flow, the same for either order of its endpoints. `seed` prevents
    /// strangers from choosing flows that share a set.
    #[inline(always)]
    pub fn of(key: &FlowKey, seed: u64) -> Self {
        let word = Self::hash(key, seed);
        Self {
            set: (word >> 32) as u32,
            bits: (word >> 18) & (IN_USE - 1) | IN_USE,
        }
    }

    /// Hashes a flow's key, except for its tunnel, the same for either order of its endpoints.
    #[inline(always)]
    pub(crate) fn hash(key: &FlowKey, seed: u64) -> u64 {
        // Odd multipliers of xxHash.
        const END: u64 = 0x9e37_79b1_85eb_ca87;
        const PLACE: u64 = 0xc2b2_ae3d_27d4_eb4f;
        let [a, b] = &key.addresses;
        let [a_port, b_port] = key.ports;
        let end = |(high, low): (u64, u64), port: u16| {
            // Each part is multiplied for itself: in a sum of parts what a port loses an address can make up for,
            // under many seeds. Rotated, the differences of uppermost bits do not cancel out.
            let word = (low ^ seed)
                .wrapping_mul(END)
                .wrapping_add((high ^ seed).wrapping_mul(END).rotate_left(32))
                .wrapping_add(u64::from(port).wrapping_mul(PLACE));
            word ^ (word >> 29)
        };
        let [outer, inner] = key.vlan;
        let place = u64::from(key.interface) | u64::from(outer) << 32 | u64::from(inner) << 48;
        end(a.halves(), a_port)
            .wrapping_add(end(b.halves(), b_port))
            .wrapping_add(place)
            .wrapping_mul(PLACE)
    }
}

impl TagSet {
    /// Whether the set may contain a flow with this tag; never `false` for one it contains.
    #[inline(always)]
    pub fn may_contain(self, tag: FlowTag) -> bool {
        self.lanes_with(tag) | (self.0 >> OVERFLOW_SHIFT) != 0
    }

    /// Returns the set with one more flow.
    #[inline(always)]
    pub fn with(self, tag: FlowTag) -> Self {
        let free = lowest(!self.0 & TOPS);
        if free != 0 {
            return Self(self.0 | tag.bits.wrapping_mul(free));
        }
        match self.0 >> OVERFLOW_SHIFT {
            OVERFLOW_MAX => self,
            _ => Self(self.0 + (1 << OVERFLOW_SHIFT)),
        }
    }

    /// Returns the set without one flow, which was added before.
    ///
    /// Flows with equal tags need not be distinguished: each addition took one lane or one overflow
    /// count, and each removal frees one. A remaining overflow count matches every tag.
    #[inline(always)]
    pub fn without(self, tag: FlowTag) -> Self {
        let held = lowest(self.lanes_with(tag));
        if held != 0 {
            return Self(self.0 & !LANE_MASK.wrapping_mul(held));
        }
        match self.0 >> OVERFLOW_SHIFT {
            0 | OVERFLOW_MAX => self,
            _ => Self(self.0 - (1 << OVERFLOW_SHIFT)),
        }
    }

    /// Returns the top bits of the lanes that hold the tag. The lowest is exact; a borrow may set
    /// those above it by mistake.
    #[inline(always)]
    fn lanes_with(self, tag: FlowTag) -> u64 {
        let differs = self.0 ^ tag.bits.wrapping_mul(ONES);
        // Subtracting one from each lane borrows if it was zero.
        differs.wrapping_sub(ONES) & !differs & TOPS
    }

    /// Returns a set that matches every tag from now on.
    pub const fn saturated() -> Self {
        Self(OVERFLOW_MAX << OVERFLOW_SHIFT)
    }
}

impl RecentTags {
    /// Whether the tag was added lately. Another flow with the same set and the same 14 bits is
    /// taken for this one.
    #[inline(always)]
    pub fn contains(self, tag: FlowTag) -> bool {
        self.lanes_with(tag) != 0
    }

    /// Returns the set with the tag, without the oldest.
    #[inline(always)]
    pub fn with(self, tag: FlowTag) -> Self {
        Self(self.0 << RECENT_BITS | tag.bits)
    }

    /// Returns the set without the tag.
    #[inline(always)]
    pub fn without(self, tag: FlowTag) -> Self {
        Self(self.0 & !self.lanes_with(tag).wrapping_mul(RECENT_MASK))
    }

    /// Returns a one in each lane that holds the tag.
    #[inline(always)]
    fn lanes_with(self, tag: FlowTag) -> u64 {
        let differs = self.0 ^ tag.bits.wrapping_mul(RECENT_ONES);
        // A lane's top bit is clear, and the sum sets it unless the lane is zero; nothing is carried.
        let sum = differs.wrapping_add(RECENT_ONES * LANE_MASK);
        !sum >> LANE_BITS & RECENT_ONES
    }
}

/// Returns a one in the lowest lane of those whose top bits are set; 0 if there is none.
#[inline(always)]
fn lowest(tops: u64) -> u64 {
    (tops & tops.wrapping_neg()) / IN_USE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Address;

    fn key(number: u32) -> FlowKey {
        FlowKey {
            addresses: [
                Address::from_ipv4(0x0a00_0000 + number),
                Address::from_ipv4(0xc0a8_0001),
            ],
            ports: [40_000, 443],
            ..FlowKey::default()
        }
    }

    fn tag(number: u64) -> FlowTag {
        FlowTag {
            set: 0,
            bits: number | IN_USE,
        }
    }

    #[test]
    fn both_directions_have_one_tag() {
        let there = key(7);
        let mut back = there;
        back.addresses.swap(0, 1);
        back.ports.swap(0, 1);
        assert_eq!(FlowTag::of(&there, 9), FlowTag::of(&back, 9));
        let mut crossed = there;
        crossed.ports.swap(0, 1);
        assert_ne!(FlowTag::of(&there, 9), FlowTag::of(&crossed, 9));
    }

    /// Under no seed do flows share a hash that differ by one bit here and one bit there.
    #[test]
    fn no_bit_of_a_port_or_an_address_is_traded_for_another() {
        let hash = |high: u64, low: u64, port: u16, seed: u64| {
            let mut key = key(7);
            key.addresses[0] = Address::from_halves(high.to_be(), low.to_be());
            key.ports[0] = port;
            FlowTag::hash(&key, seed)
        };
        let seeds = (0..32u64).map(|it| it.wrapping_mul(0xd6e8_feb8_6659_fd93));
        for (seed, bit) in seeds.flat_map(|seed| (0..64).map(move |bit| (seed, bit))) {
            let low = hash(0, 1 << bit, 0, seed);
            for other in 0..64 {
                let by_port = hash(0, 0, 1u16.unbounded_shl(other), seed);
                assert_ne!(
                    low, by_port,
                    "seed {seed:#x}: {bit} for {other} of the port"
                );
                let by_high = hash(1 << other, 1 << bit, 0, seed);
                let neither = hash(0, 0, 0, seed);
                assert_ne!(
                    by_high, neither,
                    "seed {seed:#x}: {bit} and {other} of both halves"
                );
            }
        }
    }

    #[test]
    fn neighbours_are_spread() {
        let mut sets = [0u8; 1024];
        for number in 0..1024 {
            let tag = FlowTag::of(&key(number), 0);
            sets[tag.set as usize % 1024] += 1;
        }
        assert!(sets.iter().all(|&flows| flows <= 8));
        assert!(sets.iter().filter(|&&flows| flows == 0).count() < 450);
    }

    #[test]
    fn added_tags_match_and_others_do_not() {
        let set = TagSet::default().with(tag(1)).with(tag(2)).with(tag(1));
        assert!(set.may_contain(tag(1)) && set.may_contain(tag(2)));
        assert!(!set.may_contain(tag(0)) && !set.may_contain(tag(3)));
        let set = set.without(tag(1));
        assert!(set.may_contain(tag(1)), "there were two");
        let set = set.without(tag(1)).without(tag(2));
        assert_eq!(set, TagSet::default());
        assert!(!set.may_contain(tag(0)));
    }

    #[test]
    fn a_full_set_matches_all_until_the_overflow_is_gone() {
        let full = (1..=4).fold(TagSet::default(), |set, number| set.with(tag(number)));
        assert!(!full.may_contain(tag(9)));
        let overflowing = full.with(tag(5)).with(tag(6));
        assert!(overflowing.may_contain(tag(9)) && overflowing.may_contain(tag(5)));
        let one_left = overflowing.without(tag(5));
        assert!(one_left.may_contain(tag(6)));
        assert!(!one_left.without(tag(6)).may_contain(tag(6)));
        // A lane that is given back does not take the count with it.
        assert!(one_left.without(tag(1)).may_contain(tag(6)));
    }

    #[test]
    fn recent_tags_are_forgotten_in_order_or_when_told() {
        let four = (1..=4).fold(RecentTags::default(), |set, number| set.with(tag(number)));
        assert!((1..=4).all(|number| four.contains(tag(number))));
        assert!(!four.contains(tag(0)) && !four.contains(tag(5)));
        assert!(!RecentTags::default().contains(tag(0)));
        let five = four.with(tag(5));
        assert!(!five.contains(tag(1)) && five.contains(tag(2)));
        let without = five.with(tag(3)).without(tag(3));
        assert!(!without.contains(tag(3)));
        assert!(without.contains(tag(4)) && without.contains(tag(5)));
        assert_eq!(without.without(tag(9)), without);
    }

    #[test]
    fn a_saturated_count_stays() {
        let mut set = (0..100).fold(TagSet::default(), |set, number| set.with(tag(number)));
        for number in 0..100 {
            set = set.without(tag(number));
        }
        assert!(set.may_contain(tag(77)));
        assert!(TagSet::saturated().may_contain(tag(3)));
        assert_eq!(TagSet::saturated().without(tag(3)), TagSet::saturated());
    }
}
