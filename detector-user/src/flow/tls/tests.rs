use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::flow::tls::certificate::{CertificateError, Leaf};
use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::ja4::ja4;
use crate::flow::tls::server_hello::{HELLO_RETRY_REQUEST, ServerHello};

mod captured;

/// An extension of a hello.
pub(crate) fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [
        &kind.to_be_bytes()[..],
        &(data.len() as u16).to_be_bytes(),
        data,
    ]
    .concat()
}

pub(crate) fn list16(values: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
    vector16(&bytes)
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn vector24(bytes: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (bytes.len() as u32).to_be_bytes();
    [&[a, b, c][..], bytes].concat()
}

pub(crate) fn sni(name: &str) -> Vec<u8> {
    let entry = [&[0][..], &vector16(name.as_bytes())].concat();
    extension(0, &vector16(&entry))
}

pub(crate) fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = protocols
        .iter()
        .flat_map(|protocol| [&[protocol.len() as u8][..], protocol].concat())
        .collect();
    extension(16, &vector16(&list))
}

pub(crate) fn supported_versions(versions: &[u16]) -> Vec<u8> {
    let list: Vec<u8> = versions.iter().flat_map(|v| v.to_be_bytes()).collect();
    extension(43, &[&[list.len() as u8][..], &list].concat())
}

/// A ClientHello's body, with session ID 03030303.
pub(crate) fn client_hello(suites: &[u16], extensions: &[Vec<u8>]) -> Vec<u8> {
    [
        &[3, 3][..],
        &[7; 32],
        &[4, 3, 3, 3, 3],
        &list16(suites),
        &[1, 0],
        &vector16(&extensions.concat()),
    ]
    .concat()
}

/// A ServerHello's body, with session ID 03030303.
pub(crate) fn server_hello(random: [u8; 32], suite: u16, extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = [&[3, 3][..], &random, &[4, 3, 3, 3, 3]].concat();
    body.extend(suite.to_be_bytes());
    body.push(0);
    if !extensions.is_empty() {
        body.extend(vector16(&extensions.concat()));
    }
    body
}

/// A handshake message, header and body.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector24(body)].concat()
}

/// A record.
pub(crate) fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &vector16(body)].concat()
}

/// A Certificate message's body.
pub(crate) fn certificate_list(certificates: &[&[u8]]) -> Vec<u8> {
    let entries: Vec<u8> = certificates.iter().flat_map(|der| vector24(der)).collect();
    vector24(&entries)
}

/// A certificate, made by an issuer of that common name.
pub(crate) fn signed_leaf(issuer: &str, common_name: &str, dns_names: &[&str]) -> Vec<u8> {
    let named = |name: &str| {
        let mut names = rcgen::DistinguishedName::new();
        names.push(rcgen::DnType::CommonName, name);
        names
    };
    let mut ca = rcgen::CertificateParams::default();
    ca.distinguished_name = named(issuer);
    let issuer = rcgen::Issuer::new(ca, rcgen::KeyPair::generate().unwrap());
    let names: Vec<String> = dns_names.iter().map(|name| (*name).to_owned()).collect();
    let mut leaf = rcgen::CertificateParams::new(names).unwrap();
    leaf.distinguished_name = named(common_name);
    let key = rcgen::KeyPair::generate().unwrap();
    leaf.signed_by(&key, &issuer).unwrap().der().to_vec()
}

/// X25519MLKEM768's key share is 1,216 bytes; the hello spans segments and here also records.
fn post_quantum_stream() -> Vec<u8> {
    let share = [&[0x11, 0xec, 0x04, 0xc0][..], &[9; 0x4c0]].concat();
    let body = client_hello(
        &[0x1301, 0x1302],
        &[
            extension(51, &vector16(&share)),
            extension(10, &list16(&[0x11ec, 0x001d])),
            sni("pq.test"),
            supported_versions(&[0x0304]),
            extension(21, &[0; 470]),
        ],
    );
    let message = message(1, &body);
    let (first, second) = message.split_at(700);
    [record(22, first), record(22, second)].concat()
}

