//! What the handshake says in the clear: hellos, and up to TLS 1.2 the certificates.
//!
//! Bytes come in pieces, in any order, with holes; what can be read of them is read, and what is
//! missing is said to be missing.

pub mod certificate;
pub mod hello;
pub mod ja4;
pub mod messages;
pub mod names;
pub mod stream;

use detector_common::flow::Sender;

use crate::tls::certificate::{CertificateError, Leaf};
use crate::tls::hello::{ClientHello, ServerHello};
use crate::tls::messages::{Message, messages};
use crate::tls::stream::HandshakeStream;

/// Both sides' handshake bytes while they come in.
#[derive(Clone, Debug, Default)]
pub struct HandshakeView {
    streams: [HandshakeStream; 2],
}

impl HandshakeView {
    /// Takes in bytes that `sender` sent at `offset` of its stream.
    pub fn feed(&mut self, sender: Sender, offset: u32, bytes: &[u8]) {
        let [client, server] = &mut self.streams;
        match sender {
            Sender::Client => client.feed(offset, bytes),
            Sender::Server => server.feed(offset, bytes),
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.streams.iter().map(HandshakeStream::memory).sum()
    }

    /// Reads all that came.
    pub fn parse(&self) -> Handshake {
        let mut handshake = Handshake::default();
        let [client, server] = &self.streams;
        let (found, complete) = messages(client.contiguous());
        handshake.client_incomplete = client.has_hole() || !complete;
        for message in &found {
            handshake.from_client(message);
        }
        let (found, complete) = messages(server.contiguous());
        handshake.server_incomplete = server.has_hole() || !complete;
        for message in &found {
            handshake.from_server(message);
        }
        handshake
    }
}

/// What the handshake said.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// The first ClientHello.
    pub client_hello: Option<ClientHello>,
    /// The ServerHello that counts: not a HelloRetryRequest.
    pub server_hello: Option<ServerHello>,
    /// Whether a HelloRetryRequest came before it (RFC 8446 §4.1.4).
    pub hello_retry_request: bool,
    /// The server's certificate, up to TLS 1.2.
    pub certificate: Option<Result<Leaf, CertificateError>>,
    /// Whether the server asked for a client certificate, up to TLS 1.2.
    pub certificate_request: bool,
    /// Whether the server's flight ended, up to TLS 1.2.
    pub server_hello_done: bool,
    /// Certificates in the client's Certificate message, up to TLS 1.2.
    pub client_certificates: Option<usize>,
    /// Whether the client sent its ClientKeyExchange, up to TLS 1.2.
    pub client_key_exchange: bool,
    /// Whether client bytes are missing or end within a message.
    pub client_incomplete: bool,
    /// Whether server bytes are missing or end within a message.
    pub server_incomplete: bool,
}

impl Handshake {
    fn from_client(&mut self, message: &Message) {
        match message.handshake_type {
            messages::CLIENT_HELLO if self.client_hello.is_none() => {
                self.client_hello = ClientHello::parse(&message.body);
            }
            messages::CERTIFICATE => {
                self.client_certificates = Some(certificate::count(&message.body));
            }
            messages::CLIENT_KEY_EXCHANGE => self.client_key_exchange = true,
            _ => {}
        }
    }

    fn from_server(&mut self, message: &Message) {
        match message.handshake_type {
            messages::SERVER_HELLO => match ServerHello::parse(&message.body) {
                Some(hello) if hello.is_hello_retry_request() => self.hello_retry_request = true,
                Some(hello) if self.server_hello.is_none() => self.server_hello = Some(hello),
                _ => {}
            },
            messages::CERTIFICATE if message.complete && self.certificate.is_none() => {
                self.certificate = Some(Leaf::parse(&message.body));
            }
            messages::CERTIFICATE_REQUEST => self.certificate_request = true,
            messages::SERVER_HELLO_DONE => self.server_hello_done = true,
            _ => {}
        }
    }

    /// The version that was agreed, 0x0304 for TLS 1.3.
    pub fn version(&self) -> Option<u16> {
        self.server_hello.as_ref().map(ServerHello::version)
    }

    /// That version as people write it.
    pub fn version_name(&self) -> Option<&'static str> {
        self.version().and_then(names::version)
    }

    /// Whether the session was resumed, so that no certificate was shown: by a pre-shared key in
    /// TLS 1.3 (RFC 8446 §2.2), by the echoed session ID or a ticket before.
    pub fn is_resumed(&self) -> Option<bool> {
        let server = self.server_hello.as_ref()?;
        if server.version() >= hello::TLS_1_3 {
            return Some(server.pre_shared_key);
        }
        let client = self.client_hello.as_ref()?;
        let echoed = !client.session_id.is_empty() && client.session_id == server.session_id;
        Some(echoed && self.certificate.is_none() && !self.server_hello_done)
    }
}

#[cfg(test)]
pub(crate) mod tests;
