//! JA4, the fingerprint of a TLS client (FoxIO, technical_details/JA4.md; BSD-licensed).
//!
//! `t13d1516h2_8daaf6152771_02713d6af862`: transport, highest version, SNI or not, counts of
//! cipher suites and extensions, first ALPN; hash of the sorted suites; hash of the sorted
//! extensions and the signature algorithms in order.

use std::cell::RefCell;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::extensions::{ALPN, SERVER_NAME, is_grease};
use crate::flow::tls::memo::{Memo, remembered};

/// The hash of an empty list.
const EMPTY: &str = "000000000000";
/// Digits of a hash that are kept.
const HASH_DIGITS: usize = 12;
const JA4_LEN: usize = 36;

thread_local! {
    /// Hashes of lists, of all lengths that clients send.
    static HASHES: RefCell<Memo<String>> = RefCell::new(Memo::new(256, 1_024));
}

/// Returns the JA4 of a ClientHello over TCP; `None` if not all of it came.
///
/// Signature algorithms are those of the extension of that name; some tools built on tshark append
/// those of `signature_algorithms_cert` (RFC 8446 §4.2.3), which the specification does not ask for.
///
/// ```
/// use detector_user::flow::tls::client_hello::ClientHello;
/// use detector_user::flow::tls::ja4::ja4;
///
/// let mut hello = ClientHello::default();
/// hello.supported_versions = vec![0x0304];
/// hello.cipher_suites = vec![0x1301, 0xc02f];
/// hello.extensions = vec![43, 13];
/// hello.signature_algorithms = vec![0x0403];
/// assert_eq!(ja4(&hello), None, "it is not complete");
///
/// hello.complete = true;
/// assert_eq!(ja4(&hello).unwrap(), "t13i020200_c1929292aa6b_3953dc75acc4");
/// ```
pub fn ja4(hello: &ClientHello) -> Option<String> {
    hello.complete.then(|| {
        let compute = || fingerprint(hello, hash);
        let known = hello.ja4(compute).map(str::to_owned);
        known.unwrap_or_else(compute)
    })
}

/// Returns JA4_r: the same with the lists in place of their hashes.
pub fn ja4_raw(hello: &ClientHello) -> Option<String> {
    hello.complete.then(|| fingerprint(hello, str::to_owned))
}

fn fingerprint(hello: &ClientHello, shown: impl Fn(&str) -> String) -> String {
    let mut suites = without_grease(&hello.cipher_suites);
    let mut extensions = without_grease(&hello.extensions);
    let mut ja4 = String::with_capacity(JA4_LEN);
    let named = extensions.contains(&SERVER_NAME);
    let [first, last] = alpn(hello.first_alpn);
    // Writing to a String does not fail.
    let _ = write!(
        ja4,
        "t{}{}{:02}{:02}{first}{last}",
        version(hello.highest_version()),
        if named { 'd' } else { 'i' },
        suites.len().min(99),
        extensions.len().min(99),
    );
    suites.sort_unstable();
    extensions.retain(|kind| ![SERVER_NAME, ALPN].contains(kind));
    extensions.sort_unstable();
    for (sorted, in_order) in [
        (suites.as_slice(), &[][..]),
        (extensions.as_slice(), hello.signature_algorithms.as_slice()),
    ] {
        ja4.push('_');
        ja4.push_str(&shown(&list(sorted, in_order)));
    }
    ja4
}

fn without_grease(values: &[u16]) -> Vec<u16> {
    let mut kept = values.to_vec();
    kept.retain(|value| !is_grease(*value));
    kept
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// Returns the first and last character of the first ALPN protocol; where one is not alphanumeric,
/// first and last hexadecimal digit; `00` without ALPN.
fn alpn(ends: Option<[u8; 2]>) -> [char; 2] {
    let Some([first, last]) = ends else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)];
    }
    [digit(u16::from(first >> 4)), digit(u16::from(last & 0x0f))]
}

/// Returns the text that is hashed: `002f,0035_0403`; empty if nothing is sorted.
fn list(sorted: &[u16], in_order: &[u16]) -> String {
    if sorted.is_empty() {
        return String::new();
    }
    let mut list = String::with_capacity(5 * (sorted.len() + in_order.len()));
    push_hex(&mut list, sorted);
    if !in_order.is_empty() {
        list.push('_');
        push_hex(&mut list, in_order);
    }
    list
}

