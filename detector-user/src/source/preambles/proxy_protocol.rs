//! PROXY protocol headers, versions 1 and 2 (haproxy's doc/proxy-protocol.txt).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1.
const LINE_MAX: usize = 107;

/// Returns the length of the header at the start of `payload`, and the client's address that it
/// tells.
pub(super) fn header(payload: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    if payload.starts_with(b"PROXY ") {
        version1(payload)
    } else if payload.starts_with(SIGNATURE) {
        version2(payload)
    } else {
        None
    }
}

fn version1(payload: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    let line = payload.get(..LINE_MAX.min(payload.len()))?;
    let end = line.windows(2).position(|bytes| bytes == b"\r\n")?;
    let line = std::str::from_utf8(line.get(..end)?).ok()?;
    let mut words = line.split(' ').skip(1);
    let client = match words.next()? {
        "TCP4" | "TCP6" => {
            let ip: IpAddr = words.next()?.parse().ok()?;
            let port = words.nth(1)?.parse().ok()?;
            Some(SocketAddr::new(ip, port))
        }
        "UNKNOWN" => None,
        _ => return None,
    };
    Some((end + 2, client))
}

fn version2(payload: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    let rest = payload.get(SIGNATURE.len()..)?;
    let [command, family, high, low] = *rest.first_chunk::<4>()?;
    if command >> 4 != 2 {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    let addresses = rest.get(4..4 + len)?;
    let client = match (command & 15, family) {
        (1, 0x11) => {
            let ip = Ipv4Addr::from(*addresses.first_chunk::<4>()?);
            Some(SocketAddr::new(ip.into(), port(addresses, 8)?))
        }
        (1, 0x21) => {
            let ip = Ipv6Addr::from(*addresses.first_chunk::<16>()?);
            Some(SocketAddr::new(ip.into(), port(addresses, 32)?))
        }
        _ => None,
    };
    Some((SIGNATURE.len() + 4 + len, client))
}

fn port(addresses: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(
        *addresses.get(at..)?.first_chunk::<2>()?,
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::ipv4(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n\x16".to_vec(), Some((41, Some("192.0.2.1:5000"))))]
    #[case::ipv6(b"PROXY TCP6 2001:db8::1 ::2 5000 443\r\n".to_vec(), Some((37, Some("[2001:db8::1]:5000"))))]
    #[case::unknown(b"PROXY UNKNOWN\r\n\x16".to_vec(), Some((15, None)))]
    #[case::no_end(b"PROXY TCP4 192.0.2.1 ".to_vec(), None)]
    #[case::binary([&SIGNATURE[..], b"\x21\x11\x00\x0e\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x01\xbbxx\x16"].concat(),
        Some((30, Some("192.0.2.1:5000"))))]
    #[case::local([&SIGNATURE[..], b"\x20\x00\x00\x00\x16"].concat(), Some((16, None)))]
    #[case::cut([&SIGNATURE[..], b"\x21\x11\x00\x0c\xc0"].concat(), None)]
    #[case::other(b"PROXIES".to_vec(), None)]
    fn headers(#[case] payload: Vec<u8>, #[case] read: Option<(usize, Option<&str>)>) {
        let read = read.map(|(len, client)| (len, client.map(|it| it.parse().unwrap())));
        assert_eq!(header(&payload), read);
    }
}
