//! Kinds of frames in which no TCP was looked for, so that a summary names them.

use std::fmt;

use detector_common::headers::{self, network_header};

use crate::source::capture::LinkType;

/// A protocol that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unread {
    /// A link type of the capture.
    LinkType(u32),
    /// An EtherType.
    EtherType(u16),
    /// IEEE 802.2 without an EtherType: spanning tree, IS-IS and the like.
    Llc,
    /// A PPP protocol.
    PppProtocol(u16),
    /// An IP protocol.
    IpProtocol(u8),
    /// UDP to or from one of the ports that are named.
    UdpPort(u16),
    /// IP whose header cannot be read.
    Ip,
}

const UDP: u8 = 17;

impl Unread {
    /// Returns the kind of a frame in which the engine found no IP or no TCP.
    pub fn of(frame: &[u8], link: headers::LinkType) -> Self {
        match network_header(&frame, link) {
            Ok((offset, 0x0800)) => ipv4(frame.get(offset..).unwrap_or_default()),
            Ok((offset, 0x86dd)) => ipv6(frame.get(offset..).unwrap_or_default()),
            Ok((_, other)) => Self::of_ether_type(other),
            Err(_) if link == headers::LinkType::Ethernet => outer_ether_type(frame),
            Err(_) => Self::Ip,
        }
    }

    fn of_ether_type(number: u16) -> Self {
        // Below, it is the length of an IEEE 802.3 frame.
        if number < 0x0600 {
            Self::Llc
        } else {
            Self::EtherType(number)
        }
    }
}

/// Returns the first EtherType that is no VLAN tag.
fn outer_ether_type(frame: &[u8]) -> Unread {
    let rest = frame.get(12..).unwrap_or_default();
    let types = rest.chunks_exact(4).map(|tag| match *tag {
        [high, low, ..] => u16::from_be_bytes([high, low]),
        _ => 0,
    });
    let mut types = types.skip_while(|it| matches!(it, 0x8100 | 0x88a8 | 0x9100 | 0x9200));
    Unread::of_ether_type(types.next().unwrap_or(0))
}

fn ipv4(header: &[u8]) -> Unread {
    match header {
        [first, _, _, _, _, _, _, _, _, protocol, ..] => {
            let len = usize::from(first & 0x0f) * 4;
            of_protocol(*protocol, header.get(len..).unwrap_or_default())
        }
        _ => Unread::Ip,
    }
}

/// Returns the protocol behind the fixed header; extension headers are seldom before others than
/// TCP.
fn ipv6(header: &[u8]) -> Unread {
    match header {
        [_, _, _, _, _, _, protocol, ..] => {
            of_protocol(*protocol, header.get(40..).unwrap_or_default())
        }
        _ => Unread::Ip,
    }
}

fn of_protocol(protocol: u8, payload: &[u8]) -> Unread {
    let ports = payload.as_chunks::<2>().0.iter().take(2);
    let mut ports = ports.map(|port| u16::from_be_bytes(*port));
    let named = ports.find(|port| udp_name(*port).is_some());
    match (protocol, named) {
        (UDP, Some(port)) => Unread::UdpPort(port),
        _ => Unread::IpProtocol(protocol),
    }
}

/// Protocols in UDP that carry TLS, or hide it.
const fn udp_name(port: u16) -> Option<&'static str> {
    Some(match port {
        443 => "QUIC",
        1194 => "OpenVPN",
        4500 => "IPsec",
        5247 => "CAPWAP",
        51820 => "WireGuard",
        _ => return None,
    })
}

const fn ether_type_name(number: u16) -> Option<&'static str> {
    Some(match number {
        0x0806 => "ARP",
        0x8035 => "RARP",
        0x8809 => "LACP",
        0x8863 => "PPPoE discovery",
        0x8864 => "PPPoE control",
        0x888e => "EAPOL",
        0x88cc => "LLDP",
        0x88e5 => "MACsec",
        0x88f7 => "PTP",
        _ => return None,
    })
}

const fn ip_protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "ICMP",
        2 => "IGMP",
        UDP => "UDP",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "ICMPv6",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP",
        132 => "SCTP",
        _ => return None,
    })
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LinkType(number) => write!(f, "link type {}", LinkType(number)),
            Self::EtherType(number) => match ether_type_name(number) {
                Some(name) => f.write_str(name),
                None => write!(f, "EtherType {number:#06x}"),
            },
            Self::Llc => f.write_str("LLC"),
            Self::PppProtocol(number) => write!(f, "PPP protocol {number:#06x}"),
            Self::IpProtocol(number) => match ip_protocol_name(number) {
                Some(name) => f.write_str(name),
                None => write!(f, "IP protocol {number}"),
            },
            Self::UdpPort(port) => {
                write!(f, "UDP port {port} ({})", udp_name(port).unwrap_or("?"))
            }
            Self::Ip => f.write_str("unreadable IP"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn ethernet(ether_type: &[u8], rest: &[u8]) -> Vec<u8> {
        [&[0; 12][..], ether_type, rest].concat()
    }

    fn udp(source: u16, destination: u16) -> Vec<u8> {
        let mut ip = vec![0x45; 20];
        ip[9] = 17;
        ip.extend([source.to_be_bytes(), destination.to_be_bytes()].concat());
        ethernet(&[8, 0], &ip)
    }

    #[rstest]
    #[case(ethernet(&[0x88, 0xcc], &[0; 40]), "LLDP")]
    #[case(ethernet(&[0x89, 0x99], &[0; 40]), "EtherType 0x8999")]
    #[case(ethernet(&[0x81, 0, 0, 7, 0x08, 0x06], &[0; 40]), "ARP")]
    #[case(ethernet(&[0, 38], &[0x42, 0x42, 3, 0, 0, 0, 0, 0, 0]), "LLC")]
    #[case(ethernet(&[0x81, 0, 0, 7, 0, 38], &[0x42, 0x42, 3, 0, 0, 0, 0, 0, 0]), "LLC")]
    #[case(udp(50_000, 443), "UDP port 443 (QUIC)")]
    #[case(udp(443, 50_000), "UDP port 443 (QUIC)")]
    #[case(udp(50_000, 53), "UDP")]
    #[case(ethernet(&[0x86, 0xdd], &[0x60, 0, 0, 0, 0, 0, 58]), "ICMPv6")]
    #[case(ethernet(&[8, 0], &[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 200]), "IP protocol 200")]
    fn kinds_have_names(#[case] frame: Vec<u8>, #[case] name: &str) {
        let link = headers::LinkType::Ethernet;
        assert_eq!(Unread::of(&frame, link).to_string(), name);
        for len in 0..frame.len() {
            let _ = Unread::of(&frame[..len], link).to_string();
        }
    }
}
