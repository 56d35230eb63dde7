//! The TLS handshake of two streams, whose bytes come in any order, twice or never.
//!
//! Holds: memory is bounded, parsing changes nothing, and bytes that come again change nothing.
#![no_main]

use detector_common::flow::Sender;
use detector_user::flow::tls::HandshakeView;
use libfuzzer_sys::fuzz_target;
use tlswhy_fuzz::frames;

/// Both directions' 16 KiB, twice as a growing vector may take, and bookkeeping.
const MEMORY_MAX: usize = 2 * 2 * 16 * 1024 + 256 * 1024;

fuzz_target!(|input: &[u8]| {
    let mut view = HandshakeView::default();
    let pieces = || {
        frames(input).filter_map(|piece| {
            let (place, bytes) = piece.split_first_chunk::<2>()?;
            let place = u32::from(u16::from_be_bytes(*place));
            let sender = if place & 1 == 0 {
                Sender::Client
            } else {
                Sender::Server
            };
            Some((sender, place >> 1, bytes))
        })
    };
    for (sender, offset, bytes) in pieces() {
        view.feed(sender, offset, bytes);
        assert!(view.memory() <= MEMORY_MAX, "{} bytes", view.memory());
    }
    let parsed = format!("{:?}", view.parse());
    assert_eq!(parsed, format!("{:?}", view.parse()));
    for (sender, offset, bytes) in pieces() {
        view.feed(sender, offset, bytes);
    }
    assert_eq!(
        parsed,
        format!("{:?}", view.parse()),
        "a retransmission was believed"
    );
    let _ = view.client_hello();
    assert_eq!(parsed, format!("{:?}", view.take()));
});
