//! TCP segments in Ethernet frames, taken apart and put together again with right checksums.

use std::net::IpAddr;

use crate::capture::Frame;

/// TCP flags (RFC 9293 §3.1).
pub mod flag {
    /// The sender is done.
    pub const FIN: u8 = 0x01;
    /// Synchronises sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Resets the connection.
    pub const RST: u8 = 0x04;
    /// Pushes.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment counts.
    pub const ACK: u8 = 0x10;
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
/// The most that IPv4's total length leaves with the longest TCP header.
pub const PAYLOAD_MAX: usize = 65_535 - 20 - 60;

/// A TCP segment with the headers round it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// UNIX time, nanoseconds.
    pub time_ns: u64,
    /// Destination and source MAC.
    pub macs: [[u8; 6]; 2],
    /// Sender's address.
    pub source: IpAddr,
    /// Receiver's address, of the same family.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4's identification; unused in IPv6.
    pub ip_id: u16,
    /// IPv4's DF.
    pub dont_fragment: bool,
    /// TOS or traffic class.
    pub traffic_class: u8,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// See [`flag`].
    pub flags: u8,
    /// Window as on the wire.
    pub window: u16,
    /// TCP options as on the wire, padded to 32 bits.
    pub options: Vec<u8>,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Segment {
    /// Parses an Ethernet frame that holds a whole, unfragmented TCP segment over IPv4 or IPv6 without
    /// extension headers.
    #[must_use]
    pub fn parse(frame: &Frame) -> Option<Self> {
        let bytes = &frame.bytes;
        if frame.wire_len > bytes.len() {
            return None;
        }
        let macs = [*bytes.first_chunk()?, *bytes.get(6..)?.first_chunk()?];
        let ip = bytes.get(14..)?;
        let blank = Self {
            time_ns: frame.time_ns,
            macs,
            source: IpAddr::from([0; 4]),
            destination: IpAddr::from([0; 4]),
            ttl: 0,
            ip_id: 0,
            dont_fragment: false,
            traffic_class: 0,
            source_port: 0,
            destination_port: 0,
            seq: 0,
            ack: 0,
            flags: 0,
            window: 0,
            options: Vec::new(),
            payload: Vec::new(),
        };
        match half(bytes, 12)? {
            ETHERTYPE_IPV4 => blank.with_ipv4(ip),
            ETHERTYPE_IPV6 => blank.with_ipv6(ip),
            _ => None,
        }
    }

    fn with_ipv4(mut self, ip: &[u8]) -> Option<Self> {
        let header_len = usize::from(ip.first()? & 0x0f) * 4;
        let fragment = half(ip, 6)?;
        if ip.first()? >> 4 != 4 || header_len < 20 || *ip.get(9)? != TCP || fragment & 0x3fff != 0
        {
            return None;
        }
        let total = match usize::from(half(ip, 2)?) {
            // Offloaded segments above 64 KB have none.
            0 => ip.len(),
            total => total,
        };
        self.traffic_class = *ip.get(1)?;
        self.ip_id = half(ip, 4)?;
        self.dont_fragment = fragment & 0x4000 != 0;
        self.ttl = *ip.get(8)?;
        self.source = IpAddr::from(*ip.get(12..)?.first_chunk::<4>()?);
        self.destination = IpAddr::from(*ip.get(16..)?.first_chunk::<4>()?);
        self.with_tcp(ip.get(header_len..total)?)
    }

    fn with_ipv6(mut self, ip: &[u8]) -> Option<Self> {
        if ip.first()? >> 4 != 6 || *ip.get(6)? != TCP {
            return None;
        }
        let len = usize::from(half(ip, 4)?);
        self.traffic_class = (half(ip, 0)? >> 4) as u8;
        self.dont_fragment = true;
        self.ttl = *ip.get(7)?;
        self.source = IpAddr::from(*ip.get(8..)?.first_chunk::<16>()?);
        self.destination = IpAddr::from(*ip.get(24..)?.first_chunk::<16>()?);
        self.with_tcp(ip.get(40..40 + len)?)
    }

    fn with_tcp(mut self, tcp: &[u8]) -> Option<Self> {
        let header_len = usize::from(tcp.get(12)? >> 4) * 4;
        self.source_port = half(tcp, 0)?;
        self.destination_port = half(tcp, 2)?;
        self.seq = u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?);
        self.ack = u32::from_be_bytes(*tcp.get(8..)?.first_chunk()?);
        self.flags = *tcp.get(13)?;
        self.window = half(tcp, 14)?;
        self.options = tcp.get(20..header_len)?.to_vec();
        self.payload = tcp.get(header_len..)?.to_vec();
        Some(self)
    }

