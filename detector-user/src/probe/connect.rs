//! The way to an origin, within a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Options, ProbeError, Target};

/// Maximum number of addresses that are tried.
const ADDRESSES_MAX: usize = 4;

/// Resolves the target's name. The system's resolver knows no deadline: it has a thread of its own, which
/// is left behind if it takes too long.
pub(super) fn resolve(target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, ProbeError> {
    let (name, port) = (target.name.clone(), target.port);
    let failed = |source| ProbeError::Resolve {
        name: target.name.clone(),
        source,
    };
    let (found, wait) = channel();
    thread::Builder::new()
        .name("resolve".to_owned())
        .spawn(move || {
            let addresses = (name.as_str(), port).to_socket_addrs();
            // The probe may have given up.
            let _ = found.send(addresses.map(Iterator::collect::<Vec<_>>));
        })
        .map_err(failed)?;
    let addresses = wait
        .recv_timeout(left(deadline))
        .map_err(|_| failed(ErrorKind::TimedOut.into()))?;
    let mut addresses = addresses.map_err(failed)?;
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() {
        return Err(failed(io::Error::other("it has no address")));
    }
    Ok(addresses)
}

/// Connects to the first address that takes a connection.
pub(super) fn connect(
    addresses: &[SocketAddr],
    options: &Options,
    deadline: Instant,
) -> Result<(SocketAddr, Stream), ProbeError> {
    let mut failure = None;
    for (index, &address) in addresses.iter().enumerate() {
        let socket = socket(address, options)?;
        // No address takes all the time of the others.
        let share = left(deadline) / (addresses.len() - index).try_into().unwrap_or(u32::MAX);
        match socket.connect_timeout(
            &SockAddr::from(address),
            share.max(Duration::from_millis(1)),
        ) {
            Ok(()) => {
                if let Some(own) = socket.local_addr().ok().and_then(|it| it.as_socket()) {
                    options.own.insert(own);
                }
                return Ok((address, Stream::new(socket.into(), deadline)));
            }
            Err(source) => failure = Some(ProbeError::Connect { address, source }),
        }
    }
    Err(failure.unwrap_or_else(|| ProbeError::NoCertificate("no address".to_owned())))
}

fn socket(address: SocketAddr, options: &Options) -> Result<Socket, ProbeError> {
    let failed = |option, fix| {
        move |source| ProbeError::Socket {
            option,
            source,
            fix,
        }
    };
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(failed(
        "the family",
        "does this machine have addresses of it?",
    ))?;
    if let Some(mark) = options.mark {
        socket
            .set_mark(mark)
            .map_err(failed("the mark", "run as root, or grant CAP_NET_ADMIN"))?;
    }
    if let Some(source) = options.source {
        socket
            .bind(&SocketAddr::new(source, 0).into())
            .map_err(failed(
                "the source address",
                "name an address of this machine",
            ))?;
    }
    Ok(socket)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A connection whose reads and writes end at a deadline, however slowly the other side goes.
#[derive(Debug)]
pub(super) struct Stream {
    stream: TcpStream,
    deadline: Instant,
}

impl Stream {
    fn new(stream: TcpStream, deadline: Instant) -> Self {
        Self { stream, deadline }
    }

    /// Ends the waits at another time.
    pub(super) const fn end_at(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    fn wait(&self) -> io::Result<Option<Duration>> {
        let left = left(self.deadline);
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }
}

/// Returns a timeout of a socket is `WouldBlock` on Linux.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.wait()?)?;
        self.stream.read(to).map_err(timed_out)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.wait()?)?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
