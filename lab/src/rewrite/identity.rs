//! The same connections of other hosts, at other times, over longer paths.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::flow::{Flow, Flows, Side};
use super::random::Random;
use super::segment::Segment;

const OPTION_SACK: u8 = 5;
const OPTION_TIMESTAMPS: u8 = 8;

/// The hosts that a rewrite pretends.
#[derive(Clone, Debug)]
pub struct Hosts {
    client: Ipv4Addr,
    server: Ipv4Addr,
    client_ttl: u8,
    server_ttl: u8,
    macs: [[u8; 6]; 2],
}

impl Hosts {
    /// Creates a client behind the gateway and a server some hops away.
    #[must_use]
    pub fn new(random: &mut Random) -> Self {
        let mut byte = |low, high| random.between(low, high) as u8;
        let client = match byte(0, 2) {
            0 => Ipv4Addr::new(10, byte(0, 255), byte(0, 255), byte(1, 254)),
            1 => Ipv4Addr::new(172, byte(16, 31), byte(0, 255), byte(1, 254)),
            _ => Ipv4Addr::new(192, 168, byte(0, 255), byte(1, 254)),
        };
        let server = Ipv4Addr::new(byte(23, 99), byte(0, 255), byte(0, 255), byte(1, 254));
        let start = [64, 64, 128, 255][usize::from(byte(0, 3))];
        let server_ttl = start - byte(5, 18);
        let client_ttl = [64, 63, 128, 127][usize::from(byte(0, 3))];
        let mut mac = || {
            let mut mac: [u8; 6] = std::array::from_fn(|_| random.between(0, 255) as u8);
            // Unicast, universally administered.
            mac[0] &= 0xfc;
            mac
        };
        Self {
            client,
            server,
            client_ttl,
            server_ttl,
            macs: [mac(), mac()],
        }
    }
}

/// Changes addresses, ports, initial sequence numbers, timestamps, TTLs, IP IDs and MACs. Clients
/// and servers that were one stay one.
#[must_use]
pub fn moved(flows: &Flows, random: &mut Random) -> Flows {
    let hosts = Hosts::new(random);
    let mut clients: Vec<IpAddr> = Vec::new();
    let mut servers: Vec<IpAddr> = Vec::new();
    let port_shift = random.u16();
    let moved = flows.flows.iter().map(|flow| {
        let client = number(&mut clients, flow.client.0);
        let server = number(&mut servers, flow.server.0);
        let mut hosts = hosts.clone();
        hosts.client = shifted(hosts.client, client);
        hosts.server = shifted(hosts.server, server);
        let port = 1024 + flow.client.1.wrapping_add(port_shift) % 64_000;
        moved_flow(flow, &hosts, port, random)
    });
    Flows {
        flows: moved.collect(),
        others: Vec::new(),
    }
}

fn number(known: &mut Vec<IpAddr>, address: IpAddr) -> u8 {
    let place = known.iter().position(|other| *other == address);
    place.unwrap_or_else(|| {
        known.push(address);
        known.len() - 1
    }) as u8
}

fn shifted(address: Ipv4Addr, by: u8) -> Ipv4Addr {
    let [a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c.wrapping_add(by), d)
}

fn moved_flow(flow: &Flow, hosts: &Hosts, client_port: u16, random: &mut Random) -> Flow {
    // Loopback captures use one address for both ends.
    let addresses = if flow.client.0.is_ipv4() {
        [IpAddr::V4(hosts.client), IpAddr::V4(hosts.server)]
    } else {
        [hosts.client, hosts.server]
            .map(|v4| IpAddr::V6(v4.to_ipv6_mapped()))
            .map(unique_local)
    };
    let server_port = match flow.server.1 {
        443 => 443,
        _ => random.one(&[443, 8443, 993, 5061]).copied().unwrap_or(443),
    };
    let shifts = [random.u32(), random.u32()];
    let clocks = [random.u32(), random.u32()];
    let ids = [random.u16(), random.u16()];
    let mut out = Flow {
        client: (addresses[0], client_port),
        server: (addresses[1], server_port),
        segments: Vec::new(),
    };
    for segment in &flow.segments {
        let mut moved = segment.clone();
        let (own, other) = match flow.side(segment) {
            Side::Client => (0, 1),
            Side::Server => (1, 0),
        };
        (moved.source, moved.source_port) = [out.client, out.server][own];
        (moved.destination, moved.destination_port) = [out.client, out.server][other];
        moved.macs = [hosts.macs[other], hosts.macs[own]];
        moved.ttl = [hosts.client_ttl, hosts.server_ttl][own];
        if moved.ip_id != 0 {
            moved.ip_id = moved.ip_id.wrapping_add(ids[own]).max(1);
        }
        renumber(&mut moved, [shifts[own], shifts[other]]);
        shift_timestamps(&mut moved, [clocks[own], clocks[other]]);
        out.segments.push(moved);
    }
    out
}

