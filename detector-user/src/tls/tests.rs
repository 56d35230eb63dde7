use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::tls::hello::is_grease;
use crate::tls::ja4::ja4;

/// A ClientHello's extension.
pub(crate) fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [
        &kind.to_be_bytes()[..],
        &(data.len() as u16).to_be_bytes(),
        data,
    ]
    .concat()
}

pub(crate) fn list16(values: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
}

pub(crate) fn sni(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let entry = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
    extension(
        0,
        &[&(entry.len() as u16).to_be_bytes()[..], &entry].concat(),
    )
}

pub(crate) fn alpn(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = protocols
        .iter()
        .flat_map(|p| [&[p.len() as u8][..], p.as_bytes()].concat())
        .collect();
    extension(
        16,
        &[&(list.len() as u16).to_be_bytes()[..], &list].concat(),
    )
}

pub(crate) fn supported_versions(versions: &[u16]) -> Vec<u8> {
    let list: Vec<u8> = versions.iter().flat_map(|v| v.to_be_bytes()).collect();
    extension(43, &[&[list.len() as u8][..], &list].concat())
}

/// A ClientHello's body.
pub(crate) fn client_hello(suites: &[u16], extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = extensions.concat();
    [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &list16(suites),
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat()
}

/// A handshake message, header and body.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    [&[kind, a, b, c][..], body].concat()
}

/// A record.
pub(crate) fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// Chrome's hello of the JA4 specification (FoxIO, technical_details/JA4.md).
fn chrome() -> Vec<u8> {
    let suites = [
        0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
        0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
    ];
    let algorithms = [
        0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
    ];
    let empty = |kind| extension(kind, &[]);
    client_hello(
        &suites,
        &[
            empty(0x1a1a),
            empty(0x001b),
            sni("Example.COM"),
            empty(0x0033),
            alpn(&["h2", "http/1.1"]),
            empty(0x4469),
            empty(0x0017),
            empty(0x002d),
            extension(13, &list16(&algorithms)),
            empty(0x0005),
            empty(0x0023),
            empty(0x0012),
            supported_versions(&[0x8a8a, 0x0304, 0x0303]),
            empty(0xff01),
            empty(0x000b),
            extension(10, &list16(&[0x9a9a, 0x001d])),
            empty(0x0015),
            empty(0x5a5a),
        ],
    )
}

