mod copies;
mod retries;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use detector_common::flow::{FlowKey, Sender, Side};
use detector_common::record::APPLICATION_DATA;
use rstest::rstest;

use super::*;
use crate::flow::timeline::{Ending, TimelineRecord};
use crate::flow::tls::Handshake;
use crate::flow::tls::client_hello::ClientHello;
use crate::flow::tls::names::TLS_1_3;
use crate::flow::tls::server_hello::ServerHello;

const LAN: u32 = 1;
const WAN: u32 = 2;
const MS: u64 = 1_000_000;
const NAME: &str = "www.lab.test";
const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 9, 9)), 40_000);
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 443);

fn flow(interface: u32, number: u64) -> FlowId {
    FlowId {
        key: FlowKey {
            interface,
            ..FlowKey::default()
        },
        started_ns: number,
    }
}

fn began(flow: FlowId, at_ns: u64, random: u8, egress: Option<bool>) -> FlowEvent {
    FlowEvent::Began(Box::new(Beginning {
        flow,
        started_ns: at_ns,
        random: [random; 32],
        server_name: Some(NAME.into()),
        server: SERVER,
        client: CLIENT,
        ends_at_proxy: false,
        target: None,
        egress,
    }))
}

fn timeline(flow: FlowId, at_ns: u64, random: u8, answered_ns: Option<u64>) -> Box<Timeline> {
    let mut hello = ClientHello::default();
    hello.random = [random; 32];
    let record = |at_ns: u64| TimelineRecord {
        sender: Sender::Server,
        at_us: u32::try_from((at_ns) / 1000).unwrap(),
        content_type: 22,
        version_minor: 3,
        length: 90,
        detail: [2, 0],
        flags: 0,
    };
    Box::new(Timeline {
        flow,
        tap: "tap".into(),
        client: SERVER,
        server: SERVER,
        vlan: vec![],
        started_ns: at_ns,
        last_ns: at_ns,
        handshake: Handshake {
            client_hello: Some(hello),
            ..Handshake::default()
        },
        records: answered_ns
            .map(|at| record(at - at_ns))
            .into_iter()
            .collect(),
        closes: vec![],
        resets_outlived: 0,
        alert_acknowledges: [None; 2],
        sides: [Side::default(); 2],
        syns: Default::default(),
        refused: false,
        settled: false,
        ending: Ending::Closed,
        preamble: None,
        unreachable: None,
        largest_answered: None,
        client_is_proxy: false,
    })
}

/// A client's leg that begins at 10 ms and the other one's beginning; both end at 1 s.
fn joined(
    second: (u64, u8),
    answered: (Option<u64>, Option<u64>),
    egress: [Option<bool>; 2],
) -> Vec<Option<Passage>> {
    let mut legs = Legs::default();
    legs.record(began(flow(LAN, 1), 10 * MS, 1, egress[0]), 0);
    legs.record(began(flow(WAN, 2), second.0, second.1, egress[1]), 0);
    passages(legs, second, answered)
}

/// Ends both legs, and returns what became of them.
fn passages(
    mut legs: Legs,
    second: (u64, u8),
    answered: (Option<u64>, Option<u64>),
) -> Vec<Option<Passage>> {
    let (lan, wan) = (flow(LAN, 1), flow(WAN, 2));
    legs.record(
        FlowEvent::Over(timeline(lan, 10 * MS, 1, answered.0)),
        1000 * MS,
    );
    legs.record(
        FlowEvent::Over(timeline(wan, second.0, second.1, answered.1)),
        1001 * MS,
    );
    legs.finish();
    let ready = legs.take_ready();
    assert!(
        ready
            .iter()
            .all(|one| one.client_leg.started_ns == 10 * MS || one.server_leg.is_none())
    );
    ready
        .iter()
        .map(|one| one.server_leg.as_ref().map(|(passage, _)| *passage))
        .collect()
}

#[rstest]
#[case::forwarded((11 * MS, 1), Some(Passage::Forwarded))]
#[case::intercepted((11 * MS, 2), Some(Passage::Intercepted))]
fn two_taps_see_one_connection(#[case] second: (u64, u8), #[case] passage: Option<Passage>) {
    let answered = (Some(30 * MS), Some(20 * MS));
    assert_eq!(joined(second, answered, [None; 2]), [passage]);
}

#[test]
fn taps_may_tell_in_another_order_than_legs_began_in() {
    let second = (11 * MS, 2);
    let mut legs = Legs::default();
    legs.record(began(flow(WAN, 2), second.0, second.1, Some(true)), 0);
    legs.record(began(flow(LAN, 1), 10 * MS, 1, Some(false)), 0);
    let answered = (Some(30 * MS), Some(20 * MS));
    assert_eq!(
        passages(legs, second, answered),
        [Some(Passage::Intercepted)]
    );
}

