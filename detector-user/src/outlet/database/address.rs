//! Addresses as the database keeps them: 16 bytes in network order, so that a network is a range.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Returns an address's bytes; an IPv4 address is mapped (RFC 4291 §2.5.5.2).
pub(super) const fn stored(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Returns the address of such bytes.
pub(super) fn restored(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// Returns the lowest and the highest address of a network.
pub(super) fn range(network: IpNet) -> ([u8; 16], [u8; 16]) {
    let (first, last) = match network {
        IpNet::V4(network) => (network.network().into(), network.broadcast().into()),
        IpNet::V6(network) => (network.network().into(), network.broadcast().into()),
    };
    (stored(first), stored(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("10.0.0.0/8", "10.255.1.2", true)]
    #[case("10.0.0.0/8", "11.0.0.0", false)]
    #[case("10.1.2.3/32", "10.1.2.3", true)]
    #[case("0.0.0.0/0", "255.255.255.255", true)]
    #[case("0.0.0.0/0", "2001:db8::1", false)]
    #[case("2001:db8::/32", "2001:db8:ffff::1", true)]
    #[case("2001:db8::/32", "2001:db9::", false)]
    fn a_network_is_a_range(#[case] network: &str, #[case] address: &str, #[case] is_in: bool) {
        let (first, last) = range(network.parse().unwrap());
        let address: IpAddr = address.parse().unwrap();
        let bytes = stored(address);
        assert_eq!((first..=last).contains(&bytes), is_in);
        assert_eq!(restored(bytes), address);
    }
}
