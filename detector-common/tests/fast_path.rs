//! The fast path agrees with the header walk.
#![expect(
    clippy::unwrap_used,
    reason = "a frame that cannot be built or walked is a failed test"
)]

use detector_common::fast_path::glance;
use detector_common::flow::FlowKey;
use detector_common::headers::{LinkType, Tap, tcp_flags, walk};
use detector_common::record::{ALERT, HANDSHAKE};
use etherparse::PacketBuilder;
use proptest::prelude::*;

fn frame(ipv6: bool, raw: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    if ipv6 {
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv6([3; 16], [4; 16], 60)
            .tcp(40_000, 443, 1, 2)
            .options_raw(&[1, 1, 1, 1])
            .unwrap()
            .write(&mut frame, payload)
            .unwrap();
    } else {
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 60)
            .tcp(40_000, 443, 1, 2)
            .write(&mut frame, payload)
            .unwrap();
    }
    if raw {
        frame.drain(..14);
    }
    frame
}

fn ordered(mut key: FlowKey) -> FlowKey {
    key.canonicalize();
    key
}

fn check(frame: &[u8], tap: &Tap) -> Option<FlowKey> {
    let glance = glance(&frame, tap)?;
    if !glance.is_uneventful(&frame, |_| false) {
        return None;
    }
    let key = glance.key;
    let segment = walk(&frame, tap).unwrap();
    assert_eq!(ordered(key), ordered(segment.key));
    assert!(!segment.has(tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST));
    if segment.payload_len > 0 {
        let first = frame[segment.payload_offset];
        assert!(first != ALERT && first != HANDSHAKE);
    }
    Some(key)
}

fn tap(raw: bool) -> Tap {
    Tap {
        link: if raw {
            LinkType::Raw
        } else {
            LinkType::Ethernet
        },
        interface: 5,
        egress: false,
        vlan_in_key: true,
        tunnel: 0,
    }
}

#[test]
fn uneventful_segments_take_the_fast_path() {
    for (ipv6, raw) in [(false, false), (false, true), (true, false), (true, true)] {
        for payload in [&[][..], &[23, 3, 3, 0, 9], &[0; 1400]] {
            assert!(check(&frame(ipv6, raw, payload), &tap(raw)).is_some());
        }
        for payload in [&[22, 3, 1][..], &[21, 3, 3, 0, 2, 2, 46]] {
            assert!(check(&frame(ipv6, raw, payload), &tap(raw)).is_none());
        }
    }
}

proptest! {
    #[test]
    fn fast_path_and_walk_agree_on_any_frame(
        ipv6: bool,
        raw: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..20),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in 0usize..40,
    ) {
        let mut frame = frame(ipv6, raw, &payload);
        for (place, value) in changes {
            let place = place % frame.len();
            frame[place] = value;
        }
        frame.truncate(frame.len() - cut.min(frame.len()));
        check(&frame, &tap(raw));
    }
}