#[rstest]
#[case::before_the_clients_hello((9 * MS, 2), (Some(30 * MS), Some(20 * MS)), [None; 2])]
#[case::answered_after_the_client((11 * MS, 2), (Some(20 * MS), Some(30 * MS)), [None; 2])]
#[case::long_after((6000 * MS, 2), (Some(6200 * MS), Some(6100 * MS)), [None; 2])]
#[case::another_client((11 * MS, 2), (Some(30 * MS), Some(20 * MS)), [None, Some(false)])]
#[case::towards_the_client((11 * MS, 2), (Some(30 * MS), Some(20 * MS)), [Some(true), None])]
fn one_name_alone_makes_no_legs(
    #[case] second: (u64, u8),
    #[case] answered: (Option<u64>, Option<u64>),
    #[case] egress: [Option<bool>; 2],
) {
    assert_eq!(joined(second, answered, egress), [None, None]);
}

#[test]
fn an_origin_that_never_answered_belongs_to_the_client_that_was_told() {
    let answered = (Some(30 * MS), None);
    assert_eq!(
        joined((11 * MS, 2), answered, [None; 2]),
        [Some(Passage::Intercepted)]
    );
}

/// sslsplit finds no server name in a hello of several segments.
#[test]
fn an_interceptors_hello_without_a_name_goes_to_the_same_server() {
    let mut legs = Legs::default();
    let (lan, wan) = (flow(LAN, 1), flow(WAN, 2));
    legs.record(began(lan, 10 * MS, 1, None), 0);
    let FlowEvent::Began(mut second) = began(wan, 11 * MS, 2, None) else {
        unreachable!()
    };
    second.server_name = None;
    legs.record(FlowEvent::Began(second), 0);
    let over = [
        timeline(lan, 10 * MS, 1, Some(30 * MS)),
        timeline(wan, 11 * MS, 2, Some(20 * MS)),
    ];
    for leg in over {
        legs.record(FlowEvent::Over(leg), 1000 * MS);
    }
    assert_eq!(legs.take_ready().len(), 1);
}

#[test]
fn a_leg_waits_for_the_other_only_so_long() {
    let mut legs = Legs::default();
    let (lan, wan) = (flow(LAN, 1), flow(WAN, 2));
    legs.record(began(lan, 10 * MS, 1, None), 0);
    legs.record(began(wan, 11 * MS, 2, None), 0);
    // Timelines have UNIX times, beginnings those of the tap's clock.
    let over = timeline(lan, 10 * MS, 1, Some(30 * MS)).moved_by(5000 * MS as i64);
    legs.record(FlowEvent::Over(Box::new(over)), 1000 * MS);
    assert!(legs.take_ready().is_empty());
    let deadline = legs.next_deadline().unwrap();
    legs.advance(deadline);
    assert_eq!(legs.take_ready().len(), 1);
    // Its connection has its verdict: the interceptor's leg makes no second one.
    legs.record(
        FlowEvent::Over(timeline(wan, 11 * MS, 2, Some(20 * MS))),
        9000 * MS,
    );
    legs.finish();
    assert!(legs.take_ready().is_empty());
    assert!(legs.by_server.is_empty() && legs.by_random.is_empty() && legs.due.is_empty());
}

#[test]
fn flows_of_one_tap_are_no_legs() {
    let mut legs = Legs::default();
    let (one, other) = (flow(LAN, 1), flow(LAN, 2));
    legs.record(began(one, 10 * MS, 1, None), 0);
    legs.record(began(other, 11 * MS, 2, None), 0);
    legs.record(
        FlowEvent::Over(timeline(one, 10 * MS, 1, Some(30 * MS))),
        1000 * MS,
    );
    legs.record(
        FlowEvent::Over(timeline(other, 11 * MS, 2, Some(20 * MS))),
        1001 * MS,
    );
    assert_eq!(legs.take_ready().len(), 2);
}

#[test]
fn memory_is_bounded() {
    let mut legs = Legs::default();
    for number in 0..WAITING_MAX as u64 + 1000 {
        let mut random = [0; 32];
        random[..8].copy_from_slice(&number.to_le_bytes());
        let beginning = Beginning {
            flow: flow(LAN, number),
            started_ns: number,
            random,
            server_name: Some(format!("{number}.lab.test").into()),
            server: SERVER,
            client: CLIENT,
            ends_at_proxy: false,
            target: None,
            egress: None,
        };
        legs.record(FlowEvent::Began(Box::new(beginning)), number);
    }
    assert!(legs.legs.len() <= WAITING_MAX);
    // All go to one address.
    assert_eq!(legs.by_server.len(), legs.legs.len() + 1);
    assert_eq!(legs.by_random.len(), legs.legs.len());
}