/// A TLS 1.2 server's flight, several messages in one record.
fn server_flight() -> Vec<u8> {
    let der = signed_leaf("Inspection CA", "pinned", &["*.pinned.test"]);
    [
        record(22, &message(2, &server_hello([5; 32], 0xc02f, &[]))),
        record(
            22,
            &[
                message(11, &certificate_list(&[&der])),
                message(22, &[1, 0, 0, 0]),
                message(12, &[0; 70]),
                message(13, &[1, 1, 0, 0]),
            ]
            .concat(),
        ),
        record(22, &message(14, &[])),
    ]
    .concat()
}

fn parse(client: &[u8], server: &[u8]) -> Handshake {
    let mut view = HandshakeView::default();
    view.feed(Sender::Client, 0, client);
    view.feed(Sender::Server, 0, server);
    view.parse()
}

#[test]
fn a_post_quantum_hello_over_records_is_joined() {
    let stream = post_quantum_stream();
    assert!((1750..1850).contains(&stream.len()), "{}", stream.len());
    let handshake = parse(&stream, &[]);
    let hello = handshake.client_hello.unwrap();
    assert_eq!(hello.server_name.as_deref(), Some("pq.test"));
    assert_eq!(
        (hello.key_share_groups.clone(), hello.groups[0]),
        (vec![0x11ec], 0x11ec)
    );
    assert!(hello.complete && !handshake.client_incomplete);
}

#[test]
fn a_hello_that_ends_early_keeps_what_came() {
    let stream = post_quantum_stream();
    let handshake = parse(&stream[..stream.len() - 3], &[]);
    assert!(handshake.client_incomplete);
    let hello = handshake.client_hello.unwrap();
    assert_eq!(hello.server_name.as_deref(), Some("pq.test"));
    assert!(!hello.complete && ja4(&hello).is_none());
}

#[test]
fn a_tls12_flight_is_read() {
    let handshake = parse(&[], &server_flight());
    let leaf = handshake.certificate.clone().unwrap().unwrap();
    assert_eq!(&*leaf.issuer, "CN=Inspection CA");
    assert!(leaf.is_for("api.pinned.test") && !leaf.is_for("a.b.pinned.test"));
    assert!(handshake.certificate_request && handshake.server_hello_done);
    assert!(handshake.server_key_exchange && handshake.certificate_status);
    assert!(!handshake.new_session_ticket && !handshake.server_change_cipher_spec);
    assert_eq!(handshake.version_name(), Some("1.2"));
    assert_eq!(handshake.cipher_suite(), Some(0xc02f));
    assert_eq!(handshake.is_resumed(), Some(false));
    assert!(!handshake.server_incomplete);
}

#[test]
fn a_certificate_beyond_the_capacity_is_said_to_be_missing() {
    let big = [&[0x30, 0x82, 0x7f, 0xff][..], &[0; 20_000]].concat();
    let flight: Vec<u8> = [
        record(22, &message(2, &server_hello([5; 32], 0xc02f, &[]))),
        message(11, &certificate_list(&[&big]))
            .chunks(16_000)
            .flat_map(|part| record(22, part))
            .collect(),
    ]
    .concat();
    let handshake = parse(&[], &flight);
    assert_eq!(
        handshake.certificate,
        Some(Err(CertificateError::Truncated))
    );
    assert!(handshake.server_incomplete);
    assert_eq!(handshake.version_name(), Some("1.2"));
}

#[test]
fn a_retry_request_settles_version_and_suite() {
    let extensions = [extension(43, &[3, 4]), extension(51, &[0, 24])];
    let retry = server_hello(HELLO_RETRY_REQUEST, 0x1302, &extensions);
    let handshake = parse(&[], &record(22, &message(2, &retry)));
    assert!(handshake.hello_retry_request && handshake.server_hello.is_none());
    assert_eq!(handshake.version_name(), Some("1.3"));
    assert_eq!(handshake.cipher_suite(), Some(0x1302));
    assert_eq!(handshake.retry.unwrap().group, Some(24));
}

