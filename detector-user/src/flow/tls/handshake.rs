//! The content of both sides' handshake messages.

use std::sync::Arc;

use crate::flow::tls::certificate::{self, CertificateError, Leaf};
use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::names::{self, TLS_1_3};
use crate::flow::tls::plain_answer::PlainAnswer;
use crate::flow::tls::records::{self, Message, Plaintext, PlaintextEnd};
use crate::flow::tls::server_hello::ServerHello;

/// The handshake in the clear. TLS 1.3 encrypts from the ServerHello on: see
/// [`client_end`](Self::client_end) and [`server_end`](Self::server_end).
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// The first ClientHello.
    pub client_hello: Option<ClientHello>,
    /// Whether it came again, after a HelloRetryRequest.
    pub client_hello_repeated: bool,
    /// The ServerHello that counts: not a HelloRetryRequest.
    pub server_hello: Option<ServerHello>,
    /// Whether a HelloRetryRequest came before it (RFC 8446 §4.1.4).
    pub hello_retry_request: bool,
    /// The choices of that request: version, suite and group.
    pub retry: Option<Box<ServerHello>>,
    /// The server's certificate, up to TLS 1.2.
    pub certificate: Option<Result<Arc<Leaf>, CertificateError>>,
    /// Position in the server's stream behind the record with the end of that certificate.
    pub certificate_end: Option<u32>,
    /// Whether the server stapled an OCSP answer, up to TLS 1.2.
    pub certificate_status: bool,
    /// Whether the server sent a ServerKeyExchange, up to TLS 1.2.
    pub server_key_exchange: bool,
    /// Whether the server asked for a client certificate, up to TLS 1.2.
    pub certificate_request: bool,
    /// Whether the server's flight ended, up to TLS 1.2.
    pub server_hello_done: bool,
    /// Whether the server gave a session ticket in the clear, up to TLS 1.2.
    pub new_session_ticket: bool,
    /// Whether the server sent ChangeCipherSpec; in TLS 1.3 that means nothing.
    pub server_change_cipher_spec: bool,
    /// Certificates in the client's Certificate message, up to TLS 1.2: 0 if it has none.
    pub client_certificates: Option<usize>,
    /// Whether the client sent its ClientKeyExchange, up to TLS 1.2.
    pub client_key_exchange: bool,
    /// Whether the client proved to have its certificate's key, up to TLS 1.2.
    pub client_certificate_verify: bool,
    /// Whether the client sent ChangeCipherSpec; in TLS 1.3 that means nothing.
    pub client_change_cipher_spec: bool,
    /// Level and description of the first alert of each side in the clear: client, server.
    pub alerts: [Option<[u8; 2]>; 2],
    /// Whether the plaintext has records that may not be empty and are (RFC 8446 §5.1): client, server.
    pub empty_records: [bool; 2],
    /// Whether client bytes are missing or end within a message.
    pub client_incomplete: bool,
    /// Whether server bytes are missing or end within a message.
    pub server_incomplete: bool,
    /// The end of the client's plaintext.
    pub client_end: PlaintextEnd,
    /// The end of the server's plaintext.
    pub server_end: PlaintextEnd,
    /// The server's first bytes, if they begin no TLS record.
    pub plain_answer: Option<Box<PlainAnswer>>,
}

impl Handshake {
    pub(super) fn read_client(&mut self, plaintext: &Plaintext<'_>) {
        for message in plaintext.messages() {
            self.read_client_message(&message);
        }
        self.client_change_cipher_spec = plaintext.change_cipher_spec;
        self.client_incomplete = plaintext.is_incomplete();
        self.client_end = plaintext.end;
        self.alerts[0] = plaintext.alert;
        self.empty_records[0] = plaintext.empty_records;
    }

