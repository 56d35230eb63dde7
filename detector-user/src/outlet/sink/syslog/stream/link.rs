//! One connection, of TCP or of TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection};
use socket2::SockRef;

use crate::outlet::client_tls::ClientTlsFiles;
use crate::outlet::sink::syslog::server::SyslogServer;

/// Longest time to connect to an address.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest time for a handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time in which a server may refuse the client's certificate: with TLS 1.3 it does so after the handshake,
/// and its kernel has acknowledged by then what nobody reads.
const REFUSAL: Duration = Duration::from_millis(250);
/// Time that a server may take to accept bytes, before verdicts wait instead.
const PATIENCE: Duration = Duration::from_millis(200);
/// Size of the socket's buffer, bytes: the limit of what is sent twice after a break.
const BUFFER: usize = 128 << 10;

/// A connection, and bytes that it has not accepted yet.
pub(super) struct Link {
    socket: TcpStream,
    tls: Option<Connection>,
    /// Bytes to be written; of TLS, rustls has them.
    waiting: Vec<u8>,
    /// Bytes that the socket accepted.
    written: u64,
}

impl Link {
    /// Connects, and completes the handshake.
    pub(super) fn open(server: &SyslogServer, tls: Option<&ClientTlsFiles>) -> io::Result<Self> {
        let socket = connect(&server.addresses()?)?;
        SockRef::from(&socket).set_send_buffer_size(BUFFER)?;
        SockRef::from(&socket).set_keepalive(true)?;
        let mut link = Self {
            socket,
            tls: None,
            waiting: Vec::new(),
            written: 0,
        };
        if let Some(files) = tls {
            let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
            let config = files.config().map_err(io::Error::other)?;
            let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
            link.tls = Some(connection.into());
            link.shake_hands()?;
        }
        link.socket.set_write_timeout(Some(PATIENCE))?;
        Ok(link)
    }

    /// Completes the handshake, and waits a moment for a refusal.
    fn shake_hands(&mut self) -> io::Result<()> {
        let end = Instant::now() + HANDSHAKE;
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        tls.set_buffer_limit(None);
        self.socket.set_write_timeout(Some(HANDSHAKE))?;
        while tls.is_handshaking() {
            while tls.wants_write() {
                self.written += tls.write_tls(&mut self.socket)? as u64;
            }
            if tls.is_handshaking() {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ErrorKind::TimedOut.into());
                }
                self.socket.set_read_timeout(Some(left))?;
                read_tls(tls, &mut self.socket).map_err(timed_out)?;
            }
        }
        while tls.wants_write() {
            self.written += tls.write_tls(&mut self.socket)? as u64;
        }
        self.socket.set_read_timeout(Some(REFUSAL))?;
        match read_tls(tls, &mut self.socket) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            read => read,
        }
    }

    /// Adds bytes that are written by [`Self::advance`].
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            // Without a limit of the buffer it takes them all.
            Some(tls) => drop(tls.writer().write_all(bytes)),
            None => self.waiting.extend_from_slice(bytes),
        }
    }

    /// Reads what the server has sent, and writes what waits. Returns whether nothing waits any more.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let read = self.read();
        self.socket.set_nonblocking(false)?;
        read?;
        match self.write() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            written => written.map(|()| true),
        }
    }

    /// Reads what the server has sent, which is nothing of meaning, until there is no more. Bytes that
    /// were not read would make the end of the connection a reset.
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            let read = match &mut self.tls {
                Some(tls) => read_tls(tls, &mut self.socket),
                None => match self.socket.read(&mut bytes) {
                    Ok(0) => Err(closed()),
                    read => read.map(drop),
                },
            };
            match read {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                self.written += tls.write_tls(&mut self.socket)? as u64;
            }
        }
        while !self.waiting.is_empty() {
            let written = self.socket.write(&self.waiting)?;
            self.waiting.drain(..written);
            self.written += written as u64;
        }
        Ok(())
    }

    /// Returns how many bytes the socket accepted.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many of them the other side's kernel has acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.written.saturating_sub(in_queue(&self.socket))
    }

    /// Ends the connection in order.
    pub(super) fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        // The messages are acknowledged; an end that the server does not see is no loss.
        let _ = self.write();
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failure = io::Error::other("its name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Reads and processes records once. What the server says is of no meaning, but for its end.
fn read_tls(tls: &mut Connection, socket: &mut TcpStream) -> io::Result<()> {
    if tls.read_tls(socket)? == 0 {
        return Err(closed());
    }
    let state = match tls.process_new_packets() {
        Ok(state) => state,
        Err(error) => {
            // The alert that says why.
            let _ = tls.write_tls(socket);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
    };
    io::copy(
        &mut tls.reader().take(state.plaintext_bytes_to_read() as u64),
        &mut io::sink(),
    )?;
    if state.peer_has_closed() {
        return Err(closed());
    }
    Ok(())
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection")
}

/// A read's timeout is `WouldBlock` on Linux.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// Returns the bytes of a socket's queue that are not acknowledged (tcp(7), `SIOCOUTQ`); after a reset,
/// those that never were.
#[expect(unsafe_code, reason = "a question that has no safe function")]
fn in_queue(socket: &TcpStream) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `socket`, and the kernel writes one `int` to `bytes`.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if answer == 0 {
        u64::try_from(bytes).unwrap_or(0)
    } else {
        // Unknown: nothing counts as acknowledged.
        u64::MAX
    }
}