#[test]
fn ja4_is_as_published() {
    let hello = ClientHello::parse(&chrome()).unwrap();
    assert_eq!(ja4(&hello).unwrap(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

#[rstest]
#[case::none(&[], "00")]
#[case::http(&["http/1.1"], "h1")]
#[case::one_letter(&["x"], "xx")]
fn ja4_names_the_first_protocol(#[case] protocols: &[&str], #[case] expected: &str) {
    let extensions = if protocols.is_empty() {
        vec![]
    } else {
        vec![alpn(protocols)]
    };
    let hello = ClientHello::parse(&client_hello(&[0x1301], &extensions)).unwrap();
    assert_eq!(&ja4(&hello).unwrap()[8..10], expected);
}

#[test]
fn a_hello_without_extensions_has_zeros() {
    let hello = ClientHello::parse(&client_hello(&[], &[])).unwrap();
    assert_eq!(ja4(&hello).unwrap(), "t12i000000_000000000000_000000000000");
}

#[test]
fn a_hello_is_read() {
    let hello = ClientHello::parse(&chrome()).unwrap();
    assert_eq!(hello.server_name.as_deref(), Some("example.com"));
    assert_eq!(hello.alpn, ["h2", "http/1.1"]);
    assert_eq!(hello.highest_version(), 0x0304);
    assert!(hello.complete);
}

/// X25519MLKEM768's key share is 1,216 bytes; the hello spans segments and here also records.
fn post_quantum_stream() -> Vec<u8> {
    let share = [&[0x04, 0xc4, 0x11, 0xec, 0x04, 0xc0][..], &[9; 0x4c0]].concat();
    let body = client_hello(
        &[0x1301, 0x1302],
        &[
            extension(51, &share),
            sni("pq.test"),
            supported_versions(&[0x0304]),
        ],
    );
    let message = message(1, &body);
    let (first, second) = message.split_at(700);
    [record(22, first), record(22, second)].concat()
}

#[test]
fn a_hello_over_records_is_joined() {
    let mut view = HandshakeView::default();
    view.feed(Sender::Client, 0, &post_quantum_stream());
    let handshake = view.parse();
    let hello = handshake.client_hello.unwrap();
    assert_eq!(hello.server_name.as_deref(), Some("pq.test"));
    assert!(hello.complete && !handshake.client_incomplete);
}

#[test]
fn a_hello_that_ends_early_keeps_what_came() {
    let stream = post_quantum_stream();
    let mut view = HandshakeView::default();
    view.feed(Sender::Client, 0, &stream[..stream.len() - 3]);
    let handshake = view.parse();
    assert!(handshake.client_incomplete);
    let hello = handshake.client_hello.unwrap();
    assert_eq!(hello.server_name.as_deref(), Some("pq.test"));
    assert!(!hello.complete && ja4(&hello).is_none());
}

fn server_flight(issuer: &str) -> Vec<u8> {
    let mut names = rcgen::DistinguishedName::new();
    names.push(rcgen::DnType::CommonName, issuer);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::default();
    ca.distinguished_name = names;
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let leaf = rcgen::CertificateParams::new(vec!["*.pinned.test".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let der = leaf.signed_by(&key, &issuer).unwrap().der().to_vec();
    let length = |len: usize| (len as u32).to_be_bytes()[1..].to_vec();
    let entry = [length(der.len()), der].concat();
    let certificate = [length(entry.len()), entry].concat();
    let hello = [&[3, 3][..], &[5; 32], &[0], &[0xc0, 0x2f], &[0]].concat();
    [
        record(22, &message(2, &hello)),
        record(
            22,
            &[message(11, &certificate), message(13, &[1, 1, 0, 0])].concat(),
        ),
        record(22, &message(14, &[])),
    ]
    .concat()
}

#[test]
fn a_tls12_flight_shows_the_certificate() {
    let mut view = HandshakeView::default();
    view.feed(Sender::Server, 0, &server_flight("Inspection CA"));
    let handshake = view.parse();
    let leaf = handshake.certificate.clone().unwrap().unwrap();
    assert_eq!(leaf.issuer, "CN=Inspection CA");
    assert!(leaf.is_for("api.pinned.test") && !leaf.is_for("a.b.pinned.test"));
    assert!(!leaf.is_self_signed());
    assert!(handshake.certificate_request && handshake.server_hello_done);
    assert_eq!(handshake.version_name(), Some("1.2"));
}

#[test]
fn the_hello_after_a_retry_is_read() {
    let hello = |random: &[u8], suite: u16| {
        let versions = extension(43, &[3, 4]);
        let extensions = [&(versions.len() as u16).to_be_bytes()[..], &versions].concat();
        message(
            2,
            &[
                &[3, 3][..],
                random,
                &[0],
                &suite.to_be_bytes(),
                &[0],
                &extensions,
            ]
            .concat(),
        )
    };
    let retry: Vec<u8> = (0..32)
        .map(|at| {
            u8::from_str_radix(
                &"cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"
                    [at * 2..at * 2 + 2],
                16,
            )
            .unwrap()
        })
        .collect();
    let stream = [
        record(22, &hello(&retry, 0x1302)),
        record(20, &[1]),
        record(22, &hello(&[3; 32], 0x1302)),
        record(23, &[0; 40]),
    ]
    .concat();
    let mut view = HandshakeView::default();
    view.feed(Sender::Server, 0, &stream);
    let handshake = view.parse();
    assert!(handshake.hello_retry_request);
    assert_eq!(handshake.version_name(), Some("1.3"));
}

#[test]
fn grease_is_known() {
    assert!(is_grease(0x0a0a) && is_grease(0xfafa));
    assert!(!is_grease(0x0a1a) && !is_grease(0x1301));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut view = HandshakeView::default();
        view.feed(Sender::Client, 0, &bytes);
        view.feed(Sender::Server, 0, &bytes);
        let _ = view.parse();
        let _ = ClientHello::parse(&bytes).map(|hello| ja4(&hello));
        let _ = ServerHello::parse(&bytes);
        let _ = Leaf::parse(&bytes);
    }

    #[test]
    fn damage_and_truncation_do_no_harm(at in 0usize..900, value: u8, end in 0usize..2000) {
        for mut stream in [server_flight("CA"), post_quantum_stream()] {
            if let Some(byte) = stream.get_mut(at) {
                *byte = value;
            }
            stream.truncate(end);
            let mut view = HandshakeView::default();
            view.feed(Sender::Server, 0, &stream);
            view.feed(Sender::Client, 0, &stream);
            let _ = view.parse();
        }
    }

    #[test]
    fn pieces_in_any_order_read_the_same(seed in proptest::collection::vec(0usize..1500, 1..8)) {
        let stream = post_quantum_stream();
        let mut cuts: Vec<usize> = seed.iter().map(|cut| cut % stream.len()).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut pieces: Vec<(usize, usize)> = cuts.windows(2).map(|w| (w[0], w[1])).collect();
        let turn = seed[0] % pieces.len();
        pieces.rotate_left(turn);
        let mut view = HandshakeView::default();
        for (start, end) in pieces {
            view.feed(Sender::Client, start as u32, &stream[start..end]);
        }
        let hello = view.parse().client_hello.unwrap();
        prop_assert_eq!(hello.server_name.as_deref(), Some("pq.test"));
    }
}
