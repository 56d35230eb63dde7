//! Community ID version 1: one name for a connection in every tool that sees it.
//!
//! Specification: <https://github.com/corelight/community-id-spec>. Zeek and Suricata write the
//! same, so that a verdict joins their rows.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// IP protocol number of TCP.
const TCP: u8 = 6;

/// Returns the Community ID v1 of a TCP connection, `1:` and the Base64 of a SHA-1. Both directions
/// of a connection have the same. `seed` keeps networks with the same addresses apart; tools use 0
/// unless told otherwise.
#[must_use]
pub fn community_id_v1(seed: u16, client: SocketAddr, server: SocketAddr) -> String {
    let (client, server) = (Endpoint::of(client), Endpoint::of(server));
    let (low, high) = if client <= server {
        (client, server)
    } else {
        (server, client)
    };
    let mut hash = Sha1::new_with_prefix(seed.to_be_bytes());
    low.hash_address(&mut hash);
    high.hash_address(&mut hash);
    hash.update([TCP, 0]);
    hash.update(low.port.to_be_bytes());
    hash.update(high.port.to_be_bytes());
    format!("1:{}", STANDARD.encode(hash.finalize()))
}

/// Ordered as the specification orders: by the address's bytes, then by port.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    ip: IpAddr,
    port: u16,
}

impl Endpoint {
    fn of(address: SocketAddr) -> Self {
        Self {
            ip: address.ip(),
            port: address.port(),
        }
    }

    /// Hashes an address in network byte order, 4 or 16 bytes.
    fn hash_address(&self, hash: &mut Sha1) {
        match self.ip {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // The specification's baseline, Zeek's own test, and the reference implementation's answers.
    #[rstest]
    #[case(
        0,
        "128.232.110.120:34855",
        "66.35.250.204:80",
        "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
    )]
    #[case(
        1,
        "128.232.110.120:34855",
        "66.35.250.204:80",
        "1:3V71V58M3Ksw/yuFALMcW0LAHvc="
    )]
    #[case(0, "1.2.3.4:1122", "5.6.7.8:3344", "1:wCb3OG7yAFWelaUydu0D+125CLM=")]
    #[case(1, "1.2.3.4:1122", "5.6.7.8:3344", "1:HhA1B+6CoLbiKPEs5nhNYN4XWfk=")]
    #[case::by_value_not_by_text(
        0,
        "9.255.0.1:443",
        "10.0.0.1:443",
        "1:XeK1CJ2A2Y66ZF1u6m3v4L6b894="
    )]
    #[case::same_address(0, "10.0.0.1:10", "10.0.0.1:2", "1:mG7gJaWjli7ZxYEyMgjL/0J10+M=")]
    #[case::same_endpoint(1, "10.0.0.1:7", "10.0.0.1:7", "1:aucgNsfBpjWo+4WnvoikuKk6c7Q=")]
    #[case::ipv6(
        0,
        "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943",
        "[2607:f8b0:400c:c03::1a]:25",
        "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="
    )]
    #[case::ipv6_seed(
        1,
        "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943",
        "[2607:f8b0:400c:c03::1a]:25",
        "1:eJYTW6AOzFLlSUoESovMjnu7rMw="
    )]
    #[case::ipv6_same_address(
        0,
        "[fe80::1]:50000",
        "[fe80::1]:443",
        "1:mSdxKfJUI5SN6jhn99b3QChJ+30="
    )]
    #[case::mapped(
        0,
        "[::ffff:10.0.0.1]:50000",
        "[::ffff:10.0.0.2]:443",
        "1:IMvvWE2ukdlRF5uMwDlRy4U4wDo="
    )]
    fn matches_the_reference(
        #[case] seed: u16,
        #[case] client: SocketAddr,
        #[case] server: SocketAddr,
        #[case] expected: &str,
    ) {
        assert_eq!(community_id_v1(seed, client, server), expected);
        assert_eq!(community_id_v1(seed, server, client), expected);
    }
}
