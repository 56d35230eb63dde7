//! Addresses of explicit proxies, learned from requests to them or named by the operator.

use std::net::IpAddr;

use detector_common::flow::{Address, FlowKey};
use hashlink::LruCache;

/// Maximum learned proxies; the least recent are evicted.
const PROXIES_MAX: usize = 1024;

/// Addresses at which requests to proxies end.
pub(super) struct Proxies {
    /// The value tells whether another host asked it: then its own connections are a proxy's.
    learned: LruCache<Address, bool>,
    named: Vec<Address>,
}

impl Default for Proxies {
    fn default() -> Self {
        Self {
            learned: LruCache::new(PROXIES_MAX),
            named: Vec::new(),
        }
    }
}

impl Proxies {
    /// Replaces the addresses that the operator named.
    pub(super) fn set_named(&mut self, named: &[IpAddr]) {
        self.named = named.iter().map(|ip| address(*ip)).collect();
    }

    /// Records a client's request that a proxy consented to.
    pub(super) fn record(&mut self, proxy: IpAddr, client: IpAddr) {
        let proxy = address(proxy);
        let by_another = self.learned.get(&proxy).is_some_and(|known| *known);
        let by_another = by_another || proxy != address(client);
        self.learned.insert(proxy, by_another);
    }

    /// Whether the operator named this address.
    pub(super) fn is_named(&self, ip: IpAddr) -> bool {
        self.named.contains(&address(ip))
    }

    /// Whether other hosts' requests end at this address.
    pub(super) fn is_learned(&self, ip: IpAddr) -> bool {
        !self.learned.is_empty() && self.learned.peek(&address(ip)).is_some_and(|it| *it)
    }

    /// Whether a flow may be a leg of a connection that its own tap sees twice: one to or from a proxy, or
    /// over loopback, where relays listen.
    pub(super) fn may_relay(&self, key: &FlowKey) -> bool {
        let is_proxy = |it: &Address| self.learned.contains_key(it) || self.named.contains(it);
        let none = self.learned.is_empty() && self.named.is_empty();
        key.addresses.iter().all(is_loopback) || !none && key.addresses.iter().any(is_proxy)
    }
}

fn is_loopback(address: &Address) -> bool {
    let octets = address.octets();
    let [v4 @ .., _, _, _] = &octets;
    *v4 == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127] || octets == LOOPBACK
}

const LOOPBACK: [u8; 16] = std::net::Ipv6Addr::LOCALHOST.octets();

fn address(ip: IpAddr) -> Address {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Address::from_ipv4(ip.into()),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            Address::from_halves((bits >> 64) as u64, bits as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(addresses: [&str; 2]) -> FlowKey {
        FlowKey {
            addresses: addresses.map(|it| address(it.parse().unwrap())),
            ..FlowKey::default()
        }
    }

    #[test]
    fn a_proxy_is_learned_by_the_requests_of_others() {
        let mut proxies = Proxies::default();
        let [proxy, other] = ["192.0.2.1", "192.0.2.9"].map(|ip| ip.parse().unwrap());
        assert!(!proxies.may_relay(&key(["192.0.2.1", "198.51.100.7"])));
        // Its own host's requests: apps there may go elsewhere without it.
        proxies.record(proxy, proxy);
        assert!(!proxies.is_learned(proxy));
        assert!(proxies.may_relay(&key(["198.51.100.7", "192.0.2.1"])));
        proxies.record(proxy, other);
        proxies.record(proxy, proxy);
        assert!(proxies.is_learned(proxy));
        assert!(!proxies.is_learned(other));
        assert!(!proxies.may_relay(&key(["198.51.100.7", "192.0.2.9"])));
    }

    #[test]
    fn loopback_may_relay_on_both_ends() {
        let proxies = Proxies::default();
        assert!(proxies.may_relay(&key(["127.0.0.1", "127.0.1.5"])));
        assert!(proxies.may_relay(&key(["::1", "::1"])));
        assert!(!proxies.may_relay(&key(["127.0.0.1", "192.0.2.1"])));
        assert!(!proxies.may_relay(&key(["::2", "::1"])));
    }

    #[test]
    fn memory_is_bounded() {
        let mut proxies = Proxies::default();
        for number in 0..2 * PROXIES_MAX as u32 {
            let ip = IpAddr::V4(number.into());
            proxies.record(ip, [192, 0, 2, 1].into());
        }
        assert_eq!(proxies.learned.len(), PROXIES_MAX);
    }
}
