//! The server's address, and the settings of messages.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use hyper::Uri;

use crate::outlet::client_tls::ClientTlsFiles;
use crate::outlet::sink::SinkError;
use crate::verdict::named::named;

use super::NAME;

/// Maximum number of a name's addresses that are tried.
const ADDRESSES_MAX: usize = 4;

/// Settings of syslog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSettings {
    /// The server; `None`: verdicts are not sent.
    pub server: Option<SyslogServer>,
    /// Files of its TLS.
    pub tls: ClientTlsFiles,
    /// Facility of messages.
    pub facility: Facility,
    /// SD-ID of the verdict's fields.
    pub sd_id: String,
}

impl Default for SyslogSettings {
    fn default() -> Self {
        Self {
            server: None,
            tls: ClientTlsFiles::default(),
            facility: Facility::Daemon,
            sd_id: "tlswhy@32473".to_owned(),
        }
    }
}

/// Where messages go, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogServer {
    pub(super) transport: Transport,
    /// Name, or address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// How messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Udp, "udp"), (Self::Tcp, "tcp"), (Self::Tls, "tls")];

    /// Returns the port where none is given. RFC 6587 has none for TCP.
    const fn port(self) -> Option<u16> {
        match self {
            Self::Udp => Some(514),
            Self::Tcp => None,
            Self::Tls => Some(6514),
        }
    }

    /// Returns the maximum size of a message, bytes. A datagram of it fits a frame of Ethernet with IPv6
    /// and a little of a tunnel (RFC 5426 §3.2); in a stream, receivers should take it (RFC 5425 §4.3.1).
    pub(super) const fn message_max(self) -> usize {
        match self {
            Self::Udp => 1_400,
            Self::Tcp | Self::Tls => 8_192,
        }
    }
}

impl FromStr for SyslogServer {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{given:?} is no syslog server: {why}");
        let uri: Uri = given.parse().map_err(|error| wrong(&format!("{error}")))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let found = Transport::ALL.iter().find(|(_, name)| *name == scheme);
        let (transport, _) =
            *found.ok_or_else(|| wrong("it begins with udp://, tcp:// or tls://"))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || given.contains('@') {
            return Err(wrong("it is a host and a port"));
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().or(transport.port());
        let port = port.filter(|port| *port > 0);
        let port = port.ok_or_else(|| wrong("it lacks a port"))?;
        Ok(Self {
            transport,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for SyslogServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Transport::ALL.iter().find(|(it, _)| *it == self.transport);
        let scheme = named.map_or("", |(_, name)| name);
        let (host, port) = (&self.host, self.port);
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl SyslogServer {
    /// Resolves its name.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let found = (self.host.as_str(), self.port).to_socket_addrs()?;
        let found: Vec<_> = found.take(ADDRESSES_MAX).collect();
        if found.is_empty() {
            return Err(io::Error::other("its name has no address"));
        }
        Ok(found)
    }

    pub(super) fn unreachable(&self, source: io::Error) -> SinkError {
        SinkError::Unreachable {
            output: NAME,
            server: self.to_string(),
            source,
        }
    }
}

named! {
    /// A facility of syslog (RFC 5424 §6.2.1).
    pub enum Facility {
        /// 1: programs of users.
        User = "user",
        /// 3: system daemons.
        Daemon = "daemon",
        /// 4: security and authorization.
        Auth = "auth",
        /// 10: the same, of which only few may read.
        Authpriv = "authpriv",
        /// 16 to 23: of local use.
        Local0 = "local0",
        /// 17.
        Local1 = "local1",
        /// 18.
        Local2 = "local2",
        /// 19.
        Local3 = "local3",
        /// 20.
        Local4 = "local4",
        /// 21.
        Local5 = "local5",
        /// 22.
        Local6 = "local6",
        /// 23.
        Local7 = "local7",
    }
}

impl Facility {
    /// Returns its number.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Daemon => 3,
            Self::Auth => 4,
            Self::Authpriv => 10,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }

    /// Returns the facility of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// Whether text may be an SD-ID of one's own: `name@number`, at most 32 characters (RFC 5424 §6.3.2,
/// §7.2.2).
#[must_use]
pub fn is_sd_id(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"=]\"@".contains(&byte))
    };
    let is_number = |number: &str| {
        let digit = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        number.starts_with(|first: char| first.is_ascii_digit()) && number.bytes().all(digit)
    };
    text.len() <= 32
        && text
            .split_once('@')
            .is_some_and(|(name, number)| is_name(name) && is_number(number))
}
