//! A middlebox that resets connections with one server name, towards the client and in the
//! server's name. It forwards nothing itself and drops nothing: the kernel routes on.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use anyhow::Context;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, socket,
};
use xtask::commands::{ArgMatches, value};

/// Arguments of the middlebox.
pub struct Arguments {
    sni: String,
    ttl: u8,
}

impl Arguments {
    /// Reads them from the command line.
    #[must_use]
    pub fn of(matches: &ArgMatches) -> Self {
        Self {
            sni: value(matches, "sni").unwrap_or_default(),
            ttl: value(matches, "ttl").unwrap_or_default(),
        }
    }
}

/// Runs until it is killed.
///
/// # Errors
/// If it may not open raw sockets.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let listener = socket(
        AddressFamily::Packet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthIp,
    )
    .context("cannot listen to packets")?;
    // This protocol means that we write the IP header (raw(7)).
    let raw = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Raw,
    )
    .context("cannot send raw packets")?;
    let mut buffer = [0; 65_536];
    loop {
        let len = match recv(listener.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(len) => len,
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(io::Error::from(error)).context("cannot listen to packets"),
        };
        let Some(reset) = buffer
            .get(..len)
            .and_then(|packet| answer(packet, arguments))
        else {
            continue;
        };
        let to = SockaddrIn::from(std::net::SocketAddrV4::new(reset.client, 0));
        sendto(raw.as_raw_fd(), &reset.packet, &to, MsgFlags::empty())
            .context("cannot send a reset")?;
    }
}

struct Reset {
    client: Ipv4Addr,
    packet: Vec<u8>,
}

/// Returns the reset for an IPv4 packet that holds a ClientHello with the name.
fn answer(packet: &[u8], arguments: &Arguments) -> Option<Reset> {
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let tcp = packet.get(header_len..)?;
    let payload = tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?;
    // A certificate may hold the name, too.
    let is_hello = payload.first() == Some(&22) && payload.get(5) == Some(&1);
    let is_hello = is_hello && packet.get(9) == Some(&6);
    let name = arguments.sni.as_bytes();
    if !is_hello || !payload.windows(name.len()).any(|window| window == name) {
        return None;
    }
    let client: [u8; 4] = *packet.get(12..)?.first_chunk()?;
    let server: [u8; 4] = *packet.get(16..)?.first_chunk()?;
    let ports = tcp.get(..4)?;
    let seq = u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?);
    let ack: [u8; 4] = *tcp.get(8..)?.first_chunk()?;
    let acknowledged = seq
        .wrapping_add(u32::try_from(payload.len()).ok()?)
        .to_be_bytes();
    let mut segment = Vec::with_capacity(20);
    segment.extend_from_slice(ports.get(2..)?);
    segment.extend_from_slice(ports.get(..2)?);
    segment.extend_from_slice(&ack);
    segment.extend_from_slice(&acknowledged);
    // Five words of header; RST and ACK; no window; checksum to come; not urgent.
    segment.extend_from_slice(&[0x50, 0x14, 0, 0, 0, 0, 0, 0]);
    let sum = checksum(&server, &client, &segment);
    segment.get_mut(16..18)?.copy_from_slice(&sum.to_be_bytes());
    // The kernel fills in length, checksum and, as it is zero, the identification.
    let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, arguments.ttl, 6, 0, 0];
    ip.extend_from_slice(&server);
    ip.extend_from_slice(&client);
    ip.extend_from_slice(&segment);
    Some(Reset {
        client: Ipv4Addr::from(client),
        packet: ip,
    })
}

/// Returns the TCP checksum over pseudo header and segment (RFC 9293 §3.1).
fn checksum(source: &[u8; 4], destination: &[u8; 4], segment: &[u8]) -> u16 {
    let length = (segment.len() as u16).to_be_bytes();
    let pseudo = [&source[..], destination, &[0, 6], &length, segment].concat();
    let mut sum: u32 = pseudo
        .chunks(2)
        .map(|pair| {
            u32::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
