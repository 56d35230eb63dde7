//! Handshake messages out of plaintext records (RFC 8446 §4, §5.1).

use std::borrow::Cow;

use detector_common::packet::first_bytes;
use detector_common::record::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER_LEN, RecordHeader,
};

use crate::flow::tls::server_hello::HELLO_RETRY_REQUEST;

/// HandshakeType `client_hello`.
pub const CLIENT_HELLO: u8 = 1;
/// HandshakeType `server_hello`.
pub const SERVER_HELLO: u8 = 2;
/// HandshakeType `new_session_ticket`.
pub const NEW_SESSION_TICKET: u8 = 4;
/// HandshakeType `certificate`.
pub const CERTIFICATE: u8 = 11;
/// HandshakeType `server_key_exchange`.
pub const SERVER_KEY_EXCHANGE: u8 = 12;
/// HandshakeType `certificate_request`.
pub const CERTIFICATE_REQUEST: u8 = 13;
/// HandshakeType `server_hello_done`.
pub const SERVER_HELLO_DONE: u8 = 14;
/// HandshakeType `certificate_verify`.
pub const CERTIFICATE_VERIFY: u8 = 15;
/// HandshakeType `client_key_exchange`.
pub const CLIENT_KEY_EXCHANGE: u8 = 16;
/// HandshakeType `certificate_status`.
pub const CERTIFICATE_STATUS: u8 = 22;

const MESSAGE_HEADER_LEN: usize = 4;
/// Offset of a hello's random, counted from its message header: after `legacy_version`.
const RANDOM: std::ops::Range<usize> = MESSAGE_HEADER_LEN + 2..MESSAGE_HEADER_LEN + 34;

/// End of the part of a direction that can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PlaintextEnd {
    /// The end of a record: more may follow.
    #[default]
    Open,
    /// Within a record.
    Cut,
    /// Encrypted records follow: no more will ever be read.
    Encrypted,
    /// Before bytes that are not a TLS record.
    NotTls,
}

/// The handshake of one direction as far as it is in the clear, joined over records.
#[derive(Clone, Debug)]
pub struct Plaintext<'a> {
    handshake: Cow<'a, [u8]>,
    /// Whether a ChangeCipherSpec record was seen.
    pub change_cipher_spec: bool,
    /// Level and description of the first alert record that holds one alert.
    pub alert: Option<[u8; 2]>,
    /// Its end.
    pub end: PlaintextEnd,
    /// Whether it has a record that may not be empty and is.
    pub empty_records: bool,
    /// Whole headers of records that were read.
    records: usize,
    /// The client random of a ClientHello that was read before.
    hello_random: Option<[u8; 32]>,
}

/// One handshake message without its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// HandshakeType.
    pub handshake_type: u8,
    /// As much of the body as came.
    pub body: &'a [u8],
    /// Whether all of it came.
    pub complete: bool,
}

impl<'a> Plaintext<'a> {
    /// Walks the records at the start of a stream up to the first encrypted one.
    pub fn read(stream: &'a [u8]) -> Self {
        Self::read_behind(None, stream)
    }

    /// Does the same behind a ClientHello with this random, if one was read before: it had records of its own.
    pub(super) fn read_behind(hello_random: Option<[u8; 32]>, mut stream: &'a [u8]) -> Self {
        let mut plaintext = Self {
            handshake: Cow::Borrowed(&[]),
            change_cipher_spec: false,
            alert: None,
            end: PlaintextEnd::Open,
            empty_records: false,
            records: 0,
            hello_random,
        };
        let mut changed = false;
        while !stream.is_empty() {
            let Some((header, body, rest)) = split_record(stream) else {
                // Fewer bytes than a header has may still become one.
                let cut = stream.len() < HEADER_LEN as usize;
                return plaintext.ending(if cut {
                    PlaintextEnd::Cut
                } else {
                    PlaintextEnd::NotTls
                });
            };
            plaintext.records += 1;
            plaintext.empty_records |=
                header.length == 0 && header.content_type != APPLICATION_DATA;
            let cut = body.len() < usize::from(header.length);
            match header.content_type {
                HANDSHAKE if !changed => plaintext.push(body, rest),
                HANDSHAKE if plaintext.goes_on_after_change(body) => {
                    changed = false;
                    plaintext.push(body, rest);
                }
                HANDSHAKE if cut && body.len() < RANDOM.end => {}
                CHANGE_CIPHER_SPEC => {
                    changed = true;
                    plaintext.change_cipher_spec = true;
                }
                ALERT if !changed || header.length == 2 => {
                    plaintext.alert = plaintext.alert.or(body.try_into().ok());
                }
                HANDSHAKE | ALERT | APPLICATION_DATA => {
                    return plaintext.ending(PlaintextEnd::Encrypted);
                }
                _ => {}
            }
            if cut {
                return plaintext.ending(PlaintextEnd::Cut);
            }
            stream = rest;
        }
        plaintext
    }

