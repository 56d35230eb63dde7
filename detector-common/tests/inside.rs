//! Frames inside others are read as if they were alone.

use detector_common::headers::{LinkType, Tap, walk};
use detector_common::packet::{Inside, Packet};

/// IPv4 and TCP with the beginning of a ClientHello.
const INNER: [u8; 49] = [
    0x45, 0, 0, 49, 0, 7, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, //
    0xc0, 0, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0, //
    22, 3, 1, 0, 4, 1, 0, 0, 0,
];
const OFFSET: usize = 50;

const TAP: Tap = Tap {
    link: LinkType::Raw,
    interface: 1,
    egress: false,
    vlan_in_key: true,
    tunnel: 0,
};

/// A frame whose VLAN tag the kernel has taken off.
struct Untagged<'a>(&'a [u8]);

impl Packet for Untagged<'_> {
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.0.get(offset..)?.first_chunk::<N>()
    }

    fn head(&self, offset: usize, count: u32) -> Option<u64> {
        self.0.head(offset, count)
    }

    fn far_byte(&self, offset: usize) -> Option<u8> {
        self.0.far_byte(offset)
    }

    fn copy<const ROOM: usize>(&self, offset: usize, to: &mut [u8; ROOM], len: usize) -> bool {
        self.0.copy(offset, to, len)
    }

    fn frame_len(&self) -> usize {
        self.0.len()
    }

    fn black_box(&self, value: u32) -> u32 {
        value
    }

    fn offloaded_vlan(&self) -> Option<u16> {
        Some(7)
    }
}

fn outer() -> Vec<u8> {
    [&[0xaa; OFFSET][..], &INNER].concat()
}

#[test]
fn the_inner_frame_is_walked_from_its_own_beginning() {
    let outer = outer();
    let inside = Inside {
        outer: &outer.as_slice(),
        offset: OFFSET,
    };
    let alone = walk(&INNER.as_slice(), &TAP).unwrap();
    assert_eq!(alone.payload_len, 9);
    assert_eq!(walk(&inside, &TAP), Ok(alone));
    assert_eq!(inside.frame_len(), INNER.len());
}

#[test]
fn payload_is_read_at_the_inner_frames_offsets_up_to_its_end() {
    let outer = outer();
    let inside = Inside {
        outer: &outer.as_slice(),
        offset: OFFSET,
    };
    assert_eq!(inside.head(40, 5), Some(0x1603_0100_0400_0000));
    assert_eq!(inside.head(45, 4), Some(0x0100_0000_0000_0000));
    assert_eq!(inside.head(45, 5), None);
    assert_eq!((inside.far_byte(41), inside.far_byte(49)), (Some(3), None));
    let mut copied = [0xff; 5];
    assert!(inside.copy(40, &mut copied, 4));
    assert_eq!(copied, [22, 3, 1, 0, 0xff]);
    // Neither beyond the frame nor beyond the room.
    assert!(!inside.copy(46, &mut copied, 4));
    assert!(!inside.copy(40, &mut copied, 6));
    assert_eq!(copied, [22, 3, 1, 0, 0xff]);
}

#[test]
fn a_vlan_tag_is_that_of_the_outer_frame() {
    let outer = outer();
    let inside = |offset: usize| {
        Inside {
            outer: &Untagged(&outer),
            offset,
        }
        .offloaded_vlan()
    };
    assert_eq!((inside(0), inside(OFFSET)), (Some(7), None));
    let packet = Inside {
        outer: &Untagged(&outer),
        offset: OFFSET,
    };
    assert_eq!(walk(&packet, &TAP).unwrap().key.vlan, [0, 0]);
}
