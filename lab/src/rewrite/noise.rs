//! Traffic without a TLS connection that should be told of: `none`.

use std::net::IpAddr;

use super::flow::{Flow, Flows, Side};
use super::random::Random;
use super::segment::{checksum, flag, transport_checksum};
use super::talk::{START_NS, Talk};
use crate::capture::Frame;

/// A named kind of noise.
pub type Noise = (&'static str, Vec<Frame>);

/// Returns all kinds.
#[must_use]
pub fn all() -> Vec<Noise> {
    let mut random = Random::named("noise");
    let random = &mut random;
    let mut all = vec![
        ("noise-http", one(http(random))),
        ("noise-http-on-443", one(plain_http_on_443(random))),
        ("noise-ssh", one(ssh(random))),
        ("noise-ssh-on-443-reset", one(ssh_reset(random))),
        ("noise-random-on-443", one(random_bytes(random, false))),
        ("noise-random-on-443-reset", one(random_bytes(random, true))),
        ("noise-tls-like-cut", one(tls_like_cut(random))),
        ("noise-tls-like-wrong-version", one(wrong_version(random))),
        (
            "noise-hello-in-other-data",
            one(hello_in_other_data(random)),
        ),
        ("noise-smtp-no-starttls", one(smtp(25, random))),
        ("noise-submission-no-starttls", one(smtp(587, random))),
        (
            "noise-empty-connection",
            one(Talk::new(443, random).opened().closed(Side::Client).flow()),
        ),
        (
            "noise-health-check-reset",
            one(Talk::new(443, random)
                .opened()
                .reset(Side::Client, flag::ACK)
                .flow()),
        ),
        (
            "noise-accept-then-reset",
            one(Talk::new(443, random)
                .opened()
                .reset(Side::Server, flag::ACK)
                .flow()),
        ),
        ("noise-port-scan", many(port_scan(random))),
        ("noise-syn-flood", many(syn_flood(random))),
        ("noise-reset-flood", many(reset_flood(random))),
        ("noise-quic", udp(443, random)),
        ("noise-dns", udp(53, random)),
        ("noise-arp", arp(random)),
        ("noise-fragments", fragments(random)),
        ("noise-garbage-frames", garbage(random)),
    ];
    let everything = all.iter().flat_map(|(_, frames)| frames.clone());
    let mut everything: Vec<Frame> = everything.collect();
    everything.sort_by_key(|frame| frame.time_ns);
    all.push(("noise-everything", everything));
    all
}

fn one(flow: Flow) -> Vec<Frame> {
    Flows::only(flow).frames()
}

fn many(flows: Vec<Flow>) -> Vec<Frame> {
    let others = Vec::new();
    Flows { flows, others }.frames()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

fn http(random: &mut Random) -> Flow {
    Talk::new(80, random)
        .opened()
        .says(Side::Client, GET)
        .says(
            Side::Server,
            &[b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 9000]].concat(),
        )
        .closed(Side::Server)
        .flow()
}

fn plain_http_on_443(random: &mut Random) -> Flow {
    Talk::new(443, random)
        .opened()
        .says(Side::Client, GET)
        .says(
            Side::Server,
            b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n",
        )
        .closed(Side::Server)
        .flow()
}

fn ssh(random: &mut Random) -> Flow {
    let keys = random.bytes(1500);
    let more = random.bytes(3000);
    Talk::new(22, random)
        .opened()
        .says(Side::Server, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        .says(Side::Client, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        .says(Side::Client, &keys)
        .says(Side::Server, &more)
        .closed(Side::Client)
        .flow()
}

fn ssh_reset(random: &mut Random) -> Flow {
    Talk::new(443, random)
        .opened()
        .says(Side::Client, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        .reset(Side::Server, flag::ACK)
        .flow()
}

fn random_bytes(random: &mut Random, reset: bool) -> Flow {
    let mut there = random.bytes(700);
    // Not by chance a handshake record.
    if let Some(first) = there.first_mut() {
        *first = 0x81;
    }
    let back = random.bytes(5000);
    let talk = Talk::new(443, random)
        .opened()
        .says(Side::Client, &there)
        .says(Side::Server, &back);
    if reset {
        talk.reset(Side::Server, 0).flow()
    } else {
        talk.closed(Side::Client).flow()
    }
}

/// Returns a handshake record's header and little more, as scanners and broken clients send.
fn tls_like_cut(random: &mut Random) -> Flow {
    Talk::new(443, random)
        .opened()
        .says(Side::Client, &[22, 3, 1, 2, 0])
        .closed(Side::Client)
        .flow()
}

/// Returns a record header with a version that never was.
fn wrong_version(random: &mut Random) -> Flow {
    let body = random.bytes(300);
    Talk::new(443, random)
        .opened()
        .says(Side::Client, &[&[22, 9, 9, 1, 44][..], &body].concat())
        .reset(Side::Server, flag::ACK)
        .flow()
}

/// Returns bytes like a ClientHello at the start of a segment, in the midst of other data.
fn hello_in_other_data(random: &mut Random) -> Flow {
    let mut hello = vec![22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3];
    hello.extend(random.bytes(245));
    Talk::new(8080, random)
        .opened()
        .says(
            Side::Client,
            b"PUT /capture.bin HTTP/1.1\r\nContent-Length: 4096\r\n\r\n",
        )
        .says(Side::Client, &hello)
        .says(Side::Client, &random.bytes(900))
        .says(Side::Server, b"HTTP/1.1 201 Created\r\n\r\n")
        .closed(Side::Client)
        .flow()
}

fn smtp(port: u16, random: &mut Random) -> Flow {
    Talk::new(port, random)
        .opened()
        .says(Side::Server, b"220 mail.example.com ESMTP\r\n")
        .says(Side::Client, b"EHLO client.example.com\r\n")
        .says(
            Side::Server,
            b"250-mail.example.com\r\n250-STARTTLS\r\n250 8BITMIME\r\n",
        )
        .says(Side::Client, b"STARTTLS\r\n")
        .says(Side::Server, b"454 TLS not available\r\n")
        .says(Side::Client, b"QUIT\r\n")
        .closed(Side::Server)
        .flow()
}

fn port_scan(random: &mut Random) -> Vec<Flow> {
    let ports = [
        21, 22, 23, 25, 80, 110, 143, 443, 445, 465, 587, 853, 993, 995, 3389, 5061, 8443,
    ];
    let scan = ports.map(|port| {
        let mut talk = Talk::new(port, random);
        talk.send(Side::Client, flag::SYN, &[]);
        if random.one_in(3) {
            talk.send(Side::Server, flag::SYN | flag::ACK, &[]);
            talk.reset(Side::Client, 0).flow()
        } else {
            talk.reset(Side::Server, flag::ACK).flow()
        }
    });
    scan.to_vec()
}

fn syn_flood(random: &mut Random) -> Vec<Flow> {
    let flood = (0..2000).map(|_| {
        let mut talk = Talk::new(443, random);
        talk.send(Side::Client, flag::SYN, &[]);
        talk.flow()
    });
    flood.collect()
}

/// Resets of connections nobody has seen.
fn reset_flood(random: &mut Random) -> Vec<Flow> {
    let flood = (0..300).map(|_| Talk::new(443, random).reset(Side::Server, 0).flow());
    flood.collect()
}

/// Datagrams to and from a port; on 443 they begin like QUIC's long header (RFC 9000 §17.2).
fn udp(port: u16, random: &mut Random) -> Vec<Frame> {
    let pattern = Talk::new(port, random).opened().flow();
    let datagrams = pattern.segments.iter().cycle().take(30).enumerate();
    let frames = datagrams.map(|(index, like)| {
        let mut payload = random.bytes(if port == 443 { 1200 } else { 60 });
        if let (443, Some(start)) = (port, payload.first_chunk_mut::<5>()) {
            *start = [0xc3, 0, 0, 0, 1];
        }
        let len = (payload.len() + 8) as u16;
        let mut datagram = Vec::new();
        for half in [like.source_port, like.destination_port, len, 0] {
            datagram.extend(half.to_be_bytes());
        }
        datagram.extend(payload);
        let sum = transport_checksum(like.source, like.destination, 17, &datagram);
        datagram.splice(6..8, sum.to_be_bytes());
        ipv4(
            &like.macs,
            (like.source, like.destination),
            17,
            0,
            &datagram,
            START_NS + index as u64 * 5_000_000,
        )
    });
    frames.collect()
}

fn ipv4(
    macs: &[[u8; 6]; 2],
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    fragment: u16,
    body: &[u8],
    time_ns: u64,
) -> Frame {
    let mut header = vec![0x45, 0];
    header.extend(((body.len() + 20) as u16).to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(fragment.to_be_bytes());
    header.extend([57, protocol, 0, 0]);
    for address in [source, destination] {
        if let IpAddr::V4(v4) = address {
            header.extend(v4.octets());
        }
    }
    let sum = checksum(&[&header]).to_be_bytes();
    header.splice(10..12, sum);
    let bytes = [&macs.concat()[..], &[8, 0], &header, body].concat();
    Frame::new(time_ns, bytes)
}

fn arp(random: &mut Random) -> Vec<Frame> {
    let requests = (0..20).map(|index| {
        let mut bytes = vec![0xff; 6];
        bytes.extend([
            2, 0, 0, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7,
        ]);
        bytes.extend([10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0]);
        bytes.push(random.between(2, 254) as u8);
        Frame::new(START_NS + index * 1_000_000, bytes)
    });
    requests.collect()
}

/// Returns a TCP segment with a ClientHello's beginning in IPv4 fragments: the ports are only in
/// the first.
fn fragments(random: &mut Random) -> Vec<Frame> {
    let hello = [
        &[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3][..],
        &random.bytes(245),
    ]
    .concat();
    let flow = Talk::new(443, random)
        .opened()
        .says(Side::Client, &hello)
        .flow();
    let Some(whole) = flow.segments.get(3) else {
        return Vec::new();
    };
    let frame = whole.frame();
    let tcp = frame.bytes.get(34..).unwrap_or_default();
    let pieces = tcp.chunks(64).enumerate().map(|(index, piece)| {
        let more = if (index + 1) * 64 < tcp.len() {
            0x2000
        } else {
            0
        };
        let time_ns = whole.time_ns + index as u64 * 1000;
        ipv4(
            &whole.macs,
            (whole.source, whole.destination),
            6,
            more | (index as u16 * 8),
            piece,
            time_ns,
        )
    });
    pieces.collect()
}

/// Returns frames with headers that end too soon or lie about lengths.
fn garbage(random: &mut Random) -> Vec<Frame> {
    let pattern = Talk::new(443, random).opened().flow();
    let Some(segment) = pattern.segments.first() else {
        return Vec::new();
    };
    let good = segment.frame().bytes;
    let frames = (0..200).map(|index| {
        let mut bytes = good.clone();
        bytes.truncate(14 + random.below(bytes.len().saturating_sub(13)));
        for _ in 0..random.between(0, 4) {
            let at = 12 + random.below(bytes.len().saturating_sub(12));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.u16() as u8;
            }
        }
        Frame::new(START_NS + index * 100_000, bytes)
    });
    frames.collect()
}
