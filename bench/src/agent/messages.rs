//! Handshake messages of today's clients and servers.

use tests::conversation::tls;

pub(super) fn certificate_message(chain: &[&[u8]]) -> Vec<u8> {
    let length = |bytes: &[u8]| {
        let [_, a, b, c] = (bytes.len() as u32).to_be_bytes();
        [a, b, c]
    };
    let entries = chain.iter().map(|der| [&length(der)[..], der].concat());
    let list = entries.collect::<Vec<_>>().concat();
    tls::message(11, &[&length(&list)[..], &list].concat())
}

/// Returns the ClientHello of a browser of today; half of the applications have a key share for
/// ML-KEM.
pub(super) fn client_hello(name: &str, app: u32, number: u32) -> Vec<u8> {
    let extension = |kind: u16, data: &[u8]| {
        let head = [kind.to_be_bytes(), (data.len() as u16).to_be_bytes()].concat();
        [head.as_slice(), data].concat()
    };
    let listed = |data: &[u8]| [&(data.len() as u16).to_be_bytes()[..], data].concat();
    let numbers = |values: &[u16]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_be_bytes())
            .collect()
    };
    let x25519 = extension(0x001d, &[7; 32]);
    let shares = match app % 2 {
        0 => [extension(0x11ec, &[8; 1216]), x25519].concat(),
        _ => x25519,
    };
    let entry = [&[0][..], &listed(name.as_bytes())].concat();
    let algorithms = [
        0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
    ];
    let extensions = [
        extension(0x2a2a, &[]),
        extension(0, &listed(&entry)),
        extension(23, &[]),
        extension(0xff01, &[0]),
        extension(10, &listed(&numbers(&[0x3a3a, 0x11ec, 29, 23, 24]))),
        extension(11, &[1, 0]),
        extension(35, &[]),
        extension(16, &listed(b"\x02h2\x08http/1.1")),
        extension(5, &[1, 0, 0, 0, 0]),
        extension(13, &listed(&numbers(&algorithms))),
        extension(18, &[]),
        extension(51, &listed(&shares)),
        extension(45, &[1, 1]),
        extension(43, &[6, 0x4a, 0x4a, 3, 4, 3, 3]),
        extension(27, &[2, 0, 2]),
    ]
    .concat();
    let suites = [
        0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
        0xc014, 0x009c, 0x009d, 0x002f, 0x0035, app as u16,
    ];
    let body = [
        &[3, 3][..],
        &random(number),
        &[32],
        &random(!number),
        &listed(&numbers(&suites)),
        &[1, 0],
        &listed(&extensions),
    ]
    .concat();
    tls::record(22, &tls::message(1, &body))
}

pub(super) fn server_hello(number: u32, suite: u16, extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &random(scattered(number)),
        &[32],
        &random(!number),
        &suite.to_be_bytes(),
        &[0],
        &(extensions.len() as u16).to_be_bytes(),
        extensions,
    ]
    .concat();
    tls::record(22, &tls::message(2, &body))
}

fn random(number: u32) -> [u8; 32] {
    let mut random = [0x5a; 32];
    random[..4].copy_from_slice(&number.to_be_bytes());
    random
}

/// Returns a number that looks like any other; different ones stay different.
pub(super) fn scattered(number: u32) -> u32 {
    let number = (number ^ (number >> 16)).wrapping_mul(0x45d9_f3b3);
    let number = (number ^ (number >> 15)).wrapping_mul(0x846c_a68b);
    number ^ (number >> 16)
}
