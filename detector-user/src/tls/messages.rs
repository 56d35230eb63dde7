//! Handshake messages out of plaintext records (RFC 8446 §4, §5.1).

use detector_common::packet::first_bytes;
use detector_common::record::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER_LEN, RecordHeader,
};

use crate::tls::hello::ServerHello;

/// HandshakeType `client_hello`.
pub const CLIENT_HELLO: u8 = 1;
/// HandshakeType `server_hello`.
pub const SERVER_HELLO: u8 = 2;
/// HandshakeType `certificate`.
pub const CERTIFICATE: u8 = 11;
/// HandshakeType `certificate_request`.
pub const CERTIFICATE_REQUEST: u8 = 13;
/// HandshakeType `server_hello_done`.
pub const SERVER_HELLO_DONE: u8 = 14;
/// HandshakeType `client_key_exchange`.
pub const CLIENT_KEY_EXCHANGE: u8 = 16;

const MESSAGE_HEADER_LEN: usize = 4;

/// One handshake message without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// HandshakeType.
    pub handshake_type: u8,
    /// As much of the body as came.
    pub body: Vec<u8>,
    /// Whether all of it came.
    pub complete: bool,
}

/// Reads the handshake messages in the clear at the start of a stream, joined over records, and
/// whether the bytes end where a message ends (or where encryption begins).
pub fn messages(stream: &[u8]) -> (Vec<Message>, bool) {
    let (handshake, records_complete) = handshake_bytes(stream);
    let mut found = Vec::new();
    let mut rest = handshake.as_slice();
    while let Some((header, body)) = rest.split_first_chunk::<MESSAGE_HEADER_LEN>() {
        let [handshake_type, a, b, c] = *header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let complete = body.len() >= length;
        let (body, next) = body.split_at(length.min(body.len()));
        found.push(Message {
            handshake_type,
            body: body.to_vec(),
            complete,
        });
        rest = next;
        if !complete {
            return (found, false);
        }
    }
    (found, rest.is_empty() && records_complete)
}

/// The bodies of handshake records up to the first that may be encrypted.
fn handshake_bytes(mut stream: &[u8]) -> (Vec<u8>, bool) {
    let mut handshake = Vec::with_capacity(stream.len());
    loop {
        let Some((head, rest)) = stream.split_first_chunk::<{ HEADER_LEN as usize }>() else {
            return (handshake, stream.is_empty());
        };
        let [a, b, c, d, e] = *head;
        let head = first_bytes(u64::from_be_bytes([a, b, c, d, e, 0, 0, 0]), HEADER_LEN);
        let Some(header) = RecordHeader::parse(head) else {
            return (handshake, false);
        };
        let length = usize::from(header.length);
        let (body, next) = rest.split_at(length.min(rest.len()));
        match header.content_type {
            HANDSHAKE => handshake.extend_from_slice(body),
            // A compatibility ChangeCipherSpec between HelloRetryRequest and ServerHello encrypts
            // nothing (RFC 8446 App. D.4).
            CHANGE_CIPHER_SPEC if is_hello_retry_request(&handshake) => {}
            CHANGE_CIPHER_SPEC | APPLICATION_DATA => return (handshake, true),
            ALERT => {}
            _ => return (handshake, false),
        }
        if body.len() < length {
            return (handshake, false);
        }
        stream = next;
    }
}

/// Whether the last message so far is a HelloRetryRequest and nothing came before it.
fn is_hello_retry_request(handshake: &[u8]) -> bool {
    let Some((header, body)) = handshake.split_first_chunk::<MESSAGE_HEADER_LEN>() else {
        return false;
    };
    let [handshake_type, a, b, c] = *header;
    handshake_type == SERVER_HELLO
        && u32::from_be_bytes([0, a, b, c]) as usize == body.len()
        && ServerHello::parse(body).is_some_and(|hello| hello.is_hello_retry_request())
}