fn unique_local(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[0] = 0xfd77;
            segments[5] = 0;
            IpAddr::V6(Ipv6Addr::from(segments))
        }
    }
}

/// Shifts a segment's own sequence numbers and those it acknowledges.
pub(super) fn renumber(segment: &mut Segment, [own, other]: [u32; 2]) {
    segment.seq = segment.seq.wrapping_add(own);
    // A first SYN and a bare RST acknowledge nothing.
    if segment.ack != 0 {
        segment.ack = segment.ack.wrapping_add(other);
    }
    each_option(&mut segment.options, |kind, value| {
        if kind == OPTION_SACK {
            value.chunks_exact_mut(4).for_each(|edge| add(edge, other));
        }
    });
}

fn shift_timestamps(segment: &mut Segment, [own, other]: [u32; 2]) {
    each_option(&mut segment.options, |kind, value| {
        if kind == OPTION_TIMESTAMPS {
            let (sent, echoed) = value.split_at_mut(value.len().min(4));
            add(sent, own);
            if echoed.iter().any(|byte| *byte != 0) {
                add(echoed, other);
            }
        }
    });
}

fn add(word: &mut [u8], by: u32) {
    if let Some(word) = word.first_chunk_mut::<4>() {
        *word = u32::from_be_bytes(*word).wrapping_add(by).to_be_bytes();
    }
}

/// Walks TCP options (RFC 9293 §3.2); stops at damage.
fn each_option(options: &mut [u8], mut change: impl FnMut(u8, &mut [u8])) {
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        let len = match (kind, options.get(at + 1)) {
            (0, _) => return,
            (1, _) => 1,
            (_, Some(&len)) if len >= 2 => usize::from(len),
            _ => return,
        };
        if let Some(value) = options.get_mut(at + 2..at + len) {
            change(kind, value);
        }
        at += len;
    }
}

/// Lets sequence numbers wrap within the ClientHello and within the server's first flight.
#[must_use]
pub fn wrapping(flow: &Flow) -> Flow {
    let first = |side| {
        let index = flow.data_of(side).first().copied();
        index
            .and_then(|index| flow.segments.get(index))
            .map(|segment: &Segment| segment.seq)
    };
    let shift = |side| first(side).map_or(0, |seq| 0_u32.wrapping_sub(seq).wrapping_sub(40));
    let shifts = [shift(Side::Client), shift(Side::Server)];
    let mut out = flow.clone();
    for segment in &mut out.segments {
        let [client, server] = shifts;
        match flow.side(segment) {
            Side::Client => renumber(segment, [client, server]),
            Side::Server => renumber(segment, [server, client]),
        }
    }
    out
}

/// Transcribes IPv4 to IPv6: the address's bytes at the end of a unique local one (RFC 4193).
#[must_use]
pub fn as_ipv6(flow: &Flow) -> Flow {
    let map = |address: IpAddr| match address {
        IpAddr::V4(v4) => unique_local(IpAddr::V6(v4.to_ipv6_mapped())),
        IpAddr::V6(_) => address,
    };
    let mut out = flow.clone();
    out.client.0 = map(flow.client.0);
    out.server.0 = map(flow.server.0);
    for segment in &mut out.segments {
        segment.source = map(segment.source);
        segment.destination = map(segment.destination);
    }
    out
}

/// Times after the capture's first, multiplied by `by.0` / `by.1`, and all of it moved by `later_ns`.
#[must_use]
pub fn stretched(flows: &Flows, by: (u64, u64), later_ns: u64) -> Flows {
    let times = flows.flows.iter().flat_map(|flow| &flow.segments);
    let start = times.map(|segment| segment.time_ns).min().unwrap_or(0);
    let time = |time_ns: u64| {
        let since = time_ns.saturating_sub(start);
        start + later_ns + since * by.0 / by.1.max(1)
    };
    let mut out = flows.clone();
    for flow in &mut out.flows {
        for segment in &mut flow.segments {
            segment.time_ns = time(segment.time_ns);
        }
    }
    for frame in &mut out.others {
        frame.time_ns = time(frame.time_ns.max(start));
    }
    out
}

/// Delays segments as if the server were `rtt_ns` away from the recorder, and the client close to
/// it: each turn from client to server waits that long.
#[must_use]
pub fn far_away(flow: &Flow, rtt_ns: u64) -> Flow {
    let mut out = flow.clone();
    let mut late = 0;
    let mut before = Side::Client;
    for segment in &mut out.segments {
        let side = flow.side(segment);
        if side != before {
            late += if side == Side::Server {
                rtt_ns
            } else {
                300_000
            };
            before = side;
        }
        segment.time_ns += late;
    }
    out
}
