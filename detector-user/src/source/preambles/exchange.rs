//! A client's request to an explicit proxy and the proxy's answer: HTTP CONNECT, SOCKS4 and SOCKS5.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::flow::preamble::{Refusal, Target};

/// Progress of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// More bytes are to come. The request's target and length, if it is whole.
    Pending(Option<(Target, usize)>),
    /// The proxy consented.
    Accepted {
        /// The request's target.
        target: Target,
        /// Bytes of both sides that belong to the exchange: client, server.
        lengths: [usize; 2],
    },
    /// The proxy refused.
    Refused {
        /// The request's target; SOCKS5 may refuse before it is told.
        target: Option<Target>,
        /// The refusal.
        refusal: Refusal,
    },
    /// It is no such exchange.
    Other,
}

const SOCKS4: u8 = 4;
const GRANTED: u8 = 90;
const SOCKS5: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

/// Whether a client's first bytes may begin a request to a proxy.
pub(super) fn may_begin(payload: &[u8]) -> bool {
    let is_socks4 = || matches!(socks4_request(payload), Some((_, len)) if len == payload.len());
    payload.starts_with(b"CONNECT ") || is_socks_greeting(payload) || is_socks4()
}

fn is_socks_greeting(payload: &[u8]) -> bool {
    match payload {
        [SOCKS5, count, methods @ ..] => *count > 0 && methods.len() == usize::from(*count),
        _ => false,
    }
}

/// Reads both sides' bytes from the first on.
pub(super) fn read(client: &[u8], server: &[u8]) -> Exchange {
    let exchange = match client.first() {
        Some(&SOCKS5) => socks5(client, server),
        Some(&SOCKS4) => socks4(client, server),
        _ => http(client, server),
    };
    exchange.unwrap_or(Exchange::Pending(None))
}

/// Parses an exchange in HTTP; `None` while bytes are missing, as in all functions below.
fn http(client: &[u8], server: &[u8]) -> Option<Exchange> {
    let request = head_len(client)?;
    let Some(target) = connect_target(client) else {
        return Some(Exchange::Other);
    };
    let mut at = 0;
    loop {
        let rest = server.get(at..).unwrap_or_default();
        let Some(len) = head_len(rest) else {
            return Some(Exchange::Pending(Some((target, request))));
        };
        let Some(status) = status(rest) else {
            return Some(Exchange::Other);
        };
        at += len;
        match status {
            100..200 => {}
            200..300 => {
                return Some(Exchange::Accepted {
                    target,
                    lengths: [request, at],
                });
            }
            _ => {
                return Some(Exchange::Refused {
                    target: Some(target),
                    refusal: Refusal::Http(status),
                });
            }
        }
    }
}

/// Returns the length of an HTTP message's head with its empty line.
fn head_len(message: &[u8]) -> Option<usize> {
    let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    Some(end + 4)
}

fn connect_target(request: &[u8]) -> Option<Target> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_connect = method == "CONNECT" && version.starts_with("HTTP/1.");
    Target::parse(target).filter(|_| is_connect && words.next().is_none())
}

