//! ICMP errors that say that a connection's segments did not reach their destination.
//!
//! In: reports of a source that reads them (captures do). A rejecting firewall sends them, and so does a
//! router without a route. Hosts take them for final while they connect; afterwards they go on.

use std::fmt;
use std::net::IpAddr;

use detector_common::flow::{FlowKey, Sender};

/// A Destination Unreachable (RFC 792, RFC 4443 §3.1) about a connection's segments, after which none of
/// them arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The sender of the latest.
    pub by: IpAddr,
    /// The side whose segment it quotes.
    pub about: Sender,
    /// Whether the segment is a SYN.
    pub about_syn: bool,
    /// Its code.
    pub code: Code,
    /// Number of such errors.
    pub count: u32,
    /// Time of the first, nanoseconds since the UNIX epoch; on the tap's clock before.
    pub first_ns: u64,
    /// Time of the latest, likewise.
    pub last_ns: u64,
}

/// Code of a Destination Unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Of ICMP, type 3.
    V4(u8),
    /// Of ICMPv6, type 1.
    V6(u8),
}

/// An error about a segment, or the news that the segments so far did arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreachableReport {
    /// Key of the flow, endpoints in order.
    pub key: FlowKey,
    /// Index of the client among the key's endpoints.
    pub client_endpoint: u8,
    /// VLAN IDs, outermost first.
    pub vlan: [u16; 2],
    /// Time of the error, nanoseconds on the source's clock.
    pub time_ns: u64,
    /// Time when the flow began, if its ClientHello was seen.
    pub flow_began_ns: Option<u64>,
    /// The error; `None` once its segment arrived nevertheless.
    pub error: Option<Unreachable>,
}

impl Unreachable {
    /// Counts a further one.
    pub fn add(&mut self, later: &Self) {
        *self = Self {
            count: self.count.saturating_add(1),
            first_ns: self.first_ns,
            ..*later
        };
    }
}

impl Code {
    /// Whether it says that the segment is not allowed, or that its port is closed: a decision, which
    /// nftables and iptables make by `reject`. Others say that there is no way to the host.
    #[must_use]
    pub const fn is_rejection(self) -> bool {
        match self {
            Self::V4(code) => matches!(code, 2 | 3 | 9 | 10 | 13),
            Self::V6(code) => matches!(code, 1 | 4 | 5 | 6),
        }
    }

    /// Returns its name in the registry; `None` of an unassigned one.
    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::V4(0) => "net unreachable",
            Self::V4(1) => "host unreachable",
            Self::V4(2) => "protocol unreachable",
            Self::V4(3) | Self::V6(4) => "port unreachable",
            Self::V4(5) => "source route failed",
            Self::V4(6) => "destination network unknown",
            Self::V4(7) => "destination host unknown",
            Self::V4(8) => "source host isolated",
            Self::V4(9) => "network administratively prohibited",
            Self::V4(10) => "host administratively prohibited",
            Self::V4(11) => "network unreachable for type of service",
            Self::V4(12) => "host unreachable for type of service",
            Self::V4(13) | Self::V6(1) => "communication administratively prohibited",
            Self::V4(14) => "host precedence violation",
            Self::V4(15) => "precedence cutoff in effect",
            Self::V6(0) => "no route to destination",
            Self::V6(2) => "beyond scope of source address",
            Self::V6(3) => "address unreachable",
            Self::V6(5) => "source address failed ingress/egress policy",
            Self::V6(6) => "reject route to destination",
            Self::V4(_) | Self::V6(_) => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, kind, code) = match *self {
            Self::V4(code) => ("ICMP", 3, code),
            Self::V6(code) => ("ICMPv6", 1, code),
        };
        let name = self.name().unwrap_or("destination unreachable");
        write!(f, "{protocol} \"{name}\" (type {kind}, code {code})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_errors_are_counted_from_the_first() {
        let error = |by: u8, time_ns| Unreachable {
            by: IpAddr::from([10, 0, 1, by]),
            about: Sender::Client,
            about_syn: false,
            code: Code::V4(by),
            count: 1,
            first_ns: time_ns,
            last_ns: time_ns,
        };
        let mut all = error(1, 10);
        all.add(&error(2, 20));
        all.add(&error(3, 30));
        let expected = Unreachable {
            count: 3,
            first_ns: 10,
            ..error(3, 30)
        };
        assert_eq!(all, expected);
    }
}