    fn ending(self, end: PlaintextEnd) -> Self {
        Self { end, ..self }
    }

    /// Appends a record's body, which `rest` follows in the stream.
    fn push(&mut self, body: &'a [u8], rest: &[u8]) {
        match &mut self.handshake {
            before if before.is_empty() => *before = Cow::Borrowed(body),
            Cow::Borrowed(before) => {
                let mut joined = Vec::with_capacity(before.len() + body.len() + rest.len());
                joined.extend_from_slice(before);
                joined.extend_from_slice(body);
                self.handshake = Cow::Owned(joined);
            }
            Cow::Owned(joined) => joined.extend_from_slice(body),
        }
    }

    /// Whether a handshake record behind ChangeCipherSpec is in the clear all the same: in TLS 1.3
    /// that record means nothing (RFC 8446 App. D.4), and after a HelloRetryRequest both hellos
    /// come again. The client repeats its random, which ciphertext cannot.
    fn goes_on_after_change(&self, body: &[u8]) -> bool {
        let random = self.handshake.get(RANDOM);
        let (first, random) = match &self.hello_random {
            Some(hello) => (Some(&CLIENT_HELLO), Some(&hello[..])),
            None => (self.handshake.first(), random),
        };
        match (first, body.first()) {
            (Some(&CLIENT_HELLO), Some(&CLIENT_HELLO)) => {
                random.is_some() && random == body.get(RANDOM)
            }
            (Some(&SERVER_HELLO), Some(&SERVER_HELLO)) => random == Some(&HELLO_RETRY_REQUEST[..]),
            _ => false,
        }
    }

    /// Whether its first bytes begin no TLS record.
    pub fn is_not_tls_at_all(&self) -> bool {
        self.end == PlaintextEnd::NotTls && self.records == 0
    }

    /// Whether it is one whole message of this type and nothing else.
    pub(super) fn is_one_message(&self, handshake_type: u8) -> bool {
        let mut messages = self.messages();
        let is_whole = |it: Message<'_>| it.complete && it.handshake_type == handshake_type;
        self.end == PlaintextEnd::Open
            && !self.change_cipher_spec
            && self.alert.is_none()
            && !self.empty_records
            && messages.next().is_some_and(is_whole)
            && messages.0.is_empty()
    }

    /// Returns the messages, in order; the last may be incomplete.
    pub fn messages(&self) -> Messages<'_> {
        Messages(&self.handshake)
    }

    /// Returns the number of handshake bytes up to the end of the first whole message of this type.
    pub fn message_end(&self, handshake_type: u8) -> Option<usize> {
        let mut messages = self.messages();
        let found = messages.find(|message| message.handshake_type == handshake_type)?;
        found
            .complete
            .then(|| self.handshake.len() - messages.0.len())
    }

    /// Whether it ends within a record or a message.
    pub fn is_incomplete(&self) -> bool {
        let mut messages = self.messages();
        let whole = messages.by_ref().all(|message| message.complete);
        !whole || !messages.0.is_empty() || self.end == PlaintextEnd::Cut
    }
}

/// Whether a stream is one whole record so far.
pub(super) fn is_one_record(stream: &[u8]) -> bool {
    let [_, _, _, high, low, body @ ..] = stream else {
        return false;
    };
    body.len() == usize::from(u16::from_be_bytes([*high, *low]))
}

/// Returns the position behind the record that has the last of so many handshake bytes of a stream.
pub fn record_end(stream: &[u8], handshake_bytes: usize) -> Option<u32> {
    let (mut rest, mut found) = (stream, 0);
    while let Some((header, body, behind)) = split_record(rest) {
        if header.content_type == HANDSHAKE {
            found += body.len();
        }
        if found >= handshake_bytes {
            let end = stream.len() - rest.len() + HEADER_LEN as usize + usize::from(header.length);
            return u32::try_from(end).ok();
        }
        rest = behind;
    }
    None
}

/// Splits a record into its header, as much of its body as came, and the rest.
fn split_record(stream: &[u8]) -> Option<(RecordHeader, &[u8], &[u8])> {
    let (chunk, rest) = stream.split_first_chunk::<{ HEADER_LEN as usize }>()?;
    let [a, b, c, d, e] = *chunk;
    let head = first_bytes(u64::from_be_bytes([a, b, c, d, e, 0, 0, 0]), HEADER_LEN);
    let header = match *chunk {
        // Forbidden (RFC 8446 §5.1), and sent by some stacks.
        [
            content_type @ (HANDSHAKE | ALERT),
            3,
            version_minor @ 0..=4,
            0,
            0,
        ] => RecordHeader {
            content_type,
            version_minor,
            length: 0,
        },
        _ => RecordHeader::parse(head)?,
    };
    let (body, rest) = rest.split_at(usize::from(header.length).min(rest.len()));
    Some((header, body, rest))
}

