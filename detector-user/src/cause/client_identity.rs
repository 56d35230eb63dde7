//! The identity under which facts about a client are kept: its address, or a keyed hash of it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use ring::hmac::{HMAC_SHA256, Key, sign};

/// First byte of hashed identities: that of multicast addresses (RFC 4291 §2.7), which no client has.
const HASHED: u8 = 0xff;
/// Octets of an IPv6 address that are its network's (RFC 4291 §2.5.4).
const NETWORK: usize = 8;

/// Makes identities of clients' addresses.
#[derive(Clone, Debug, Default)]
pub enum ClientIdentity {
    /// The address as it is.
    #[default]
    Clear,
    /// HMAC-SHA-256 (RFC 2104) in the shape of a multicast address: 56 bits of the network's, 64 bits of the address's. A
    /// network is an IPv6 address's /64, in which one host may take any number of addresses, or an IPv4 address.
    Hashed(Box<Key>),
}

impl ClientIdentity {
    /// Creates identities that only those who know the key can join to an address.
    #[must_use]
    pub fn hashed(key: &[u8]) -> Self {
        Self::Hashed(Box::new(Key::new(HMAC_SHA256, key)))
    }

    /// Returns the identity of a client. That of an identity is itself.
    #[must_use]
    pub fn of(&self, client: IpAddr) -> IpAddr {
        match self {
            Self::Hashed(key) if !is_hashed(client) => {
                let [network, address] = match client {
                    IpAddr::V4(address) => [sign(key, &address.octets()); 2],
                    IpAddr::V6(address) => {
                        let octets = address.octets();
                        [sign(key, &octets[..NETWORK]), sign(key, &octets)]
                    }
                };
                let mut octets = [HASHED; 16];
                let network = network.as_ref().iter().take(NETWORK - 1);
                let digests = network.chain(address.as_ref());
                for (octet, byte) in octets.iter_mut().skip(1).zip(digests) {
                    *octet = *byte;
                }
                Ipv6Addr::from(octets).into()
            }
            _ => client,
        }
    }

    /// Returns the name of the kind, which is the same for all who make the same identities: `clear`, or `hashed:`
    /// and a check value of the key.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Clear => "clear".to_owned(),
            Self::Hashed(key) => {
                let mut kind = "hashed:".to_owned();
                let digest = sign(key, b"tlswhy clients");
                for byte in digest.as_ref().iter().take(4) {
                    // Into a string nothing fails.
                    let _ = write!(kind, "{byte:02x}");
                }
                kind
            }
        }
    }
}

/// Whether an address is the identity of a client whose address is not known.
#[must_use]
pub const fn is_hashed(client: IpAddr) -> bool {
    match client {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.octets()[0] == HASHED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_makes_one_identity_that_stays_and_tells_no_address() {
        let identity = ClientIdentity::hashed(b"a key of the fleet");
        let other = ClientIdentity::hashed(b"another key");
        let clients: [IpAddr; 3] =
            ["10.0.0.1", "10.0.0.2", "2001:db8::1"].map(|it| it.parse().unwrap());
        let hashed = clients.map(|client| identity.of(client));
        assert_eq!(hashed, clients.map(|client| identity.of(client)));
        assert_eq!(hashed, hashed.map(|client| identity.of(client)));
        assert!(hashed.iter().all(|it| is_hashed(*it)));
        assert!(hashed[0] != hashed[1] && hashed[1] != hashed[2]);
        assert_ne!(hashed[0], other.of(clients[0]));
        assert_ne!(identity.kind(), other.kind());
        assert_eq!(
            clients.map(|client| ClientIdentity::Clear.of(client)),
            clients
        );
    }

    /// Lists of exclusions count a network's clients once.
    #[test]
    fn addresses_of_one_network_have_one_identity_in_the_upper_half() {
        let identity = ClientIdentity::hashed(b"a key of the fleet");
        let [one, other, elsewhere] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|it| {
            let IpAddr::V6(hashed) = identity.of(it.parse().unwrap()) else {
                panic!("{it}");
            };
            hashed.segments()
        });
        assert_eq!(one[..4], other[..4]);
        assert_ne!(one[4..], other[4..]);
        assert_ne!(one[..4], elsewhere[..4]);
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_hash_is_the_one_of_the_standard() {
        let digest = sign(
            &Key::new(HMAC_SHA256, b"Jefe"),
            b"what do ya want for nothing?",
        );
        assert_eq!(digest.as_ref()[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}
