//! One TCP connection through the gateway that sends as fast as it can, one way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;

use lab::host::Namespace;
use tests::conversation::tls;
use tests::gateway::Gateway;

use super::candidates::Kinds;
use crate::gateway::{inside, joined};

const PORT: u16 = 5201;
/// The server's addresses in the lab.
const IPV4: &str = "10.78.2.2";
const IPV6: &str = "fd78:2::2";
/// Bytes written at once.
const WRITE: usize = 256 * 1024;

/// A kind of frames, as the sender's device makes them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Frames {
    /// Single segments whose payload lies in fragments of the buffer.
    Fragments,
    /// The same of a connection that is not TLS.
    FragmentsPlain,
    /// The same over IPv6.
    FragmentsIpv6,
    /// Single segments in the linear part.
    Linear,
    /// Many segments in one frame, cut up by the last device.
    Gso,
}

impl Frames {
    pub(super) const ALL: [Self; 5] = [
        Self::Fragments,
        Self::FragmentsPlain,
        Self::FragmentsIpv6,
        Self::Linear,
        Self::Gso,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fragments => "data in fragments, IPv4",
            Self::FragmentsPlain => "data in fragments, IPv4, no TLS",
            Self::FragmentsIpv6 => "data in fragments, IPv6",
            Self::Linear => "data in the linear part, IPv4",
            Self::Gso => "data under GSO, IPv4",
        }
    }

    /// Whether the other direction's bare acknowledgements are worth rows of their own.
    pub(super) fn acknowledgements(self) -> bool {
        self == Self::Fragments
    }

    /// Whether the frames that were counted are of this kind.
    pub(super) fn matches(self, kinds: &Kinds) -> bool {
        let (segments, beyond) = (kinds.segments(), kinds.beyond());
        match self {
            Self::Fragments | Self::FragmentsPlain | Self::FragmentsIpv6 => {
                segments < 1.1 && beyond > 0.9
            }
            Self::Linear => segments < 1.1 && beyond < 0.1,
            Self::Gso => segments > 4.0,
        }
    }

    /// Makes the devices of both ends send frames of this kind.
    pub(super) fn prepare(self, gateway: &Gateway) -> anyhow::Result<()> {
        let (gather, segment) = match self {
            Self::Fragments | Self::FragmentsPlain | Self::FragmentsIpv6 => ("on", "off"),
            Self::Linear => ("off", "off"),
            Self::Gso => ("on", "on"),
        };
        let device = |namespace: &Namespace, name: &str| {
            namespace.run(&format!(
                "ethtool -K {name} sg {gather} tso {segment} gso {segment}"
            ))
        };
        device(&gateway.client, "eth0")?;
        device(&gateway.server, "eth0")?;
        Ok(())
    }
}

/// The end that the data goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Towards {
    Server,
    Client,
}

impl Towards {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Server => "to the server",
            Self::Client => "to the client",
        }
    }
}

/// Both ends of a connection.
pub(super) struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    pub(super) fn open(gateway: &Gateway, frames: Frames) -> anyhow::Result<Self> {
        let address = match frames {
            Frames::FragmentsIpv6 => IPV6,
            _ => IPV4,
        };
        let listener = joined(inside(gateway.server.name(), move || {
            Ok(TcpListener::bind((address, PORT))?)
        }))?;
        let client = joined(inside(gateway.client.name(), move || {
            Ok(TcpStream::connect((address, PORT))?)
        }))?;
        let (server, _) = listener.accept()?;
        for socket in [&client, &server] {
            socket.set_nodelay(true)?;
        }
        Ok(Self { client, server })
    }

    /// Plays a handshake and as many records as settle a connection.
    pub(super) fn settle(&mut self) -> anyhow::Result<()> {
        let Self { client, server } = self;
        say(client, server, &tls::client_hello("bench.test", 500))?;
        say(server, client, &tls::server_hello(0x1301, true))?;
        for _ in 0..12 {
            say(client, server, &tls::record(23, &[0xa5; 300]))?;
            say(server, client, &tls::record(23, &[0xa5; 1000]))?;
        }
        Ok(())
    }

    /// Begins to send one way.
    pub(super) fn send(self, towards: Towards) -> anyhow::Result<Traffic> {
        let handle = self.client.try_clone()?;
        let (from, to) = match towards {
            Towards::Server => (self.client, self.server),
            Towards::Client => (self.server, self.client),
        };
        // A socket stays in the namespace it was made in.
        let ends = [
            std::thread::spawn(move || send(from)),
            std::thread::spawn(move || receive(to)),
        ];
        Ok(Traffic {
            client: handle,
            ends,
        })
    }
}

/// Sends bytes, and reads them at the other end.
fn say(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    from.write_all(bytes)?;
    to.read_exact(&mut vec![0; bytes.len()])?;
    Ok(())
}

/// A connection that sends until it is stopped.
pub(super) struct Traffic {
    /// Another handle of the client's socket.
    client: TcpStream,
    ends: [JoinHandle<anyhow::Result<()>>; 2],
}

impl Traffic {
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.client.shutdown(Shutdown::Both)?;
        self.ends.into_iter().try_for_each(joined)
    }
}

/// Writes bytes that look like ciphertext, until the connection is shut down.
fn send(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(WRITE)
    .collect();
    // The other end is shut down to stop this one.
    while stream.write_all(&bytes).is_ok() {}
    Ok(())
}

fn receive(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut room = vec![0; WRITE];
    while stream.read(&mut room).is_ok_and(|read| read > 0) {}
    Ok(())
}