/// Iterator over the messages of a [`Plaintext`].
#[derive(Clone, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let (header, body) = self.0.split_first_chunk::<MESSAGE_HEADER_LEN>()?;
        let [handshake_type, a, b, c] = *header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let complete = body.len() >= length;
        let (body, rest) = body.split_at(length.min(body.len()));
        self.0 = rest;
        Some(Message {
            handshake_type,
            body,
            complete,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tls::tests::{message, record};
    use rstest::rstest;

    fn types(stream: &[u8]) -> (Vec<u8>, PlaintextEnd, bool) {
        let plaintext = Plaintext::read(stream);
        let types = plaintext.messages().map(|m| m.handshake_type).collect();
        (types, plaintext.end, plaintext.is_incomplete())
    }

    #[test]
    fn one_record_is_not_copied() {
        let stream = record(22, &[message(2, b"hello"), message(14, b"")].concat());
        let plaintext = Plaintext::read(&stream);
        assert!(matches!(plaintext.handshake, Cow::Borrowed(_)));
        let found: Vec<_> = plaintext.messages().collect();
        assert_eq!((found[0].body, found[0].complete), (&b"hello"[..], true));
        assert_eq!(found[1].handshake_type, 14);
    }

    #[test]
    fn a_message_is_joined_over_records() {
        let whole = message(1, &[5; 100]);
        let stream: Vec<u8> = whole.chunks(7).flat_map(|part| record(22, part)).collect();
        assert_eq!(types(&stream), (vec![1], PlaintextEnd::Open, false));
    }

    #[test]
    fn empty_handshake_records_change_nothing() {
        let whole = message(1, &[5; 100]);
        let (one, other) = whole.split_at(50);
        let stream = [one, &[], other, &[]].map(|part| record(22, part)).concat();
        assert_eq!(types(&stream), (vec![1], PlaintextEnd::Open, false));
    }

    #[test]
    fn encrypted_records_end_it() {
        let hello = record(22, &message(1, &[5; 100]));
        let change = record(20, &[1]);
        // A Finished under AES-GCM begins with its nonce, which may look like a HelloRequest.
        let finished = record(22, &[0; 40]);
        let stream = [hello.clone(), change.clone(), finished].concat();
        assert_eq!(types(&stream), (vec![1], PlaintextEnd::Encrypted, false));
        let alert = [hello.clone(), change.clone(), record(21, &[0; 26])].concat();
        assert_eq!(types(&alert), (vec![1], PlaintextEnd::Encrypted, false));
        let data = [hello.clone(), record(23, &[0; 19])].concat();
        assert_eq!(types(&data), (vec![1], PlaintextEnd::Encrypted, false));
        assert_eq!(types(&[hello, change].concat()).1, PlaintextEnd::Open);
    }

    #[test]
    fn hellos_go_on_after_a_retry() {
        let client = record(22, &message(1, &[5; 100]));
        let change = record(20, &[1]);
        let again = [client.clone(), change.clone(), client.clone()].concat();
        assert_eq!(types(&again), (vec![1, 1], PlaintextEnd::Open, false));
        let other = record(22, &message(1, &[6; 100]));
        let changed = [client, change.clone(), other].concat();
        assert_eq!(types(&changed), (vec![1], PlaintextEnd::Encrypted, false));
        let retry = [&[3, 3][..], &HELLO_RETRY_REQUEST, &[0; 6]].concat();
        let server = [
            record(22, &message(2, &retry)),
            change,
            record(22, &message(2, &[7; 60])),
            record(23, &[0; 30]),
        ]
        .concat();
        assert_eq!(types(&server), (vec![2, 2], PlaintextEnd::Encrypted, false));
    }

    #[rstest]
    #[case::http(b"HTTP/1.1 400 Bad Request", PlaintextEnd::NotTls)]
    #[case::a_few_bytes(&[22, 3], PlaintextEnd::Cut)]
    #[case::within_a_body(&[22, 3, 3, 0, 9, 2], PlaintextEnd::Cut)]
    #[case::nothing(&[], PlaintextEnd::Open)]
    fn ends(#[case] stream: &[u8], #[case] end: PlaintextEnd) {
        assert_eq!(types(stream).1, end);
    }

    #[test]
    fn a_warning_before_the_hello_is_passed_over() {
        let stream = [record(21, &[1, 112]), record(22, &message(2, &[0; 40]))].concat();
        assert_eq!(types(&stream), (vec![2], PlaintextEnd::Open, false));
    }

    #[test]
    fn a_message_that_ends_early_is_incomplete() {
        let whole = message(11, &[1; 50]);
        assert!(types(&record(22, &whole[..30])).2);
        assert!(types(&record(22, &whole[..3])).2);
        assert!(!types(&record(22, &whole)).2);
    }
}
