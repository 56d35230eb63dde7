//! Preambles: a client's bytes before its ClientHello, to a proxy or in front of a server.
//!
//! In: reports of a source that reads them (captures do). Out: the target that a client asked an explicit
//! proxy for, the proxy's refusal, and the client's address as a load balancer tells it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use detector_common::flow::FlowKey;

/// Maximum length of a host name (RFC 1035 §2.3.4).
const HOST_MAX: usize = 255;

/// A preamble, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preamble {
    /// Destination that the client asked an explicit proxy for.
    pub target: Option<Target>,
    /// The proxy's refusal.
    pub refusal: Option<Refusal>,
    /// The client's address by a PROXY protocol header.
    pub told_client: Option<SocketAddr>,
    /// Whether the proxy closed between its consent and the ClientHello.
    pub closed_before_hello: bool,
}

/// Destination that a client asks an explicit proxy for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A proxy's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Status code of an HTTP response to CONNECT (RFC 9110 §9.3.6).
    Http(u16),
    /// Reply code of SOCKS5 (RFC 1928 §6).
    Socks(u8),
    /// Reply code of SOCKS4.
    Socks4(u8),
    /// None of the client's SOCKS5 methods is acceptable (RFC 1928 §3).
    SocksMethods,
    /// User name and password were refused (RFC 1929).
    SocksPassword,
}

/// A preamble of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreambleReport {
    /// Key of the flow, endpoints in order.
    pub key: FlowKey,
    /// Index of the client among the key's endpoints.
    pub client_endpoint: u8,
    /// VLAN IDs, outermost first.
    pub vlan: [u16; 2],
    /// Time of the first byte, nanoseconds on the source's clock.
    pub began_ns: u64,
    /// Time of the last, likewise.
    pub time_ns: u64,
    /// Time when the flow began, if its ClientHello came before the preamble's end.
    pub flow_began_ns: Option<u64>,
    /// The preamble.
    pub preamble: Preamble,
}

impl Target {
    /// Reads `host:port`, with an IPv6 address in brackets.
    ///
    /// ```
    /// use detector_user::flow::preamble::Target;
    ///
    /// let target = Target::parse("[2001:db8::1]:443").unwrap();
    /// assert_eq!((target.host.as_str(), target.port), ("2001:db8::1", 443));
    /// assert_eq!(target.to_string(), "[2001:db8::1]:443");
    /// ```
    pub fn parse(authority: &str) -> Option<Self> {
        let (host, port) = authority.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        Self::new(host, port.parse().ok()?)
    }

    /// Makes a target of a host that can be shown; `None` of another.
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let shown = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:*%".contains(&byte);
        let fits = !host.is_empty() && host.len() <= HOST_MAX && host.bytes().all(shown);
        fits.then(|| Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Returns its address; `None` of a name.
    pub fn address(&self) -> Option<SocketAddr> {
        let ip = self.host.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), self.port))
    }

    /// Whether it is a name, not an address.
    pub fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.parse::<Ipv6Addr>().is_ok() {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Refusal {
    /// Whether a client usually comes again with credentials.
    pub const fn asks_for_credentials(self) -> bool {
        matches!(self, Self::Http(407))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => {
                write!(f, "HTTP status {status}")?;
                reason(*status).map_or(Ok(()), |reason| write!(f, " ({reason})"))
            }
            Self::Socks(code) => write!(f, "SOCKS5 reply {code} ({})", reply(*code)),
            Self::Socks4(code) => write!(f, "SOCKS4 reply {code} ({})", reply4(*code)),
            Self::SocksMethods => f.write_str("no acceptable SOCKS5 method"),
            Self::SocksPassword => f.write_str("a refusal of user name and password (SOCKS5)"),
        }
    }
}

/// Returns the reason phrase of RFC 9110 §15 for a status that proxies use.
const fn reason(status: u16) -> Option<&'static str> {
    Some(match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => return None,
    })
}

/// Returns the meaning of a reply code of RFC 1928 §6.
const fn reply(code: u8) -> &'static str {
    match code {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unassigned",
    }
}

/// Returns the meaning of a reply code of SOCKS4.
const fn reply4(code: u8) -> &'static str {
    match code {
        91 => "request rejected or failed",
        92 => "no identd on the client",
        93 => "identd names another user",
        _ => "unassigned",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Api.Test:443", Some("api.test:443"))]
    #[case("198.51.100.7:8443", Some("198.51.100.7:8443"))]
    #[case("no-port.test", None)]
    #[case("\x1b[2J:443", None)]
    #[case(":443", None)]
    #[case("a.test:65536", None)]
    fn targets_can_be_shown(#[case] authority: &str, #[case] shown: Option<&str>) {
        let target = Target::parse(authority).map(|target| target.to_string());
        assert_eq!(target.as_deref(), shown);
    }
}
