//! Messages in a stream, each with its length before it (RFC 6587 §3.4.1, RFC 5425 §4.3).

mod link;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::server::SyslogServer;
use crate::outlet::client_tls::ClientTlsFiles;
use crate::outlet::sink::SinkError;
use link::Link;

/// Pause between attempts to send again what was not acknowledged, while nothing new is to be sent.
const AGAIN: Duration = Duration::from_secs(5);
/// Longest wait for acknowledgements at the end.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// Pause between two looks at them then.
const LOOK: Duration = Duration::from_millis(5);

/// A way to a server by TCP or TLS, over one connection after the other.
pub(super) struct Stream {
    server: SyslogServer,
    tls: Option<ClientTlsFiles>,
    link: Option<Link>,
    /// Messages that the other side's kernel has not acknowledged, oldest first: no more than the
    /// socket's buffer takes, and one.
    sent: VecDeque<Sent>,
    /// Time of the next attempt to send them again.
    again: Instant,
}

struct Sent {
    frame: Vec<u8>,
    /// Bytes of the connection up to its end, once it is known.
    end: Option<u64>,
}

impl Stream {
    pub(super) fn new(server: SyslogServer, tls: Option<ClientTlsFiles>) -> Self {
        Self {
            server,
            tls,
            link: None,
            sent: VecDeque::new(),
            again: Instant::now(),
        }
    }

    /// Returns the number of messages that were sent and are not acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Sends a message, after all before it are on their way.
    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), SinkError> {
        if !self.advance()? {
            let source = io::ErrorKind::WouldBlock.into();
            return Err(self.server.unreachable(source));
        }
        let frame = [format!("{} ", message.len()).as_bytes(), message].concat();
        if let Some(link) = &mut self.link {
            link.push(&frame);
        }
        self.sent.push_back(Sent { frame, end: None });
        // From here on the message is sent again until it is acknowledged.
        let _ = self.advance_link();
        Ok(())
    }

    /// Notices acknowledgements and the connection's end, and sends again what was not acknowledged.
    pub(super) fn poll(&mut self) -> Result<(), SinkError> {
        if self.link.is_some() {
            self.advance_link()?;
        }
        if self.link.is_none() && !self.sent.is_empty() && Instant::now() >= self.again {
            self.again = Instant::now() + AGAIN;
            self.advance()?;
        }
        Ok(())
    }

    /// Waits for acknowledgements, and ends the connection.
    pub(super) fn finish(&mut self) -> Result<(), SinkError> {
        let end = Instant::now() + LAST_WAIT;
        while !self.sent.is_empty() && Instant::now() < end {
            self.advance()?;
            std::thread::sleep(LOOK);
        }
        if let Some(link) = self.link.take() {
            link.close();
        }
        Ok(())
    }

    /// Connects if there is no connection, and sends what waits. Returns whether all of it is on its way.
    fn advance(&mut self) -> Result<bool, SinkError> {
        if self.link.is_none() {
            let opened = Link::open(&self.server, self.tls.as_ref());
            let mut link = opened.map_err(|source| self.server.unreachable(source))?;
            for sent in &mut self.sent {
                sent.end = None;
                link.push(&sent.frame);
            }
            self.link = Some(link);
        }
        self.advance_link()
    }

    fn advance_link(&mut self) -> Result<bool, SinkError> {
        let Some(link) = &mut self.link else {
            return Ok(false);
        };
        match link.advance() {
            Ok(is_written) => {
                if is_written {
                    let written = link.written();
                    for sent in self.sent.iter_mut().rev() {
                        if sent.end.is_some() {
                            break;
                        }
                        sent.end = Some(written);
                    }
                }
                self.forget_acknowledged();
                Ok(is_written)
            }
            Err(source) => {
                self.forget_acknowledged();
                self.link = None;
                Err(self.server.unreachable(source))
            }
        }
    }

    fn forget_acknowledged(&mut self) {
        let Some(acknowledged) = self.link.as_ref().map(Link::acknowledged) else {
            return;
        };
        let is_over = |sent: &Sent| sent.end.is_some_and(|end| end <= acknowledged);
        while self.sent.front().is_some_and(is_over) {
            self.sent.pop_front();
        }
    }
}