    /// Returns the Ethernet frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut bytes = self.macs.concat();
        let tcp = self.tcp();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes.extend(ETHERTYPE_IPV4.to_be_bytes());
                bytes.extend(self.ipv4(source.octets(), destination.octets(), tcp.len()));
            }
            (source, destination) => {
                bytes.extend(ETHERTYPE_IPV6.to_be_bytes());
                bytes.extend(self.ipv6(octets6(source), octets6(destination), tcp.len()));
            }
        }
        bytes.extend(tcp);
        Frame::new(self.time_ns, bytes)
    }

    fn ipv4(&self, source: [u8; 4], destination: [u8; 4], len: usize) -> Vec<u8> {
        let total = u16::try_from(len + 20).unwrap_or(0).to_be_bytes();
        let id = self.ip_id.to_be_bytes();
        let df = if self.dont_fragment { 0x40 } else { 0 };
        let mut header = vec![
            0x45,
            self.traffic_class,
            total[0],
            total[1],
            id[0],
            id[1],
            df,
            0,
            self.ttl,
            TCP,
            0,
            0,
        ];
        header.extend(source);
        header.extend(destination);
        let sum = checksum(&[&header]).to_be_bytes();
        header.splice(10..12, sum);
        header
    }

    fn ipv6(&self, source: [u8; 16], destination: [u8; 16], len: usize) -> Vec<u8> {
        let first = 0x6000_0000_u32 | u32::from(self.traffic_class) << 20;
        let len = u16::try_from(len).unwrap_or(0).to_be_bytes();
        let mut header = first.to_be_bytes().to_vec();
        header.extend([len[0], len[1], TCP, self.ttl]);
        header.extend(source);
        header.extend(destination);
        header
    }

    fn tcp(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let words = 5 + options.len() / 4;
        let mut tcp = Vec::with_capacity(words * 4 + self.payload.len());
        tcp.extend(self.source_port.to_be_bytes());
        tcp.extend(self.destination_port.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([(words << 4) as u8, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(options);
        tcp.extend(&self.payload);
        let sum = transport_checksum(self.source, self.destination, TCP, &tcp);
        tcp.splice(16..18, sum.to_be_bytes());
        tcp
    }

    /// Whether any of these flags is set.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Returns the sequence numbers it takes: payload, SYN, FIN.
    #[must_use]
    pub fn len(&self) -> u32 {
        let marks = u32::from(self.has(flag::SYN)) + u32::from(self.has(flag::FIN));
        self.payload.len() as u32 + marks
    }

    /// Whether it takes no sequence number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the sequence number behind it.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len())
    }

    /// Whether it carries payload and neither opens, ends nor resets.
    #[must_use]
    pub fn is_data(&self) -> bool {
        !self.payload.is_empty() && !self.has(flag::SYN | flag::FIN | flag::RST)
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn octets6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Returns the checksum of TCP or UDP over its pseudo header (RFC 9293 §3.1, RFC 8200 §8.1).
#[must_use]
pub fn transport_checksum(source: IpAddr, destination: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let tail = [&(body.len() as u32).to_be_bytes()[..], &[0, 0, 0, protocol]].concat();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            checksum(&[&source.octets(), &destination.octets(), &tail, body])
        }
        _ => checksum(&[&octets6(source), &octets6(destination), &tail, body]),
    }
}

/// Returns the Internet checksum (RFC 1071) over parts of even length, the last may be odd.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let high = u64::from(pair.first().copied().unwrap_or(0));
        let low = u64::from(pair.get(1).copied().unwrap_or(0));
        sum += high << 8 | low;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
