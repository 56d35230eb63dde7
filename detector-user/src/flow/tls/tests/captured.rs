//! Handshakes of real clients and servers (see testdata/README.md). The expectations are what
//! tshark 4.0 and openssl say.

use rstest::rstest;

use crate::flow::tls::Handshake;
use crate::flow::tls::certificate::{NameMatch, Validity};
use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::ja4::ja4;
use crate::flow::tls::records::PlaintextEnd;
use crate::flow::tls::server_hello::ServerHello;
use crate::flow::tls::tests::parse;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

macro_rules! capture {
    ($name:literal) => {
        (
            bytes(include_str!(concat!("../testdata/", $name, ".client.hex"))),
            bytes(include_str!(concat!("../testdata/", $name, ".server.hex"))),
        )
    };
}

type Capture = (Vec<u8>, Vec<u8>);

fn read((client, server): &Capture) -> Handshake {
    parse(client, server)
}

fn hellos(capture: &Capture) -> (ClientHello, ServerHello) {
    let handshake = read(capture);
    (
        handshake.client_hello.unwrap(),
        handshake.server_hello.unwrap(),
    )
}

/// Randoms and JA4 worked out from tshark's fields by another program.
#[rstest]
#[case(capture!("openssl3-tls13"), "714b8084", "d157377d", "t13d3111h2_e8f1e7e78f70_1f22a2ca17c4")]
#[case(capture!("openssl3-tls12"), "b9338b3a", "1e2f0b51", "t12d280700_d943125447b4_e7e480e5a997")]
#[case(capture!("curl-tls12"), "f563e8f2", "db78ad0f", "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6")]
#[case(capture!("java17-tls13"), "20685ef9", "49ca86fc", "t13d371200_db35923f8641_7c76daad20ec")]
#[case(capture!("java17-tls12"), "8ec427a4", "e3b5e379", "t13d371200_db35923f8641_7c76daad20ec")]
#[case(capture!("node20-tls13"), "1323584e", "48a3ebbf", "t13d5911h1_a33745022dd6_1f22a2ca17c4")]
#[case(capture!("go119-tls13"), "cd46e365", "5b78c8ec", "t13d1910h2_9dc949149365_97f8aa674fd9")]
#[case(capture!("gnutls37-tls13"), "b5b8a5a2", "5c878425", "t13d291300_723694b0fccc_2cc26d266019")]
#[case(capture!("hrr-tls13"), "8588d354", "96ee1389", "t13d311000_e8f1e7e78f70_1f22a2ca17c4")]
#[case(capture!("resumed-tls12"), "208295ca", "5d6d323e", "t12d280700_d943125447b4_e7e480e5a997")]
#[case(capture!("resumed-tls13"), "dea18472", "03809ba4", "t13d311100_e8f1e7e78f70_dbd39dd1d406")]
fn every_client_is_named(
    #[case] capture: Capture,
    #[case] client_random: &str,
    #[case] server_random: &str,
    #[case] expected: &str,
) {
    let (client, server) = hellos(&capture);
    assert!(client.complete && server.complete);
    assert_eq!(client.server_name.as_deref(), Some("api.pinned.test"));
    assert_eq!(client.random[..4], bytes(client_random));
    assert_eq!(server.random[..4], bytes(server_random));
    assert_eq!(ja4(&client).as_deref(), Some(expected));
}

#[test]
fn tls13_negotiations() {
    for (capture, suite, group) in [
        (capture!("openssl3-tls13"), 0x1302, 29),
        (capture!("java17-tls13"), 0x1302, 29),
        (capture!("go119-tls13"), 0x1301, 29),
        (capture!("gnutls37-tls13"), 0x1302, 23),
    ] {
        let handshake = read(&capture);
        assert_eq!(handshake.version_name(), Some("1.3"));
        assert_eq!(handshake.cipher_suite(), Some(suite));
        assert_eq!(handshake.is_resumed(), Some(false));
        assert_eq!(handshake.server_end, PlaintextEnd::Encrypted);
        assert!(handshake.certificate.is_none() && !handshake.server_incomplete);
        let server = handshake.server_hello.unwrap();
        assert_eq!(
            (server.group, &server.extensions[..]),
            (Some(group), &[43, 51][..])
        );
    }
}

#[test]
fn a_java_hello_is_read() {
    let (hello, _) = hellos(&capture!("java17-tls13"));
    assert_eq!(hello.legacy_version, 0x0303);
    assert_eq!(hello.session_id.len(), 32);
    assert_eq!(hello.cipher_suites.len(), 37);
    assert_eq!(hello.cipher_suites[..3], [0x1302, 0x1301, 0x1303]);
    assert_eq!(hello.compression_methods, [0]);
    assert_eq!(
        hello.extensions,
        [0, 5, 10, 11, 17, 23, 35, 13, 43, 45, 50, 51]
    );
    assert_eq!(hello.supported_versions, [0x0304, 0x0303]);
    assert_eq!(hello.groups[..5], [29, 23, 24, 25, 30]);
    assert_eq!(hello.key_share_groups, [29, 23]);
    assert_eq!(hello.signature_algorithms.len(), 21);
    assert_eq!(hello.signature_algorithms[..2], [0x0403, 0x0503]);
    assert_eq!(hello.session_ticket, Some(0));
    assert!(hello.status_request && hello.alpn.is_empty());
    assert!(!hello.pre_shared_key && !hello.early_data && !hello.encrypted_client_hello);
}

