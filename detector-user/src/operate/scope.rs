//! The connections that the operator wants judged.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// A filter of connections; by default all are judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Client networks; empty means any.
    pub clients: Vec<IpNet>,
    /// Server ports that are ignored.
    pub ports: Vec<u16>,
    /// Networks that are ignored, as client and as server.
    pub networks: Vec<IpNet>,
}

impl Scope {
    /// Whether a connection between these is judged.
    #[must_use]
    pub fn contains(&self, client: SocketAddr, server: SocketAddr) -> bool {
        let in_any = |networks: &[IpNet], address: IpAddr| {
            let address = address.to_canonical();
            networks.iter().any(|network| network.contains(&address))
        };
        (self.clients.is_empty() || in_any(&self.clients, client.ip()))
            && !self.ports.contains(&server.port())
            && !in_any(&self.networks, client.ip())
            && !in_any(&self.networks, server.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("10.1.2.3:40000", "192.0.2.1:443", true)]
    #[case("[::ffff:10.1.2.3]:40000", "192.0.2.1:443", true)]
    #[case("192.0.2.1:443", "10.1.2.3:40000", false)]
    #[case("10.1.2.3:22", "192.0.2.1:443", true)]
    #[case("10.1.2.3:40000", "192.0.2.1:22", false)]
    #[case("10.9.2.3:40000", "192.0.2.1:443", false)]
    #[case("10.1.2.3:40000", "[2001:db8::1]:443", false)]
    fn connections_are_in_or_out(
        #[case] client: SocketAddr,
        #[case] server: SocketAddr,
        #[case] expected: bool,
    ) {
        let networks = |given: &[&str]| given.iter().map(|it| it.parse().unwrap()).collect();
        let scope = Scope {
            clients: networks(&["10.0.0.0/8"]),
            ports: vec![22],
            networks: networks(&["10.9.0.0/16", "2001:db8::/32"]),
        };
        assert_eq!(scope.contains(client, server), expected);
        assert!(Scope::default().contains(client, server));
    }
}
