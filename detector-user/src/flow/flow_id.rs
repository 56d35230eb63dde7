//! The identity of a flow.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use detector_common::flow::FlowKey;

/// Identity of a flow: its key and the time when it began, nanoseconds on the source's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowId {
    pub(crate) key: FlowKey,
    pub(crate) started_ns: u64,
}

impl FlowId {
    /// Returns an endpoint by its number in the key.
    #[must_use]
    pub fn endpoint(&self, number: u8) -> SocketAddr {
        let index = usize::from(number & 1);
        let address = self.key.addresses.get(index).copied().unwrap_or_default();
        let port = self.key.ports.get(index).copied().unwrap_or_default();
        let ip = match Ipv6Addr::from(address.octets()) {
            ip if ip.to_ipv4_mapped().is_some() => IpAddr::V6(ip).to_canonical(),
            ip => IpAddr::V6(ip),
        };
        SocketAddr::new(ip, port)
    }
}

impl Hash for FlowId {
    /// Hashes in few large steps: each observation and chunk looks its flow up.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [one, other] = self.key.addresses;
        let [one_port, other_port] = self.key.ports.map(u64::from);
        state.write_u128(u128::from_ne_bytes(one.octets()));
        state.write_u128(u128::from_ne_bytes(other.octets()));
        state.write_u64(u64::from(self.key.interface) << 32 | one_port << 16 | other_port);
        state.write_u64(self.started_ns);
    }
}
