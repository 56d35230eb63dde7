//! Parties of a connection, and whether one of them is an interceptor.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::named::named;

/// An address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// IPv4 or IPv6 address.
    pub ip: IpAddr,
    /// TCP port.
    pub port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: address.ip(),
            port: address.port(),
        }
    }
}

impl fmt::Display for Endpoint {
    /// Writes `192.0.2.1:443` or `[2001:db8::1]:443`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

named! {
    /// The author of an alert, a FIN or a reset.
    pub enum Party {
        /// The sender of the ClientHello.
        Client = "client",
        /// Its addressee, or the interceptor that answers in its place.
        Server = "server",
        /// A device between the gateway and a peer.
        Middlebox = "middlebox",
        /// The gateway itself.
        Gateway = "gateway",
        /// The facts do not tell.
        Unknown = "unknown",
    }
}

named! {
    /// Whether an interceptor terminated the connection.
    pub enum Intercepted {
        /// Shown by the issuer, by two legs, or stated by the operator.
        Yes = "yes",
        /// Shown not to be.
        No = "no",
        /// Nothing shows either.
        Unknown = "unknown",
    }
}
