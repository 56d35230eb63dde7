//! One datagram for each message.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::NAME;
use super::server::SyslogServer;
use crate::outlet::sink::SinkError;

/// A way to a server by UDP.
pub(super) struct Datagrams {
    server: SyslogServer,
    socket: Option<UdpSocket>,
}

impl Datagrams {
    pub(super) const fn new(server: SyslogServer) -> Self {
        Self {
            server,
            socket: None,
        }
    }

    /// Sends a datagram. A success says that it left this machine, or will.
    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), SinkError> {
        let opened = match self.socket.take() {
            Some(socket) => Ok(socket),
            None => self.open(),
        };
        let socket = opened.map_err(|source| self.server.unreachable(source))?;
        match socket.send(message) {
            Ok(_) => {
                self.socket = Some(socket);
                Ok(())
            }
            // It would be so with every attempt.
            Err(source) if source.raw_os_error() == Some(libc::EMSGSIZE) => Err(SinkError::Write {
                output: NAME,
                source,
            }),
            // Of an earlier one, if the server's machine said that none listens.
            Err(source) => Err(self.server.unreachable(source)),
        }
    }

    /// Forgets the socket: the next message goes where the name leads then.
    pub(super) fn close(&mut self) {
        self.socket = None;
    }

    fn open(&self) -> io::Result<UdpSocket> {
        let mut failure = io::Error::other("its name has no address");
        for address in self.server.addresses()? {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let opened = UdpSocket::bind(any).and_then(|socket| {
                // Errors that the other machine reports are seen on a connected socket only.
                socket.connect(address)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => return Ok(socket),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}
