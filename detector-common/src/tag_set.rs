//! Which flows may be watched, told by one word.
//!
//! Every watched flow has a tag in one of many sets, found by a hash of its key. A packet whose tag
//! is not in its set belongs to no watched flow, and needs no look-up. A set that is full counts
//! what it could not take, and says "perhaps" to all until those are gone: a packet of a watched
//! flow is never missed.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::FlowKey;

/// Tags a set has room for.
const LANES: u32 = 4;
/// Bits of a lane.
const LANE_BITS: u32 = 15;
/// Marks a lane in use, so that 0 is a free one.
const IN_USE: u64 = 1 << (LANE_BITS - 1);
const LANE_MASK: u64 = (1 << LANE_BITS) - 1;
/// A one in every lane.
const ONES: u64 = 1 | 1 << LANE_BITS | 1 << (2 * LANE_BITS) | 1 << (3 * LANE_BITS);
/// The top bit of every lane.
const TOPS: u64 = ONES * IN_USE;
/// How many flows the set holds beyond its lanes is in the bits above them.
const BEYOND_SHIFT: u32 = LANES * LANE_BITS;
/// As many are not counted down again: the set says "perhaps" for good.
const BEYOND_MAX: u64 = u64::MAX >> BEYOND_SHIFT;

/// Where a flow's tag belongs, and the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Number of the set; hosts take as many low bits as they have sets.
    pub set: u32,
    tag: u64,
}

/// A set of tags.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct TagSet(pub u64);

impl Spot {
    /// The spot of a flow, the same for both directions and whichever order its endpoints are in.
    /// `seed` keeps strangers from choosing who shares a set.
    #[inline(always)]
    pub fn of(key: &FlowKey, seed: u64) -> Self {
        // Odd numbers without pattern, of xxHash.
        const END: u64 = 0x9e37_79b1_85eb_ca87;
        const PLACE: u64 = 0xc2b2_ae3d_27d4_eb4f;
        let [a, b] = &key.addresses;
        let [a_port, b_port] = key.ports;
        let end = |(high, low): (u64, u64), port: u16| {
            let word = (low ^ high.rotate_left(29) ^ seed)
                .wrapping_add(u64::from(port))
                .wrapping_mul(END);
            word ^ (word >> 29)
        };
        let [outer, inner] = key.vlan;
        let place = u64::from(key.interface) | u64::from(outer) << 32 | u64::from(inner) << 48;
        let word = end(a.halves(), a_port)
            .wrapping_add(end(b.halves(), b_port))
            .wrapping_add(place)
            .wrapping_mul(PLACE);
        Self {
            set: (word >> 32) as u32,
            tag: (word >> 18) & (IN_USE - 1) | IN_USE,
        }
    }
}

impl TagSet {
    /// Whether a flow with this spot may be held; never `false` for one that is.
    #[inline(always)]
    pub fn may_hold(self, spot: Spot) -> bool {
        self.lanes_with(spot) | (self.0 >> BEYOND_SHIFT) != 0
    }

    /// The set with one more flow.
    #[inline(always)]
    pub fn with(self, spot: Spot) -> Self {
        let free = lowest(!self.0 & TOPS);
        if free != 0 {
            return Self(self.0 | spot.tag.wrapping_mul(free));
        }
        match self.0 >> BEYOND_SHIFT {
            BEYOND_MAX => self,
            _ => Self(self.0 + (1 << BEYOND_SHIFT)),
        }
    }

    /// The set with one flow less, which was put in before.
    ///
    /// Flows with the same tag are not told apart, nor need be: as many lanes and counts are taken
    /// as are given back, and a count that is left says "perhaps" to any.
    #[inline(always)]
    pub fn without(self, spot: Spot) -> Self {
        let held = lowest(self.lanes_with(spot));
        if held != 0 {
            return Self(self.0 & !LANE_MASK.wrapping_mul(held));
        }
        match self.0 >> BEYOND_SHIFT {
            0 | BEYOND_MAX => self,
            _ => Self(self.0 - (1 << BEYOND_SHIFT)),
        }
    }

    /// The top bits of lanes that hold the tag, if any does; the lowest is right, those above it may
    /// be set in vain.
    #[inline(always)]
    fn lanes_with(self, spot: Spot) -> u64 {
        let differs = self.0 ^ spot.tag.wrapping_mul(ONES);
        // Taking one from each lane borrows where it was zero.
        differs.wrapping_sub(ONES) & !differs & TOPS
    }

    /// A set that says "perhaps" to all for good.
    pub const fn uncertain() -> Self {
        Self(BEYOND_MAX << BEYOND_SHIFT)
    }
}

/// A one in the lowest of the lanes whose top bits are given; 0 if none is.
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

    fn spot(tag: u64) -> Spot {
        Spot {
            set: 0,
            tag: tag | IN_USE,
        }
    }

    #[test]
    fn both_directions_have_one_spot() {
        let there = key(7);
        let mut back = there;
        back.addresses.swap(0, 1);
        back.ports.swap(0, 1);
        assert_eq!(Spot::of(&there, 9), Spot::of(&back, 9));
        let mut crossed = there;
        crossed.ports.swap(0, 1);
        assert_ne!(Spot::of(&there, 9), Spot::of(&crossed, 9));
    }

    #[test]
    fn neighbours_are_spread() {
        let mut sets = [0u8; 1024];
        for number in 0..1024 {
            let spot = Spot::of(&key(number), 0);
            sets[spot.set as usize % 1024] += 1;
        }
        assert!(sets.iter().all(|&flows| flows <= 8));
        assert!(sets.iter().filter(|&&flows| flows == 0).count() < 450);
    }

    #[test]
    fn what_is_in_is_found_and_what_is_out_is_not() {
        let set = TagSet::default().with(spot(1)).with(spot(2)).with(spot(1));
        assert!(set.may_hold(spot(1)) && set.may_hold(spot(2)));
        assert!(!set.may_hold(spot(0)) && !set.may_hold(spot(3)));
        let set = set.without(spot(1));
        assert!(set.may_hold(spot(1)), "there were two");
        let set = set.without(spot(1)).without(spot(2));
        assert_eq!(set, TagSet::default());
        assert!(!set.may_hold(spot(0)));
    }

    #[test]
    fn a_full_set_says_perhaps_until_what_it_could_not_take_is_gone() {
        let full = (1..=4).fold(TagSet::default(), |set, tag| set.with(spot(tag)));
        assert!(!full.may_hold(spot(9)));
        let beyond = full.with(spot(5)).with(spot(6));
        assert!(beyond.may_hold(spot(9)) && beyond.may_hold(spot(5)));
        let one_left = beyond.without(spot(5));
        assert!(one_left.may_hold(spot(6)));
        assert!(!one_left.without(spot(6)).may_hold(spot(6)));
        // A lane that is given back does not take the count with it.
        assert!(one_left.without(spot(1)).may_hold(spot(6)));
    }

    #[test]
    fn one_that_cannot_count_on_stays_uncertain() {
        let mut set = (0..100).fold(TagSet::default(), |set, tag| set.with(spot(tag)));
        for tag in 0..100 {
            set = set.without(spot(tag));
        }
        assert!(set.may_hold(spot(77)));
        assert!(TagSet::uncertain().may_hold(spot(3)));
        assert_eq!(TagSet::uncertain().without(spot(3)), TagSet::uncertain());
    }
}
