//! The header walk and the fast path on one frame of any bytes.
//!
//! Holds: reads lie within the frame, fields are within their bounds, and the fast path passes
//! nothing that the walk would have the engine look at.
#![no_main]

use detector_common::fast_path::glance;
use detector_common::flow::FlowKey;
use detector_common::headers::{tcp_flags, walk};
use detector_common::packet::Packet;
use detector_common::record::{ALERT, HANDSHAKE};
use libfuzzer_sys::fuzz_target;

fn ordered(mut key: FlowKey) -> FlowKey {
    key.canonicalize();
    key
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, frame)) = input.split_first() else {
        return;
    };
    let tap = tlswhy_fuzz::tap(*choice);
    let walked = walk(&frame, &tap);
    if let Some(glance) = glance(&frame, &tap)
        && glance.is_uneventful(&frame, |_| false)
    {
        let key = glance.key;
        let segment = walked.expect("the fast path passed a frame that cannot be walked");
        assert_eq!(ordered(key), ordered(segment.key));
        assert!(!segment.has(tcp_flags::FIN | tcp_flags::RST));
        if segment.payload_len > 0 {
            assert!(!matches!(frame[segment.payload_offset], ALERT | HANDSHAKE));
        }
    }
    let mut segment = match walked {
        Ok(segment) => segment,
        Err(reason) => {
            assert!(reason.is_outcome());
            return;
        }
    };
    // The TCP header without its options was read, so it is there.
    assert!(segment.payload_offset <= frame.len() + usize::from(segment.options_len));
    assert!(segment.options_len <= 40 && segment.options_len % 4 == 0);
    // A datagram ends 65,535 bytes behind its network header at most, or where its frame does.
    let end = segment.payload_offset + segment.payload_len as usize;
    assert!(end <= frame.len().max(segment.payload_offset + 65_535));
    assert!(segment.source_mac < 1 << 48);
    assert!(segment.vlan.iter().all(|id| *id <= 0x0fff));
    assert_eq!(segment.key.tunnel, 0);
    assert!(tap.vlan_in_key || segment.key.vlan == [0; 2]);
    // No read beyond the frame, whatever the lengths claim.
    assert_eq!(
        frame.head(segment.payload_offset, 7).is_some(),
        segment.payload_offset + 7 <= frame.len()
    );

    segment.order_endpoints();
    let key = segment.key;
    assert!(segment.endpoint <= 1);
    segment.order_endpoints();
    assert_eq!(
        (segment.endpoint, segment.key),
        (0, key),
        "the order is not final"
    );
});