/// A mirror of both VLANs of a router, and of a name that two hellos ask for on one tap.
#[rstest]
#[case::one_hello_twice(1, vec![Some(Passage::Forwarded)])]
#[case::two_hellos(2, vec![None, None])]
fn vlans_of_one_tap_show_one_connection_twice(
    #[case] second_random: u8,
    #[case] expected: Vec<Option<Passage>>,
) {
    let mut legs = Legs::default();
    let here = flow(LAN, 1);
    let mut there = flow(LAN, 2);
    there.key.vlan = [20, 0];
    let answered = Some(30 * MS);
    legs.record(began(here, 10 * MS, 1, None), 0);
    legs.record(began(there, 11 * MS, second_random, None), 0);
    legs.record(
        FlowEvent::Over(timeline(here, 10 * MS, 1, answered)),
        1000 * MS,
    );
    legs.record(
        FlowEvent::Over(timeline(there, 11 * MS, second_random, answered)),
        1001 * MS,
    );
    legs.finish();
    let ready = legs.take_ready();
    let passages = ready.iter();
    let passages = passages.map(|one| one.server_leg.as_ref().map(|(passage, _)| *passage));
    assert_eq!(passages.collect::<Vec<_>>(), expected);
}

const PROXY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A client's leg to a proxy at 10 ms, and a hello from `second_client` at 12 ms, both on one tap.
fn beside_a_proxy(
    ends_at_proxy: bool,
    second_client: Ipv4Addr,
    second_random: u8,
) -> [FlowEvent; 2] {
    let [FlowEvent::Began(mut first), FlowEvent::Began(mut second)] = [
        began(flow(LAN, 1), 10 * MS, 1, None),
        began(flow(LAN, 2), 12 * MS, second_random, None),
    ] else {
        unreachable!()
    };
    first.server = (PROXY, 3128).into();
    first.ends_at_proxy = ends_at_proxy;
    second.client = (second_client, 50_000).into();
    [FlowEvent::Began(first), FlowEvent::Began(second)]
}

/// A proxy may answer its client before it has asked the origin, and passes on hellos that it does not
/// intercept.
#[rstest]
#[case::own_hello(true, PROXY, 2, vec![Some(Passage::Intercepted)])]
#[case::passed_on(true, PROXY, 1, vec![Some(Passage::Forwarded)])]
#[case::relay(false, PROXY, 1, vec![Some(Passage::Forwarded)])]
#[case::app_on_a_servers_host(false, PROXY, 2, vec![None, None])]
#[case::app_on_another_host(true, Ipv4Addr::new(192, 0, 2, 9), 2, vec![None, None])]
fn one_tap_sees_both_legs_of_a_proxy(
    #[case] ends_at_proxy: bool,
    #[case] second_client: Ipv4Addr,
    #[case] second_random: u8,
    #[case] expected: Vec<Option<Passage>>,
) {
    let mut legs = Legs::default();
    for event in beside_a_proxy(ends_at_proxy, second_client, second_random) {
        legs.record(event, 0);
    }
    let over = [
        timeline(flow(LAN, 1), 10 * MS, 1, Some(11 * MS)),
        timeline(flow(LAN, 2), 12 * MS, second_random, Some(30 * MS)),
    ];
    for leg in over {
        legs.record(FlowEvent::Over(leg), 1000 * MS);
    }
    legs.finish();
    let ready = legs.take_ready();
    let passages = ready.iter();
    let passages = passages.map(|one| one.server_leg.as_ref().map(|(passage, _)| *passage));
    assert_eq!(passages.collect::<Vec<_>>(), expected);
}

