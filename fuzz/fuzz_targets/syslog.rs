//! A stream of syslog messages that comes in pieces: the first byte is the pieces' length, the second line
//! may be an address.
//!
//! Holds: messages are within their bound and the same for any pieces, reading a message's rows ends, and an
//! address is shown as it was read.
#![no_main]

use detector_user::firewall::LogReader;
use detector_user::firewall::syslog::{MESSAGE_MAX, Stream, SyslogAddress};
use libfuzzer_sys::fuzz_target;

fn messages(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, u64) {
    let mut reader = Stream::default();
    let mut messages = Vec::new();
    for bytes in stream.chunks(piece.max(1)) {
        reader.feed(bytes, |message| {
            assert!(message.len() <= MESSAGE_MAX, "{} bytes", message.len());
            messages.push(message.to_vec());
        });
    }
    (messages, reader.oversized)
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, stream)) = input.split_first() else {
        return;
    };
    let in_pieces = messages(stream, usize::from(*piece));
    assert_eq!(in_pieces, messages(stream, stream.len()));
    let bytes: usize = in_pieces.0.iter().map(Vec::len).sum();
    assert!(bytes <= stream.len(), "bytes that nobody sent");
    for message in in_pieces.0 {
        let lines = message.split(|byte| *byte == b'\n').count();
        let mut reader = LogReader::new(message.as_slice());
        let mut rows = 0;
        while let Some(_row) = reader.next_row().expect("a slice can be read") {
            rows += 1;
            assert!(rows <= lines, "more rows than lines");
        }
        if let Ok(address) = String::from_utf8_lossy(&message).parse::<SyslogAddress>() {
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
});