    pub(super) fn read_server(&mut self, plaintext: &Plaintext<'_>) {
        for message in plaintext.messages() {
            self.read_server_message(&message);
        }
        self.server_change_cipher_spec = plaintext.change_cipher_spec;
        self.server_incomplete = plaintext.is_incomplete();
        self.server_end = plaintext.end;
        self.alerts[1] = plaintext.alert;
        self.empty_records[1] = plaintext.empty_records;
    }

    fn read_client_message(&mut self, message: &Message<'_>) {
        match message.handshake_type {
            records::CLIENT_HELLO if self.client_hello.is_some() => {
                self.client_hello_repeated = true;
            }
            records::CLIENT_HELLO => {
                self.client_hello = ClientHello::parse(message.body);
                if let Some(hello) = &mut self.client_hello {
                    hello.complete &= message.complete;
                }
            }
            records::CERTIFICATE if message.complete => {
                self.client_certificates = Some(certificate::count(message.body));
            }
            records::CLIENT_KEY_EXCHANGE => self.client_key_exchange = true,
            records::CERTIFICATE_VERIFY => self.client_certificate_verify = true,
            _ => {}
        }
    }

    fn read_server_message(&mut self, message: &Message<'_>) {
        match message.handshake_type {
            records::SERVER_HELLO => self.read_server_hello(message),
            records::CERTIFICATE if self.certificate.is_none() => {
                self.certificate = Some(Leaf::parse(message.body));
            }
            records::CERTIFICATE_STATUS => self.certificate_status = true,
            records::SERVER_KEY_EXCHANGE => self.server_key_exchange = true,
            records::CERTIFICATE_REQUEST => self.certificate_request = true,
            records::SERVER_HELLO_DONE => self.server_hello_done = true,
            records::NEW_SESSION_TICKET => self.new_session_ticket = true,
            _ => {}
        }
    }

    fn read_server_hello(&mut self, message: &Message<'_>) {
        let Some(mut hello) = ServerHello::parse(message.body) else {
            return;
        };
        hello.complete &= message.complete;
        if hello.is_hello_retry_request() {
            self.hello_retry_request = true;
            self.retry.get_or_insert_with(|| Box::new(hello));
        } else {
            self.server_hello.get_or_insert(hello);
        }
    }

    /// Returns the version that was agreed, 0x0304 for TLS 1.3. A HelloRetryRequest settles it
    /// already; a hello cut before it says its version does not.
    pub fn version(&self) -> Option<u16> {
        let hello = self.server_hello.as_ref().or(self.retry.as_deref())?;
        (hello.complete || hello.selected_version.is_some()).then(|| hello.version())
    }

    /// Returns that version as people write it.
    pub fn version_name(&self) -> Option<&'static str> {
        self.version().and_then(names::version)
    }

    /// Returns the cipher suite that was agreed; a HelloRetryRequest settles it already.
    pub fn cipher_suite(&self) -> Option<u16> {
        let hello = self.server_hello.as_ref().or(self.retry.as_deref())?;
        Some(hello.cipher_suite)
    }

    /// Returns whether the session was resumed, so that no certificate was shown: by a pre-shared
    /// key in TLS 1.3 (RFC 8446 §2.2), before that by the echoed session ID or by a ticket, after
    /// which the server's ChangeCipherSpec follows its hello (RFC 5246 §7.3, RFC 5077 §3.1). `None`
    /// where too little was seen.
    pub fn is_resumed(&self) -> Option<bool> {
        let server = self.server_hello.as_ref()?;
        if self.version()? >= TLS_1_3 {
            // The hello that shows its version may still be cut before the key.
            return (server.complete || server.pre_shared_key).then_some(server.pre_shared_key);
        }
        if self.certificate.is_some() || self.server_key_exchange || self.server_hello_done {
            return Some(false);
        }
        if self.server_change_cipher_spec {
            return Some(true);
        }
        let client = self.client_hello.as_ref()?;
        let echoed = !server.session_id.is_empty() && client.session_id == server.session_id;
        echoed.then_some(true)
    }
}