/// Without its extensions a ServerHello looks like one of TLS 1.2.
#[test]
fn a_hello_cut_before_its_version_claims_none() {
    let tls13 = server_hello(
        [5; 32],
        0x1301,
        &[extension(51, &[0; 40]), extension(43, &[3, 4])],
    );
    let whole = record(22, &message(2, &tls13));
    for end in 0..whole.len() {
        let handshake = parse(&[], &whole[..end]);
        assert_eq!(
            (handshake.version(), handshake.is_resumed()),
            (None, None),
            "{end}"
        );
    }
    assert_eq!(parse(&[], &whole).version_name(), Some("1.3"));
    assert_eq!(parse(&[], &whole).is_resumed(), Some(false));
}

#[rstest]
#[case::by_session_id(&[], &[], None, Some(true))]
#[case::ticket_and_change(&[], &[message(4, &[0; 20])], Some(20), Some(true))]
#[case::full(&[], &[message(12, &[0; 20])], None, Some(false))]
#[case::anonymous(&[], &[message(14, &[])], None, Some(false))]
#[case::full_ticket(&[], &[message(11, &[0, 0, 0]), message(4, &[0; 9])], Some(20), Some(false))]
#[case::tls13_full(&[extension(43, &[3, 4])], &[], Some(20), Some(false))]
#[case::tls13_psk(&[extension(43, &[3, 4]), extension(41, &[0, 0])], &[], None, Some(true))]
fn resumption(
    #[case] extensions: &[Vec<u8>],
    #[case] more: &[Vec<u8>],
    #[case] then: Option<u8>,
    #[case] expected: Option<bool>,
) {
    let client = record(22, &message(1, &client_hello(&[0xc02f], &[])));
    let hello = message(2, &server_hello([5; 32], 0xc02f, extensions));
    let mut server = record(22, &[hello, more.concat()].concat());
    if let Some(kind) = then {
        server.extend(record(kind, &[1]));
    }
    assert_eq!(parse(&client, &server).is_resumed(), expected);
}

#[test]
fn without_an_echo_resumption_is_unknown_until_more_is_seen() {
    let client = record(22, &message(1, &client_hello(&[0xc02f], &[])));
    let mut hello = server_hello([5; 32], 0xc02f, &[]);
    hello[35] = 9;
    let mut server = record(22, &message(2, &hello));
    assert_eq!(parse(&client, &server).is_resumed(), None);
    server.extend(record(20, &[1]));
    assert_eq!(parse(&client, &server).is_resumed(), Some(true));
}

#[test]
fn a_finished_view_holds_no_bytes_and_takes_no_more() {
    let mut view = HandshakeView::default();
    view.feed(Sender::Client, 0, &post_quantum_stream());
    assert!(!view.finish_if_over() && view.memory() > 1700);
    view.feed(Sender::Server, 0, &server_flight());
    assert!(!view.finish_if_over());
    let before = format!("{:?}", view.parse());
    assert_eq!(format!("{:?}", view.finish()), before);
    assert_eq!(view.memory(), 0);
    view.feed(Sender::Client, 0, b"more");
    assert_eq!((view.memory(), format!("{:?}", view.parse())), (0, before));
}

#[test]
fn a_view_is_over_when_both_sides_are_encrypted() {
    let mut view = HandshakeView::default();
    let data = record(23, &[0; 30]);
    view.feed(
        Sender::Client,
        0,
        &[post_quantum_stream(), data.clone()].concat(),
    );
    assert!(!view.finish_if_over());
    view.feed(Sender::Server, 0, &[server_flight(), data].concat());
    assert!(view.finish_if_over() && view.finish_if_over());
    assert_eq!(view.memory(), 0);
    assert!(view.parse().certificate_request);
}

/// Pieces of a stream: cut anywhere, some twice, in any order.
fn pieces(len: usize) -> impl Strategy<Value = Vec<(usize, usize)>> {
    let cuts = proptest::collection::vec(0..=len, 0..12);
    let again = proptest::collection::vec((0..len, 0..len), 0..4);
    (cuts, again)
        .prop_map(move |(mut cuts, again)| {
            cuts.extend([0, len]);
            cuts.sort_unstable();
            let whole = cuts.windows(2).map(|pair| (pair[0], pair[1]));
            let again = again.iter().map(|(a, b)| (*a.min(b), *a.max(b)));
            whole.chain(again).collect::<Vec<_>>()
        })
        .prop_shuffle()
}