fn status(response: &[u8]) -> Option<u16> {
    let rest = response.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

/// Parses SOCKS4 and 4A; the request is whole once it may begin.
fn socks4(client: &[u8], server: &[u8]) -> Option<Exchange> {
    let (target, request) = socks4_request(client)?;
    let Some(&[version, code, ..]) = server.first_chunk::<8>() else {
        return Some(Exchange::Pending(Some((target, request))));
    };
    Some(match (version, code) {
        (0, GRANTED) => Exchange::Accepted {
            target,
            lengths: [request, 8],
        },
        (0, 91..=93) => refused(Some(target), Refusal::Socks4(code)),
        _ => Exchange::Other,
    })
}

/// Returns target and length of a SOCKS4 request to connect; of an address 0.0.0.x the name follows
/// (4A).
fn socks4_request(client: &[u8]) -> Option<(Target, usize)> {
    let [SOCKS4, CONNECT, port @ .., _, _, _, _] = client.first_chunk::<8>()? else {
        return None;
    };
    let address = *client.get(4..)?.first_chunk::<4>()?;
    let end = |from: usize| {
        let rest = client.get(from..)?;
        Some(from + rest.iter().position(|byte| *byte == 0)?)
    };
    let user_end = end(8)?;
    let port = u16::from_be_bytes(*port.first_chunk()?);
    if matches!(address, [0, 0, 0, last] if last != 0) {
        let name_end = end(user_end + 1)?;
        let name = std::str::from_utf8(client.get(user_end + 1..name_end)?).ok()?;
        return Some((Target::new(name, port)?, name_end + 1));
    }
    let host = Ipv4Addr::from(address).to_string();
    Some((Target::new(&host, port)?, user_end + 1))
}

fn socks5(client: &[u8], server: &[u8]) -> Option<Exchange> {
    let mut client_at = 2 + usize::from(*client.get(1)?);
    let mut server_at = 2;
    let [SOCKS5, method] = *server.first_chunk::<2>()? else {
        return Some(Exchange::Other);
    };
    match method {
        NO_AUTHENTICATION => {}
        PASSWORD => {
            client_at += password_len(client.get(client_at..)?)?;
            let [_, status] = *server.get(server_at..)?.first_chunk::<2>()?;
            server_at += 2;
            if status != 0 {
                return Some(refused(None, Refusal::SocksPassword));
            }
        }
        NO_METHOD => return Some(refused(None, Refusal::SocksMethods)),
        _ => return Some(Exchange::Other),
    }
    let request = client.get(client_at..)?;
    let [SOCKS5, command, _] = *request.first_chunk::<3>()? else {
        return Some(Exchange::Other);
    };
    if command != CONNECT {
        return Some(Exchange::Other);
    }
    let (address, len) = socks_address(request.get(3..)?)?;
    let Some(target) = address else {
        return Some(Exchange::Other);
    };
    client_at += 3 + len;
    let reply = server.get(server_at..).unwrap_or_default();
    let Some(&[SOCKS5, code, _]) = reply.first_chunk::<3>() else {
        return Some(Exchange::Pending(Some((target, client_at))));
    };
    if code != 0 {
        return Some(refused(Some(target), Refusal::Socks(code)));
    }
    let Some((_, len)) = socks_address(reply.get(3..).unwrap_or_default()) else {
        return Some(Exchange::Pending(Some((target, client_at))));
    };
    Some(Exchange::Accepted {
        target,
        lengths: [client_at, server_at + 3 + len],
    })
}

fn refused(target: Option<Target>, refusal: Refusal) -> Exchange {
    Exchange::Refused { target, refusal }
}

/// Returns the length of a request of RFC 1929.
fn password_len(bytes: &[u8]) -> Option<usize> {
    let user = usize::from(*bytes.get(1)?);
    let password = usize::from(*bytes.get(2 + user)?);
    Some(3 + user + password)
}

/// Address and port of SOCKS5 (RFC 1928 §5), and their length; no target if it cannot be shown.
fn socks_address(bytes: &[u8]) -> Option<(Option<Target>, usize)> {
    let (kind, rest) = bytes.split_first()?;
    let (host, len) = match kind {
        1 => (Ipv4Addr::from(*rest.first_chunk::<4>()?).to_string(), 4),
        4 => (Ipv6Addr::from(*rest.first_chunk::<16>()?).to_string(), 16),
        3 => {
            let (len, name) = rest.split_first()?;
            let name = name.get(..usize::from(*len))?;
            let name = std::str::from_utf8(name).unwrap_or_default();
            (name.to_owned(), 1 + usize::from(*len))
        }
        _ => return Some((None, 0)),
    };
    let port = u16::from_be_bytes(*rest.get(len..)?.first_chunk::<2>()?);
    Some((Target::new(&host, port), 1 + len + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const REQUEST: &[u8] = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
    const SOCKS: &[u8] = b"\x05\x02\x00\x02\x05\x01\x00\x03\x06a.test\x01\xbb";
    const LOGIN: &[u8] = b"\x05\x01\x02\x01\x02me\x02pw\x05\x01\x00\x01\xc6\x33\x64\x07\x01\xbb";
    const SOCKS4: &[u8] = b"\x04\x01\x01\xbb\xc6\x33\x64\x07me\x00";
    const SOCKS4A: &[u8] = b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00a.test\x00";
    const BOUND: &[u8] = b"\x00\x01\x00\x00\x00\x00\x00\x00";

    fn target(host: &str) -> Target {
        Target::new(host, 443).unwrap()
    }

    #[rstest]
    #[case::consent(REQUEST, b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), "a.test", [49, 19])]
    #[case::after_a_continue(REQUEST, b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_vec(), "a.test", [49, 37])]
    #[case::socks(SOCKS, [b"\x05\x00\x05\x00", BOUND].concat(), "a.test", [17, 12])]
    #[case::socks4(SOCKS4, b"\x00\x5a\x01\xbb\x00\x00\x00\x00".to_vec(), "198.51.100.7", [11, 8])]
    #[case::socks4a(SOCKS4A, b"\x00\x5a\x01\xbb\x00\x00\x00\x00".to_vec(), "a.test", [16, 8])]
    #[case::socks_login(LOGIN, [b"\x05\x02\x01\x00\x05\x00", BOUND].concat(), "198.51.100.7", [20, 14])]
    fn consent(
        #[case] client: &[u8],
        #[case] server: Vec<u8>,
        #[case] host: &str,
        #[case] lengths: [usize; 2],
    ) {
        let target = target(host);
        assert_eq!(
            read(client, &server),
            Exchange::Accepted { target, lengths }
        );
    }

    #[rstest]
    #[case::forbidden(REQUEST, b"HTTP/1.1 403 Forbidden\r\n\r\n", true, Refusal::Http(403))]
    #[case::unreachable(SOCKS, b"\x05\x00\x05\x04\x00\x01\x00\x00", true, Refusal::Socks(4))]
    #[case::socks4a(
        SOCKS4A,
        b"\x00\x5b\x00\x00\x00\x00\x00\x00",
        true,
        Refusal::Socks4(91)
    )]
    #[case::no_method(SOCKS, b"\x05\xff", false, Refusal::SocksMethods)]
    #[case::wrong_password(LOGIN, b"\x05\x02\x01\x01", false, Refusal::SocksPassword)]
    fn refusals(
        #[case] client: &[u8],
        #[case] server: &[u8],
        #[case] named: bool,
        #[case] refusal: Refusal,
    ) {
        let target = named.then(|| target("a.test"));
        assert_eq!(read(client, server), Exchange::Refused { target, refusal });
    }

    #[rstest]
    #[case(b"CONNECT a.test:443 HTTP/1.1\r\nHost", b"")]
    #[case(b"\x05\x02\x00", b"")]
    #[case(SOCKS, b"\x05")]
    fn pending(#[case] client: &[u8], #[case] server: &[u8]) {
        assert_eq!(read(client, server), Exchange::Pending(None));
    }

    #[test]
    fn a_request_is_known_before_its_answer() {
        let pending = |len| Exchange::Pending(Some((target("a.test"), len)));
        assert_eq!(read(REQUEST, b"HTTP/1.1 200"), pending(49));
        assert_eq!(read(SOCKS, b"\x05\x00"), pending(17));
        assert_eq!(read(SOCKS4A, b"\x00\x5a"), pending(16));
    }

    #[test]
    fn a_socks4_request_is_whole_in_its_segment() {
        assert!(may_begin(SOCKS4) && may_begin(SOCKS4A));
        assert!(!may_begin(&SOCKS4[..SOCKS4.len() - 1]));
        assert!(!may_begin(&[SOCKS4A, b"x"].concat()));
    }

    #[rstest]
    #[case(b"CONNECT /path HTTP/1.1\r\n\r\n", b"HTTP/1.1 403 x\r\n\r\n")]
    #[case(REQUEST, b"220 smtp\r\n\r\n")]
    #[case(SOCKS, b"\x04\x00")]
    fn other_exchanges(#[case] client: &[u8], #[case] server: &[u8]) {
        assert_eq!(read(client, server), Exchange::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(
            begin in prop_oneof![
                Just(&b""[..]), Just(REQUEST), Just(SOCKS), Just(LOGIN), Just(SOCKS4), Just(SOCKS4A)
            ],
            client in proptest::collection::vec(any::<u8>(), 0..40),
            server in proptest::collection::vec(any::<u8>(), 0..40),
            socks: bool,
        ) {
            let server = if socks { [&[5, 0, 5][..], &server].concat() } else { server };
            let _ = read(&[begin, &client].concat(), &server);
        }
    }
}
