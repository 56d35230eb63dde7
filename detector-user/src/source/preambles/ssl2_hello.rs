//! ClientHellos in the format of SSL 2.0 that offer SSL 3.0 or TLS, as stacks of the time before
//! extensions send them (RFC 5246 App. E.2): rewritten as the ClientHello that they mean.

use detector_common::headers::Segment;
use detector_common::record::{CLIENT_HELLO, HANDSHAKE};

use super::Rewritten;
use super::removed::{self, Removed};

/// First bytes of records of up to 511 bytes without padding; longer hellos do not occur.
pub(super) const FIRST: std::ops::RangeInclusive<u8> = 0x80..=0x81;
/// Bytes of a hello's fields of fixed length, record header included.
const FIXED_LEN: usize = 11;
const RANDOM_LEN: usize = 32;

/// A segment's payload that is such a hello.
#[derive(Debug, PartialEq, Eq)]
struct Hello<'a> {
    version: [u8; 2],
    cipher_specs: &'a [u8],
    challenge: &'a [u8],
}

/// Returns the frame in which a segment has the ClientHello of TLS in place of that of SSL 2.0; `None` if it
/// has none, or not the whole of one. The bytes after it keep their sequence numbers: the hello's first
/// changes.
pub(super) fn rewritten(segment: &Segment, payload: &[u8]) -> Option<Rewritten> {
    if payload.len() != segment.payload_len as usize {
        return None;
    }
    let hello = parse(payload)?.as_record();
    let len = u32::try_from(hello.len()).ok()?;
    let moved = Segment {
        seq: segment
            .seq
            .wrapping_add(segment.payload_len)
            .wrapping_sub(len),
        payload_len: len,
        ..*segment
    };
    let none = Removed::default();
    let (bytes, wire_len) = removed::frame(&moved, &hello, &none, &none)?;
    Some(Rewritten { bytes, wire_len })
}

/// Whether a payload is such a hello.
pub(super) fn is_one(payload: &[u8]) -> bool {
    parse(payload).is_some()
}

fn parse(payload: &[u8]) -> Option<Hello<'_>> {
    let (fixed, rest) = payload.split_first_chunk::<FIXED_LEN>()?;
    let [high, low, kind, major, minor, lengths @ ..] = *fixed;
    let record_len = usize::from(u16::from_be_bytes([high & 0x7f, low]));
    let [specs, session_id, challenge] =
        [0, 2, 4].map(|at| usize::from(u16::from_be_bytes([lengths[at], lengths[at + 1]])));
    let is_hello = FIRST.contains(&high)
        && kind == CLIENT_HELLO
        && major == 3
        && minor <= 3
        && record_len + 2 == payload.len()
        && specs > 0
        && specs.is_multiple_of(3)
        && matches!(session_id, 0 | 16)
        && (16..=RANDOM_LEN).contains(&challenge)
        && specs + session_id + challenge == rest.len();
    is_hello.then_some(())?;
    let (cipher_specs, rest) = rest.split_at_checked(specs)?;
    Some(Hello {
        version: [major, minor],
        cipher_specs,
        challenge: rest.get(session_id..)?,
    })
}

impl Hello<'_> {
    /// Returns the record of the ClientHello that it means: its cipher suites are the specs that begin with a
    /// zero, its random is the challenge behind zeros, and it has no extensions.
    fn as_record(&self) -> Vec<u8> {
        let specs = self.cipher_specs.chunks_exact(3);
        let suites: Vec<u8> = specs
            .filter_map(|spec| spec.strip_prefix(&[0]))
            .flatten()
            .copied()
            .collect();
        let zeros = RANDOM_LEN.saturating_sub(self.challenge.len());
        let mut body = self.version.to_vec();
        body.extend(std::iter::repeat_n(0, zeros));
        body.extend(self.challenge);
        body.push(0);
        body.extend(u16_of(suites.len()));
        body.extend(suites);
        body.extend([1, 0]);
        let [a, b] = u16_of(body.len());
        let message = [&[CLIENT_HELLO, 0, a, b][..], &body].concat();
        let [a, b] = u16_of(message.len());
        let [major, minor] = self.version;
        [&[HANDSHAKE, major, minor, a, b][..], &message].concat()
    }
}

/// Returns a length's two bytes; those of a hello have at most 511 by [`FIRST`].
const fn u16_of(len: usize) -> [u8; 2] {
    (len as u16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tls::HandshakeView;
    use detector_common::flow::Sender;
    use rstest::rstest;

    /// TLS 1.0, with three suites and one of SSL 2.0, and a challenge of 16 bytes.
    fn hello(session_id: &[u8]) -> Vec<u8> {
        let specs = [0, 0, 0x2f, 1, 0, 0x80, 0, 0, 0x35, 0, 0, 0x0a];
        let len = 9 + specs.len() + session_id.len() + 16;
        let fixed = [
            0x80,
            len as u8,
            1,
            3,
            1,
            0,
            12,
            0,
            session_id.len() as u8,
            0,
            16,
        ];
        [&fixed[..], &specs, session_id, &[7; 16]].concat()
    }

    #[rstest]
    #[case(&[])]
    #[case(&[9; 16])]
    fn it_is_read_as_the_hello_that_it_means(#[case] session_id: &[u8]) {
        let hello = hello(session_id);
        let mut view = HandshakeView::default();
        view.feed(Sender::Client, 0, &parse(&hello).unwrap().as_record());
        let read = view.client_hello().unwrap();
        assert!(read.complete && read.extensions.is_empty());
        assert_eq!(read.legacy_version, 0x0301);
        assert_eq!(read.cipher_suites, [0x2f, 0x35, 0x0a]);
        assert_eq!(read.random, [[0; 16], [7; 16]].concat()[..]);
    }

    /// No length may differ, nor the version be that of SSL 2.0.
    #[test]
    fn other_bytes_are_none() {
        let hello = hello(&[]);
        assert!(is_one(&hello));
        for at in (0..11).filter(|at| *at != 4) {
            let mut other = hello.clone();
            other[at] ^= 2;
            assert!(!is_one(&other), "byte {at}");
        }
        assert!(!is_one(&hello[..hello.len() - 1]));
        assert!(!is_one(&[&hello[..], &[0]].concat()));
    }
}
