//! The TLS handshake in the clear: hellos, and up to TLS 1.2 the certificates.
//!
//! Bytes come in pieces, in any order, with holes. Messages are parsed as far as they came, and say
//! whether they are complete.

pub mod app;
pub mod certificate;
mod cipher_suites;
pub mod client_hello;
pub mod distinguished_name;
pub mod extensions;
pub mod handshake;
pub mod hello;
pub mod ja4;
pub(crate) mod memo;
pub mod names;
pub mod offers;
pub mod plain_answer;
mod reader;
pub mod records;
pub mod server_hello;
pub mod session_id;
pub(in crate::flow) mod shared_name;
pub mod stream;

use detector_common::flow::Sender;

use crate::flow::tls::client_hello::ClientHello;
pub use crate::flow::tls::handshake::Handshake;
use crate::flow::tls::plain_answer::PlainAnswer;
use crate::flow::tls::records::{Plaintext, PlaintextEnd};
use crate::flow::tls::stream::HandshakeStream;

/// Both sides' handshake bytes as they arrive.
#[derive(Clone, Debug, Default)]
pub struct HandshakeView {
    client: Direction,
    server: Direction,
    /// The ClientHello, where it came whole in records of its own, which are no longer held.
    hello: Option<ClientHello>,
    /// The parsed handshake of directions whose bytes are no longer held.
    read: Option<Box<Handshake>>,
}

#[derive(Clone, Debug, Default)]
struct Direction {
    stream: HandshakeStream,
    /// Whether the handshake is parsed and no more bytes are recorded.
    closed: bool,
}

impl HandshakeView {
    /// Records bytes that `sender` sent at `offset` of its stream.
    pub fn feed(&mut self, sender: Sender, offset: u32, bytes: &[u8]) {
        let direction = match sender {
            Sender::Client => &mut self.client,
            Sender::Server => &mut self.server,
        };
        if !direction.closed {
            direction.stream.feed(offset, bytes);
        }
    }

    /// Returns the bytes that are held of one direction, with their places in its stream.
    pub fn pieces(&self, sender: Sender) -> impl Iterator<Item = (u32, &[u8])> {
        let direction = match sender {
            Sender::Client => &self.client,
            Sender::Server => &self.server,
        };
        direction.stream.pieces()
    }

    /// Returns the bytes of memory held for the streams.
    pub fn memory(&self) -> usize {
        self.client.stream.memory() + self.server.stream.memory()
    }

    /// Returns the ClientHello alone, as far as it came.
    pub fn client_hello(&self) -> Option<ClientHello> {
        match &self.read {
            Some(read) => read.client_hello.clone(),
            None if self.hello.is_some() => self.hello.clone(),
            None => {
                let mut handshake = Handshake::default();
                handshake.read_client(&self.client_plaintext(None));
                handshake.client_hello
            }
        }
    }

    /// Reads the ClientHello as soon as nothing but all of it is held, and frees its bytes.
    pub fn read_hello(&mut self) {
        let stream = &self.client.stream;
        let is_read = self.client.closed || self.hello.is_some();
        if is_read || stream.has_hole() || !records::is_one_record(stream.contiguous()) {
            return;
        }
        let plaintext = Plaintext::read(stream.contiguous());
        if plaintext.is_one_message(records::CLIENT_HELLO) {
            let mut handshake = Handshake::default();
            handshake.read_client(&plaintext);
            self.hello = handshake.client_hello;
            if self.hello.is_some() {
                self.client.stream.skip_read();
            }
        }
    }

    /// Replaces the client's bytes by a hello that was read, and was so many bytes long.
    pub(in crate::flow) fn set_hello(&mut self, hello: ClientHello, len: usize) {
        self.hello = Some(hello);
        self.client.stream.skip(len);
    }

    /// Returns the bytes of the client's that are no longer held.
    pub(in crate::flow) const fn hello_len(&self) -> usize {
        self.client.stream.skipped()
    }

    /// Returns the ClientHello that was read while the flow goes on.
    pub const fn hello(&self) -> Option<&ClientHello> {
        self.hello.as_ref()
    }