#[test]
fn protocols_are_read() {
    let (openssl, _) = hellos(&capture!("openssl3-tls13"));
    assert_eq!(openssl.alpn, ["h2", "http/1.1"]);
    let (node, _) = hellos(&capture!("node20-tls13"));
    assert_eq!(node.alpn, ["http/1.1"]);
}

#[rstest]
#[case(capture!("openssl3-tls12"))]
#[case(capture!("java17-tls12"))]
#[case(capture!("curl-tls12"))]
#[case(capture!("mtls12-cert"))]
fn tls12_shows_the_certificate(#[case] capture: Capture) {
    let handshake = read(&capture);
    assert_eq!(handshake.version_name(), Some("1.2"));
    assert_eq!(handshake.cipher_suite(), Some(0xc030));
    assert_eq!(handshake.is_resumed(), Some(false));
    assert!(handshake.server_key_exchange && handshake.server_hello_done);
    let leaf = handshake.certificate.unwrap().unwrap();
    assert_eq!(leaf.subject, r"CN=api.pinned.test, O=Example\, Inc., C=DE");
    assert_eq!(&*leaf.issuer, "CN=Inspection CA, O=Example Corp");
    assert_eq!(leaf.serial, "1234abcd");
    assert_eq!(
        (leaf.not_before, leaf.not_after),
        (1_795_434_388, 1_866_714_388)
    );
    assert_eq!(leaf.validity_at(1_795_434_387), Validity::NotYet);
    assert_eq!(leaf.dns_names, ["api.pinned.test", "*.wild.test"]);
    assert_eq!(leaf.name_match("x.wild.test"), NameMatch::DnsName);
    assert_eq!((leaf.chain_len, leaf.chain_complete), (2, true));
    assert!(!leaf.is_self_signed());
}

#[test]
fn a_full_tls12_handshake_ends_encrypted() {
    let handshake = read(&capture!("openssl3-tls12"));
    assert!(handshake.client_key_exchange && handshake.new_session_ticket);
    assert!(handshake.client_change_cipher_spec && handshake.server_change_cipher_spec);
    assert!(!handshake.client_incomplete && !handshake.server_incomplete);
    assert_eq!(handshake.client_end, PlaintextEnd::Encrypted);
    assert_eq!(handshake.server_end, PlaintextEnd::Encrypted);
    assert!(!handshake.certificate_request && handshake.client_certificates.is_none());
}

#[test]
fn a_client_refusing_in_tls12_sends_no_key_exchange() {
    let handshake = read(&capture!("java17-tls12"));
    assert!(!handshake.client_key_exchange && !handshake.client_change_cipher_spec);
    assert_eq!(handshake.client_end, PlaintextEnd::Open);
}

#[test]
fn client_certificates_are_counted() {
    let empty = read(&capture!("mtls12-empty"));
    assert!(empty.certificate_request && empty.client_key_exchange);
    assert_eq!(empty.client_certificates, Some(0));
    assert!(!empty.client_certificate_verify);
    let one = read(&capture!("mtls12-cert"));
    assert!(one.certificate_request && one.client_certificate_verify);
    assert_eq!(one.client_certificates, Some(1));
}

#[test]
fn hellos_after_a_retry_request_are_read() {
    let handshake = read(&capture!("hrr-tls13"));
    assert!(handshake.hello_retry_request && handshake.client_hello_repeated);
    assert_eq!(handshake.retry.as_ref().unwrap().group, Some(24));
    assert_eq!(handshake.version_name(), Some("1.3"));
    assert_eq!(handshake.server_hello.as_ref().unwrap().group, Some(24));
    // The first hello counts: it names the client as its other connections do.
    let client = handshake.client_hello.unwrap();
    assert_eq!(client.key_share_groups, [29]);
    assert_eq!(handshake.client_end, PlaintextEnd::Encrypted);
    assert_eq!(handshake.server_end, PlaintextEnd::Encrypted);
}

#[test]
fn resumptions_are_known() {
    let tls12 = read(&capture!("resumed-tls12"));
    assert_eq!((tls12.is_resumed(), tls12.certificate), (Some(true), None));
    assert!(tls12.client_hello.unwrap().session_ticket > Some(0));
    let tls13 = read(&capture!("resumed-tls13"));
    assert_eq!(tls13.is_resumed(), Some(true));
    assert!(tls13.client_hello.unwrap().pre_shared_key);
}

#[test]
fn captures_cut_anywhere_do_no_harm() {
    for (client, server) in [
        capture!("mtls12-cert"),
        capture!("hrr-tls13"),
        capture!("resumed-tls12"),
        capture!("java17-tls12"),
    ] {
        let whole = parse(&client, &server);
        for end in 0..client.len().max(server.len()) {
            let handshake = parse(
                &client[..end.min(client.len())],
                &server[..end.min(server.len())],
            );
            // A part never reads as another value than the whole.
            if let Some(version) = handshake.version() {
                assert_eq!(Some(version), whole.version());
            }
            if let Some(Ok(leaf)) = &handshake.certificate {
                let all = whole.certificate.as_ref().unwrap().as_ref().unwrap();
                assert_eq!(leaf.issuer, all.issuer);
            }
            if let Some(hello) = &handshake.client_hello {
                let all = whole.client_hello.as_ref().unwrap();
                assert!(hello.server_name.is_none() || hello.server_name == all.server_name);
                assert!(ja4(hello).is_none() || ja4(hello) == ja4(all));
            }
            assert!(
                handshake
                    .is_resumed()
                    .is_none_or(|r| Some(r) == whole.is_resumed())
            );
        }
    }
}
