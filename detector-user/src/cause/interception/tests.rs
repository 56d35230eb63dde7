//! Connections, and the knowledge of their interception.

use std::sync::Arc;

use detector_common::flow::{Side, side_flags};
use rstest::rstest;

use super::*;
use crate::flow::flow_id::FlowId;
use crate::flow::legs::Legs;
use crate::flow::timeline::{Beginning, Ending, FlowEvent};
use crate::flow::tls::Handshake;
use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::names::TLS_1_3;
use crate::flow::tls::server_hello::ServerHello;

fn leaf(issuer: &str, key: u64, number: u64) -> Leaf {
    Leaf {
        subject: "CN=x".to_owned(),
        issuer: issuer.into(),
        serial: "01".to_owned(),
        not_before: 0,
        not_after: i64::MAX,
        dns_names: vec![],
        common_name: None,
        chain_len: 1,
        chain_complete: true,
        fingerprint: number,
        key_fingerprint: key,
        has_timestamps: false,
        ..Leaf::default()
    }
}

fn connection(name: &str, server: [u8; 4], leaf: Option<Leaf>, ttl: u8) -> Connection {
    let mut hello = ClientHello::default();
    hello.server_name = Some(name.into());
    let tls13 = leaf.is_none();
    let timeline = Timeline {
        flow: FlowId::default(),
        tap: Arc::from("lan0"),
        client: ([10, 0, 1, 2], 40_000).into(),
        server: (server, 443).into(),
        vlan: vec![],
        started_ns: 0,
        last_ns: 0,
        handshake: Handshake {
            client_hello: Some(hello),
            server_hello: Some(ServerHello {
                legacy_version: 0x0303,
                selected_version: tls13.then_some(TLS_1_3),
                complete: true,
                ..ServerHello::default()
            }),
            certificate: leaf.map(|leaf| Ok(leaf.into())),
            ..Handshake::default()
        },
        records: vec![],
        closes: vec![],
        resets_outlived: 0,
        alert_acknowledges: [None; 2],
        sides: [64, ttl].map(|ttl| Side {
            flags: side_flags::SEEN,
            ttl_min: ttl,
            ttl_max: ttl,
            ..Side::default()
        }),
        syns: Default::default(),
        refused: false,
        settled: true,
        ending: Ending::Closed,
        preamble: None,
        unreachable: None,
        largest_answered: None,
        client_is_proxy: false,
    };
    Connection {
        client_leg: Box::new(timeline),
        server_leg: None,
        goes_on: false,
        newly_complete: true,
    }
}

fn beginning(timeline: &Timeline) -> Beginning {
    Beginning {
        flow: timeline.flow,
        started_ns: timeline.started_ns,
        random: [0; 32],
        server_name: server_name(timeline).map(Arc::from),
        server: timeline.server,
        client: timeline.client,
        ends_at_proxy: false,
        target: None,
        egress: None,
    }
}

fn knowledge(ca: &str) -> Knowledge {
    Knowledge {
        inspection_cas: if ca.is_empty() {
            vec![]
        } else {
            vec![ca.parse().unwrap()]
        },
        ..Knowledge::default()
    }
}

#[rstest]
#[case("CN=mitmproxy, O=mitmproxy", "", Intercepted::Yes)]
#[case("CN=Inspection CA", "Inspection CA", Intercepted::Yes)]
#[case("CN=R3, O=Let's Encrypt, C=US", "Inspection CA", Intercepted::No)]
#[case("CN=Private CA", "", Intercepted::Unknown)]
fn by_issuer(#[case] issuer: &str, #[case] ca: &str, #[case] status: Intercepted) {
    let connection = connection("a.test", [10, 0, 2, 1], Some(leaf(issuer, 1, 1)), 64);
    let seen = Interceptors::default().examine(&connection, &knowledge(ca));
    assert_eq!(seen.status, status);
    assert_eq!(seen.evidence.is_some(), status != Intercepted::Unknown);
}

/// Two taps on one side of an interceptor see one random, too.
#[rstest]
#[case("CN=Inspection CA", "Inspection CA", Intercepted::Yes)]
#[case("CN=mitmproxy, O=mitmproxy", "", Intercepted::Yes)]
#[case("CN=R3, O=Let's Encrypt, C=US", "Inspection CA", Intercepted::No)]
#[case("CN=Private CA", "", Intercepted::No)]
fn a_known_ca_outweighs_one_random(
    #[case] issuer: &str,
    #[case] ca: &str,
    #[case] status: Intercepted,
) {
    let mut connection = connection("a.test", [10, 0, 2, 1], Some(leaf(issuer, 1, 1)), 64);
    let mut server_leg = connection.client_leg.clone();
    server_leg.flow.key.interface += 1;
    connection.server_leg = Some((Passage::Forwarded, server_leg));
    let seen = Interceptors::default().examine(&connection, &knowledge(ca));
    assert_eq!(seen.status, status);
}