/// mitmproxy with `connection_strategy=lazy` answers its client by itself, and asks the origin once it has a
/// request.
#[rstest]
#[case::at_once(41, SERVER, None, Some(Passage::Intercepted))]
#[case::answered_behind_it(41, SERVER, Some(60), Some(Passage::Intercepted))]
#[case::answered_before_it(41, SERVER, Some(45), None)]
#[case::before_the_request(39, SERVER, None, None)]
#[case::long_after(2041, SERVER, None, None)]
#[case::elsewhere(41, SocketAddr::new(IpAddr::V4(PROXY), 443), None, None)]
fn an_interceptor_may_wait_for_a_request(
    #[case] second_ms: u64,
    #[case] second_server: SocketAddr,
    #[case] answer_ms: Option<u32>,
    #[case] expected: Option<Passage>,
) {
    let mut legs = Legs::default();
    let (lan, wan) = (flow(LAN, 1), flow(WAN, 2));
    let second_ns = second_ms * MS;
    legs.record(began(lan, 10 * MS, 1, None), 0);
    legs.record(began(wan, second_ns, 2, None), 0);
    let mut client_leg = timeline(lan, 10 * MS, 1, Some(20 * MS));
    let sent = |sender, at_ms: u32| TimelineRecord {
        sender,
        at_us: (at_ms - 10) * 1000,
        content_type: APPLICATION_DATA,
        version_minor: 3,
        length: 90,
        detail: [0; 2],
        flags: 0,
    };
    client_leg.handshake.server_hello = Some(ServerHello {
        selected_version: Some(TLS_1_3),
        ..ServerHello::default()
    });
    // Its Finished, then a request.
    let asked = [21, 40].map(|at_ms| sent(Sender::Client, at_ms));
    client_leg.records.extend(asked);
    let answer = answer_ms.map(|at_ms| sent(Sender::Server, at_ms));
    client_leg.records.extend(answer);
    let mut server_leg = timeline(wan, second_ns, 2, Some(second_ns + 10 * MS));
    server_leg.server = second_server;
    for leg in [&mut client_leg, &mut server_leg] {
        let hello = leg.handshake.client_hello.as_mut().unwrap();
        hello.server_name = Some(NAME.into());
        legs.record(FlowEvent::Over(leg.clone()), 5000 * MS);
    }
    legs.finish();
    let ready = legs.take_ready();
    let passage = ready[0].server_leg.as_ref().map(|(passage, _)| *passage);
    assert_eq!(passage, expected);
}

/// A proxy's name stands for all that it asks for: an address is found by the client's request.
#[test]
fn a_proxy_asked_for_an_address_is_found_by_it() {
    let mut legs = Legs::default();
    let [FlowEvent::Began(mut first), FlowEvent::Began(mut second)] =
        beside_a_proxy(true, PROXY, 2)
    else {
        unreachable!()
    };
    (first.server_name, second.server_name) = (None, None);
    first.target = Some(SERVER);
    legs.record(FlowEvent::Began(first), 0);
    legs.record(FlowEvent::Began(second), 0);
    let over = [
        timeline(flow(LAN, 1), 10 * MS, 1, None),
        timeline(flow(LAN, 2), 12 * MS, 2, None),
    ];
    for leg in over {
        legs.record(FlowEvent::Over(leg), 1000 * MS);
    }
    assert_eq!(legs.take_ready().len(), 1);
}

/// Of connections to one name that begin at once, an interceptor may ask the origin in another order.
#[test]
fn legs_of_another_connection_are_exchanged() {
    let mut legs = Legs::default();
    let clients = [flow(LAN, 1), flow(LAN, 2)];
    let servers = [flow(WAN, 3), flow(WAN, 4)];
    // The second client is answered first, and its leg begins after the first client's.
    let began_ms = [10, 11, 12, 13];
    let answered_ms = [20, 60, 50, 15];
    let all = [clients[0], clients[1], servers[0], servers[1]];
    for (number, flow) in all.into_iter().enumerate() {
        legs.record(began(flow, began_ms[number] * MS, number as u8, None), 0);
    }
    for (number, flow) in all.into_iter().enumerate() {
        let answered = Some(answered_ms[number] * MS);
        let leg = timeline(flow, began_ms[number] * MS, number as u8, answered);
        legs.record(FlowEvent::Over(leg), 1000 * MS);
    }
    legs.finish();
    let ready = legs.take_ready();
    let mut pairs: Vec<_> = ready
        .iter()
        .map(|one| {
            let server = one.server_leg.as_ref().map(|(_, leg)| leg.flow.started_ns);
            (one.client_leg.flow.started_ns, server)
        })
        .collect();
    pairs.sort_unstable();
    assert_eq!(pairs, [(1, Some(4)), (2, Some(3))]);
    assert!(legs.by_server.is_empty() && legs.due.is_empty() && legs.legs.is_empty());
}

/// Some interceptors look at the origin's certificate first, and then begin again.
#[test]
fn the_last_leg_of_an_interceptor_counts() {
    let mut legs = Legs::default();
    let (client, look, serves) = (flow(LAN, 1), flow(WAN, 2), flow(WAN, 3));
    legs.record(began(client, 10 * MS, 1, None), 0);
    legs.record(began(look, 11 * MS, 2, None), 0);
    let looked = timeline(look, 11 * MS, 2, Some(12 * MS));
    legs.record(FlowEvent::Over(looked), 13 * MS);
    legs.record(began(serves, 14 * MS, 3, None), 14 * MS);
    for leg in [
        timeline(client, 10 * MS, 1, Some(30 * MS)),
        timeline(serves, 14 * MS, 3, Some(20 * MS)),
    ] {
        legs.record(FlowEvent::Over(leg), 1000 * MS);
    }
    legs.finish();
    let ready = legs.take_ready();
    assert_eq!(ready.len(), 1);
    let (_, leg) = ready[0].server_leg.as_ref().unwrap();
    assert_eq!(leg.flow, serves);
}