    /// Whether anything else is held than that.
    pub fn has_more_than_hello(&self) -> bool {
        let streams = [&self.client.stream, &self.server.stream];
        let is_empty = |stream: &&HandshakeStream| {
            stream.contiguous().is_empty() && !stream.has_hole() && !stream.is_full()
        };
        self.read.is_some() || !streams.iter().all(is_empty)
    }

    /// The client's plaintext behind a hello that was read.
    fn client_plaintext(&self, hello: Option<&ClientHello>) -> Plaintext<'_> {
        let random = hello.map(|hello| hello.random);
        Plaintext::read_behind(random, self.client.stream.contiguous())
    }

    /// Parses all bytes.
    pub fn parse(&self) -> Handshake {
        let read = self.read.as_deref().cloned();
        self.parse_rest(read.unwrap_or_default(), self.hello.clone())
    }

    /// Parses the bytes of directions that are not read yet, behind the hello if that is.
    fn parse_rest(&self, mut handshake: Handshake, hello: Option<ClientHello>) -> Handshake {
        if !self.client.closed {
            let stream = &self.client.stream;
            let plaintext = self.client_plaintext(hello.as_ref());
            if hello.is_some() {
                handshake.client_hello = hello;
            }
            handshake.read_client(&plaintext);
            handshake.client_incomplete |= stream.has_hole() || stream.is_full();
        }
        if !self.server.closed {
            let stream = &self.server.stream;
            let plaintext = Plaintext::read(stream.contiguous());
            handshake.read_server(&plaintext);
            handshake.certificate_end = plaintext
                .message_end(records::CERTIFICATE)
                .and_then(|end| records::record_end(stream.contiguous(), end));
            if plaintext.is_not_tls_at_all() {
                let answer = PlainAnswer::read(stream.contiguous());
                handshake.plain_answer = answer.map(Box::new);
            }
            handshake.server_incomplete |= stream.has_hole() || stream.is_full();
        }
        handshake
    }

    /// Parses all bytes and moves the handshake out; the view is empty then.
    pub fn take(&mut self) -> Handshake {
        let hello = self.hello.take();
        match self.read.take() {
            Some(read) if self.client.closed && self.server.closed => *read,
            read => self.parse_rest(read.map(|read| *read).unwrap_or_default(), hello),
        }
    }

    /// Clears it for another flow, and keeps its capacity.
    pub fn restart(&mut self) {
        self.read = None;
        self.hello = None;
        for direction in [&mut self.client, &mut self.server] {
            direction.stream.restart();
            direction.closed = false;
        }
    }

    /// Parses all bytes and frees them; no more are recorded.
    pub fn finish(&mut self) -> &Handshake {
        let handshake = self.take();
        for direction in [&mut self.client, &mut self.server] {
            direction.stream.clear();
            direction.closed = true;
        }
        self.read.insert(Box::new(handshake))
    }

    /// Does as [`finish`](Self::finish) if no direction has more to say: each is encrypted, or no
    /// TLS, from somewhere on. Returns whether it did.
    pub fn finish_if_over(&mut self) -> bool {
        let ends = |plaintext: Plaintext<'_>| {
            matches!(
                plaintext.end,
                PlaintextEnd::Encrypted | PlaintextEnd::NotTls
            )
        };
        let server = || Plaintext::read(self.server.stream.contiguous());
        let over = (self.client.closed || ends(self.client_plaintext(self.hello.as_ref())))
            && (self.server.closed || ends(server()));
        if over {
            self.finish();
        }
        over
    }

    /// Whether bytes are missing before bytes that have come.
    pub fn has_hole(&self) -> bool {
        self.client.stream.has_hole() || self.server.stream.has_hole()
    }

    /// Creates a view of a parsed handshake, without bytes; it records no more.
    pub fn of(handshake: Handshake) -> Self {
        let mut view = Self {
            read: Some(Box::new(handshake)),
            ..Self::default()
        };
        view.client.closed = true;
        view.server.closed = true;
        view
    }
}

#[cfg(test)]
pub(crate) mod tests;