#[test]
fn timestamps_show_a_public_ca() {
    let mut public = leaf("CN=Private CA", 1, 1);
    public.has_timestamps = true;
    let connection = connection("a.test", [10, 0, 2, 1], Some(public), 64);
    let seen = Interceptors::default().examine(&connection, &knowledge(""));
    assert_eq!(seen.status, Intercepted::No);
}

/// Unrelated names with one key, each by a certificate of its own: nobody but an interceptor.
#[test]
fn a_private_ca_for_unrelated_names_with_one_key_is_learned() {
    let mut interceptors = Interceptors::default();
    let names = ["a.one.test", "b.one.test", "www.two.test", "www.three.test"];
    let mut statuses = vec![];
    for (number, name) in (1..).zip(names) {
        let shown = Some(leaf("CN=Unknown CA", 7, number));
        let seen =
            interceptors.examine(&connection(name, [10, 0, 2, 1], shown, 64), &knowledge(""));
        statuses.push((seen.status, seen.recognized.len()));
    }
    use Intercepted::{Unknown, Yes};
    // The name that makes it clear also revises those before; related names say nothing.
    let recognized: Vec<usize> = statuses.iter().map(|(_, count)| *count).collect();
    assert_eq!(statuses[..3], [(Unknown, 0), (Unknown, 0), (Unknown, 0)]);
    assert_eq!(statuses[3].0, Yes);
    assert!(recognized[3] >= 1);
}

#[test]
fn a_private_ca_with_a_key_for_each_name_is_not() {
    let mut interceptors = Interceptors::default();
    for (number, name) in (1..).zip(["www.one.test", "www.two.test", "www.three.test"]) {
        let shown = Some(leaf("CN=Company CA", number, number));
        let seen =
            interceptors.examine(&connection(name, [10, 0, 2, 1], shown, 64), &knowledge(""));
        assert_eq!(seen.status, Intercepted::Unknown);
    }
}

/// One certificate for several names relates them.
#[test]
fn one_certificate_for_many_names_is_no_interceptor() {
    let mut interceptors = Interceptors::default();
    for name in [
        "www.one.test",
        "www.two.test",
        "www.three.test",
        "www.four.test",
    ] {
        let shown = Some(leaf("CN=Hosting CA", 1, 1));
        let seen =
            interceptors.examine(&connection(name, [10, 0, 2, 1], shown, 64), &knowledge(""));
        assert_eq!(seen.status, Intercepted::Unknown);
    }
}

/// TLS 1.3 hides the certificate: evidence of TLS 1.2 from the same server, name and distance
/// counts.
#[test]
fn a_destination_seen_intercepted_is_so_in_tls13() {
    let mut interceptors = Interceptors::default();
    let ca = knowledge("Inspection CA");
    let shown = Some(leaf("CN=Inspection CA", 1, 1));
    interceptors.examine(&connection("a.test", [10, 0, 2, 1], shown, 64), &ca);
    let hidden = |name, server, ttl| connection(name, server, None, ttl);
    let mut status = |connection| interceptors.examine(&connection, &ca).status;
    assert_eq!(
        status(hidden("a.test", [10, 0, 2, 1], 64)),
        Intercepted::Yes
    );
    assert_eq!(
        status(hidden("a.test", [10, 0, 2, 1], 57)),
        Intercepted::Unknown,
        "farther away"
    );
    assert_eq!(
        status(hidden("b.test", [10, 0, 2, 9], 57)),
        Intercepted::Unknown
    );
}