/// Both streams once: making keys for each case would take long.
fn streams() -> &'static [Vec<u8>; 2] {
    static STREAMS: std::sync::OnceLock<[Vec<u8>; 2]> = std::sync::OnceLock::new();
    STREAMS.get_or_init(|| [post_quantum_stream(), server_flight()])
}

proptest! {
    #[test]
    fn pieces_in_any_order_read_the_same(
        client in pieces(streams()[0].len()),
        server in pieces(streams()[1].len()),
    ) {
        let [client_stream, server_stream] = streams();
        let mut view = HandshakeView::default();
        for (start, end) in client {
            view.feed(Sender::Client, start as u32, &client_stream[start..end]);
        }
        for (start, end) in server {
            view.feed(Sender::Server, start as u32, &server_stream[start..end]);
        }
        let whole = parse(client_stream, server_stream);
        prop_assert_eq!(format!("{:?}", view.parse()), format!("{whole:?}"));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes, &bytes);
        let _ = ClientHello::parse(&bytes).map(|hello| ja4(&hello));
        let _ = ServerHello::parse(&bytes);
        let _ = Leaf::parse(&bytes);
    }

    #[test]
    fn damage_and_truncation_do_no_harm(at in 0usize..1900, value: u8, end in 0usize..2000) {
        for stream in streams() {
            let mut stream = stream.clone();
            if let Some(byte) = stream.get_mut(at) {
                *byte = value;
            }
            stream.truncate(end);
            let handshake = parse(&stream, &stream);
            let _ = handshake.client_hello.as_ref().and_then(ja4);
            let _ = (handshake.version_name(), handshake.is_resumed());
        }
    }
}

/// Client bytes of a handshake with a retry, and of one without: hello, ChangeCipherSpec, the rest.
fn client_streams() -> Vec<Vec<u8>> {
    let hello = client_hello(&[0x1301], &[sni("a.test"), supported_versions(&[0x0304])]);
    let hello = record(22, &message(1, &hello));
    let changed = record(20, &[1]);
    let other = record(22, &message(1, &client_hello(&[0x1302], &[])));
    let key_exchange = record(22, &message(16, &[5; 66]));
    let encrypted = record(22, &[9; 40]);
    vec![
        [&hello[..], &changed, &hello, &record(23, &[7; 30])].concat(),
        [&hello[..], &key_exchange, &changed, &encrypted].concat(),
        [&hello[..], &changed, &other, &record(21, &[2, 40])].concat(),
        [&hello[..], &record(22, &[]), &record(21, &[1, 0])].concat(),
        [&hello[..], b"GET / HTTP/1.1"].concat(),
        [&record(22, &[])[..], &hello].concat(),
    ]
}

proptest! {
    /// A hello that is read as soon as it is whole is the same, and so is all behind it.
    #[test]
    fn a_hello_read_early_changes_nothing(
        which in 0_usize..6,
        cuts in proptest::collection::vec(0_usize..400, 0..5),
        swapped: bool,
        lost: bool,
    ) {
        let streams = client_streams();
        let stream = &streams[which];
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % stream.len()).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut pieces: Vec<_> = cuts.windows(2).map(|cut| (cut[0], &stream[cut[0]..cut[1]])).collect();
        if swapped && pieces.len() > 1 {
            pieces.swap(0, 1);
        }
        if lost && pieces.len() > 2 {
            pieces.remove(1);
        }
        let (mut early, mut late) = (HandshakeView::default(), HandshakeView::default());
        for (at, bytes) in pieces {
            for view in [&mut early, &mut late] {
                view.feed(Sender::Client, at as u32, bytes);
            }
            early.read_hello();
            prop_assert_eq!(early.client_hello(), late.client_hello());
            prop_assert_eq!(format!("{:?}", early.parse()), format!("{:?}", late.parse()));
        }
        prop_assert_eq!(format!("{:?}", early.take()), format!("{:?}", late.take()));
    }
}