fn push_hex(list: &mut String, values: &[u16]) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            list.push(',');
        }
        // Digit by digit: formatting would cost more than both hashes.
        for shift in [12, 8, 4, 0] {
            list.push(digit((value >> shift) & 0xf));
        }
    }
}

/// Returns a value below 16 as hexadecimal digit.
fn digit(value: u16) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0')
}

/// Returns the first twelve hexadecimal digits of SHA-256.
fn hash(text: &str) -> String {
    if text.is_empty() {
        return EMPTY.to_owned();
    }
    remembered(&HASHES, text.as_bytes(), compute_hash)
}

fn compute_hash(text: &[u8]) -> String {
    let digest = Sha256::digest(text);
    let mut hex = String::with_capacity(HASH_DIGITS);
    for byte in digest.iter().take(HASH_DIGITS / 2) {
        hex.push(digit(u16::from(byte >> 4)));
        hex.push(digit(u16::from(byte & 0x0f)));
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tls::tests::{alpn, client_hello, extension, list16, sni, supported_versions};
    use rstest::rstest;

    /// Cipher suites of Chrome, with GREASE before them.
    const CHROME_SUITES: [u16; 16] = [
        0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
        0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
    ];
    const CHROME_ALGORITHMS: [u16; 8] = [
        0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
    ];
    /// Extensions of Chrome as JA4.md lists them, with GREASE round them.
    const CHROME_EXTENSIONS: [u16; 18] = [
        0x1a1a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
        0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x5a5a,
    ];

    /// A TLS 1.3 hello with these suites, extensions and signature algorithms.
    fn hello(suites: &[u16], kinds: &[u16], algorithms: &[u16], protocol: &[u8]) -> ClientHello {
        let extensions: Vec<Vec<u8>> = kinds
            .iter()
            .map(|kind| match kind {
                0 => sni("example.com"),
                10 => extension(10, &list16(&[0x9a9a, 0x001d])),
                13 => extension(13, &list16(algorithms)),
                16 => alpn(&[protocol, b"http/1.1"]),
                43 => supported_versions(&[0x8a8a, 0x0304, 0x0303]),
                _ => extension(*kind, &[]),
            })
            .collect();
        ClientHello::parse(&client_hello(suites, &extensions)).unwrap()
    }

    fn chrome(kinds: &[u16]) -> String {
        ja4(&hello(&CHROME_SUITES, kinds, &CHROME_ALGORITHMS, b"h2")).unwrap()
    }

    fn without(kind: u16, instead: &[u16]) -> Vec<u16> {
        let kept = CHROME_EXTENSIONS.into_iter().filter(|k| *k != kind);
        kept.chain(instead.iter().copied()).collect()
    }

    /// Published by FoxIO: technical_details/JA4.md and the README's list of examples.
    #[rstest]
    #[case::specification(&CHROME_EXTENSIONS, "t13d1516h2_8daaf6152771_e5627efa2ab1")]
    #[case::with_ech(&without(0x15, &[0xfe0d]), "t13d1516h2_8daaf6152771_02713d6af862")]
    #[case::resuming(&without(0x15, &[0xfe0d, 0x29]), "t13d1517h2_8daaf6152771_b0da82dd1658")]
    #[case::by_address(&without(0, &[]), "t13i1515h2_8daaf6152771_e5627efa2ab1")]
    fn chrome_is_as_published(#[case] kinds: &[u16], #[case] expected: &str) {
        assert_eq!(chrome(kinds), expected);
    }

    /// Expected outputs of FoxIO's own test captures: sigalg-grease.pcapng, badcurveball.pcap and
    /// tls12.pcap (Firefox).
    #[rstest]
    #[case::sigalg_grease(
        &CHROME_SUITES,
        &[0x0a0a, 0xfe0d, 0x10, 0x17, 0x33, 0x44cd, 0xff01, 0x0a, 0x0d, 0x23, 0x2b, 0x0b, 0xca34,
          0x2d, 0x00, 0x05, 0x1b, 0x12, 0x1a1a],
        &[0xfafa, 0x0904, 0x0905, 0x0906, 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806,
          0x0601],
        "t13d1517h2_8daaf6152771_cb7bf5808d99"
    )]
    #[case::badcurveball(
        &[0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
          0x009c, 0x009d, 0x002f, 0x0035, 0x000a],
        &[0x00, 0x17, 0xff01, 0x0a, 0x0b, 0x23, 0x10, 0x05, 0x0d, 0x12, 0x33, 0x2d, 0x2b, 0x1b,
          0x15],
        &[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201],
        "t13d1615h2_46e7e9700bed_45f260be83e2"
    )]
    #[case::firefox(
        &[0x1301, 0x1303, 0x1302, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0xc02c, 0xc030, 0xc00a, 0xc009,
          0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035],
        &[0x00, 0x17, 0xff01, 0x0a, 0x0b, 0x23, 0x10, 0x05, 0x22, 0x33, 0x2b, 0x0d, 0x2d, 0x1c,
          0x15],
        &[0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201],
        "t13d1715h2_5b57614c22b0_3d5424432f57"
    )]
    fn captures_are_as_published(
        #[case] suites: &[u16],
        #[case] kinds: &[u16],
        #[case] algorithms: &[u16],
        #[case] expected: &str,
    ) {
        assert_eq!(
            ja4(&hello(suites, kinds, algorithms, b"h2")).unwrap(),
            expected
        );
    }

    #[test]
    fn the_raw_form_is_as_published() {
        let hello = hello(
            &CHROME_SUITES,
            &CHROME_EXTENSIONS,
            &CHROME_ALGORITHMS,
            b"h2",
        );
        assert_eq!(
            ja4_raw(&hello).unwrap(),
            "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9\
             _0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01\
             _0403,0804,0401,0503,0805,0501,0806,0601"
        );
    }

    #[test]
    fn without_signature_algorithms_there_is_no_underscore() {
        let hello = hello(&CHROME_SUITES, &CHROME_EXTENSIONS, &[], b"h2");
        assert_eq!(&ja4(&hello).unwrap()[24..], "6d807ffa2a79");
    }

    /// The specification's examples, and conclusions from its rules.
    #[rstest]
    #[case(b"h2", "h2")]
    #[case(b"http/1.1", "h1")]
    #[case(b"x", "xx")]
    #[case(b"", "00")]
    #[case(b"\xab", "ab")]
    #[case(b"\xab\xcd", "ad")]
    #[case(b"0\xab", "3b")]
    #[case(b"01\xab\xcd", "3d")]
    #[case(b"0\xab\xcd1", "01")]
    #[case(b"h/", "6f")]
    fn the_first_protocol_gives_two_characters(#[case] protocol: &[u8], #[case] expected: &str) {
        let hello = hello(&[0x1301], &[16], &[], protocol);
        assert_eq!(&ja4(&hello).unwrap()[8..10], expected);
    }

    #[rstest]
    #[case(0x0304, "t13")]
    #[case(0x0303, "t12")]
    #[case(0x0302, "t11")]
    #[case(0x0301, "t10")]
    #[case(0x0300, "ts3")]
    #[case(0x7f1c, "t00")]
    fn versions(#[case] version: u16, #[case] expected: &str) {
        let body = client_hello(&[0x1301], &[supported_versions(&[0x0a0a, 0x0300, version])]);
        assert_eq!(
            &ja4(&ClientHello::parse(&body).unwrap()).unwrap()[..3],
            expected
        );
    }

    #[test]
    fn without_supported_versions_the_hello_version_counts() {
        let mut body = client_hello(&[0x002f], &[]);
        body[1] = 2;
        let hello = ClientHello::parse(&body).unwrap();
        assert!(ja4(&hello).unwrap().starts_with("t11i010000_"));
    }

    #[test]
    fn nothing_gives_zeros() {
        let body = client_hello(&[0x0a0a], &[sni("a.test"), alpn(&[b"h2"])]);
        let hello = ClientHello::parse(&body).unwrap();
        assert_eq!(ja4(&hello).unwrap(), "t12d0002h2_000000000000_000000000000");
    }

    #[test]
    fn counts_stop_at_99() {
        let suites: Vec<u16> = (1..=120).collect();
        let kinds: Vec<u16> = (100..=300).collect();
        let hello = hello(&suites, &kinds, &[], b"");
        assert_eq!(&ja4(&hello).unwrap()[..8], "t12i9999");
    }

    #[test]
    fn a_cut_hello_has_none() {
        let body = client_hello(&[0x1301], &[sni("a.test")]);
        let hello = ClientHello::parse(&body[..body.len() - 1]).unwrap();
        assert_eq!((ja4(&hello), ja4_raw(&hello)), (None, None));
    }
}