/// Without a router between, and yet in another network: the gateway itself answers.
#[rstest]
#[case::gateway([10, 0, 2, 1], 64, 0x1301, Intercepted::Yes)]
#[case::routed([10, 0, 2, 1], 63, 0x1301, Intercepted::Unknown)]
#[case::same_link([10, 0, 1, 9], 64, 0x1301, Intercepted::Unknown)]
#[case::not_alike([10, 0, 2, 1], 64, 0x1302, Intercepted::Unknown)]
fn who_answers_without_a_router_between_is_no_server_elsewhere(
    #[case] server: [u8; 4],
    #[case] ttl: u8,
    #[case] first_suite: u16,
    #[case] expected: Intercepted,
) {
    let mut interceptors = Interceptors::default();
    let names = [
        "www.one.test",
        "www.two.test",
        "a.three.test",
        "b.three.test",
        "x.four.test",
    ];
    let mut last = None;
    for (number, name) in names.into_iter().enumerate() {
        let mut connection = connection(name, server, None, ttl);
        let handshake = &mut connection.client_leg.handshake;
        handshake.client_hello.as_mut().unwrap().complete = true;
        let suite = if number == 0 { first_suite } else { 0x1301 };
        handshake.server_hello.as_mut().unwrap().cipher_suite = suite;
        last = Some(interceptors.examine(&connection, &knowledge("")));
    }
    assert_eq!(last.unwrap().status, expected);
}

/// Servers in many networks are not all equally far away and do not all choose alike.
#[test]
fn an_interceptor_of_everything_is_learned_without_a_certificate() {
    let mut interceptors = Interceptors::default();
    let mut last = Intercepted::Unknown;
    for number in 0..40_u8 {
        let name = format!("www.site{}.test", number % 10);
        let server = [100 + number % 10, number % 10, 2, 1];
        last = interceptors
            .examine(&connection(&name, server, None, 64), &knowledge(""))
            .status;
    }
    assert_eq!(last, Intercepted::Yes);
}

#[test]
fn one_provider_among_others_is_no_interceptor() {
    let mut interceptors = Interceptors::default();
    for number in 0..80_u8 {
        let name = format!("www.site{}.test", number % 10);
        let server = [100 + number % 10, number % 10, 2, 1];
        let ttl = if number % 4 == 0 { 50 + number % 9 } else { 57 };
        let seen = interceptors.examine(&connection(&name, server, None, ttl), &knowledge(""));
        assert_eq!(seen.status, Intercepted::Unknown);
    }
}

/// A settled connection comes twice, when it works and at its end, and teaches once: of one tap as
/// soon as it works, of several once its second leg may have shown an interceptor between them.
#[rstest]
#[case::one_tap([false, false], [1, 1])]
#[case::several_taps([true, false], [0, 1])]
#[case::another_tap_meanwhile([false, true], [1, 1])]
fn a_settled_connection_teaches_once(#[case] other_began: [bool; 2], #[case] recorded: [u32; 2]) {
    let mut legs = Legs::default();
    let mut interceptors = Interceptors::default();
    let mut timeline = connection("a.test", [10, 0, 2, 1], None, 64).client_leg;
    timeline.settled = true;
    let mut other = beginning(&timeline);
    other.flow.key.interface += 1;
    let events = [
        FlowEvent::Works(timeline.clone()),
        FlowEvent::Over(timeline.clone()),
    ];
    for ((event, other_began), recorded) in events.into_iter().zip(other_began).zip(recorded) {
        if other_began {
            legs.record(FlowEvent::Began(Box::new(other.clone())), 0);
        }
        legs.record(event, 0);
        for connection in legs.take_ready() {
            interceptors.examine(&connection, &knowledge(""));
        }
        assert_eq!(interceptors.fingerprints.count_at(&timeline), recorded);
    }
}

#[test]
fn assessing_teaches_nothing() {
    let mut interceptors = Interceptors::default();
    let ca = knowledge("Inspection CA");
    let shown = Some(leaf("CN=Inspection CA", 1, 1));
    let shown = connection("a.test", [10, 0, 2, 1], shown, 64);
    let hidden = connection("a.test", [10, 0, 2, 1], None, 64);
    assert_eq!(interceptors.assess(&shown, &ca).status, Intercepted::Yes);
    assert_eq!(
        interceptors.assess(&hidden, &ca).status,
        Intercepted::Unknown
    );
    interceptors.record(&shown, &ca);
    assert_eq!(interceptors.assess(&hidden, &ca).status, Intercepted::Yes);
}

/// The counts that showed it are gone with the restart: further connections do not take that back.
#[test]
fn a_fingerprint_restored_after_a_restart_stays_recognized() {
    let hidden = |number: u8| {
        let name = format!("www.site{number}.test");
        connection(&name, [10, number, 2, 1], None, 64)
    };
    let [.., fingerprint] = marks(&hidden(0).client_leg);
    let mut interceptors = Interceptors::default();
    interceptors.remember(fingerprint.unwrap());
    for number in 1..5 {
        let seen = interceptors.examine(&hidden(number), &knowledge(""));
        assert_eq!(seen.status, Intercepted::Yes);
    }
}
