//! More than two taps, and the taps of several connections to one name at a time.

use super::*;

/// A flow at a tap: its client random, when it begins and is answered, milliseconds.
type Sight = (u32, u8, u64, Option<u64>);

/// A connection: its client's leg by tap and random, and the passage to the other leg.
type Found = ((u32, u8), Option<(Passage, u32, u8)>);

const DMZ: u32 = 3;
const CORE: u32 = 4;

/// Returns the client's leg of each connection by its tap and random, and the other leg likewise.
fn joined_all(sights: &[Sight]) -> Vec<Found> {
    let mut legs = Legs::default();
    let of = |number: usize, tap| flow(tap, number as u64);
    for (number, (tap, random, at_ms, _)) in sights.iter().enumerate() {
        legs.record(began(of(number, *tap), at_ms * MS, *random, None), 0);
    }
    for (number, (tap, random, at_ms, answered_ms)) in sights.iter().enumerate() {
        let answered = answered_ms.map(|it| it * MS);
        let over = timeline(of(number, *tap), at_ms * MS, *random, answered);
        if answered.is_some() {
            legs.record(FlowEvent::Works(over.clone()), 900 * MS);
        }
        legs.record(FlowEvent::Over(over), 1000 * MS);
    }
    legs.finish();
    assert!(legs.by_server.is_empty() && legs.by_random.is_empty() && legs.legs.is_empty());
    let id = |leg: &Timeline| {
        let random = leg.handshake.client_hello.as_ref().unwrap().random[0];
        (leg.flow.key.interface, random)
    };
    let ready = legs.take_ready();
    let working = ready.iter().filter(|it| it.goes_on).count();
    let over: Vec<_> = ready.iter().filter(|it| !it.goes_on).collect();
    let answered = over.iter().filter(|it| !it.client_leg.records.is_empty());
    assert_eq!(working, answered.count(), "each connection works once");
    let server = |it: &Connection| {
        let (passage, leg) = it.server_leg.as_ref()?;
        let (tap, random) = id(leg);
        Some((*passage, tap, random))
    };
    let mut found: Vec<_> = over
        .iter()
        .map(|it| (id(&it.client_leg), server(it)))
        .collect();
    found.sort_by_key(|(client, _)| *client);
    found
}

#[rstest]
#[case::two_before_the_interceptor(&[(LAN, 1, 10, Some(30)), (DMZ, 1, 11, Some(29)), (WAN, 2, 12, Some(20))],
    &[((LAN, 1), Some((Passage::Intercepted, WAN, 2)))])]
#[case::told_late(&[(LAN, 1, 10, Some(30)), (WAN, 2, 12, Some(20)), (DMZ, 1, 11, Some(29))],
    &[((LAN, 1), Some((Passage::Intercepted, WAN, 2)))])]
#[case::two_behind_the_interceptor(&[(LAN, 1, 10, Some(30)), (DMZ, 2, 11, Some(21)), (WAN, 2, 12, Some(20))],
    &[((LAN, 1), Some((Passage::Intercepted, DMZ, 2)))])]
#[case::forwarded_by_all(&[(LAN, 1, 10, Some(30)), (DMZ, 1, 11, Some(29)), (WAN, 1, 12, Some(28))],
    &[((LAN, 1), Some((Passage::Forwarded, DMZ, 1)))])]
fn a_leg_that_two_taps_saw_is_one(#[case] sights: &[Sight], #[case] expected: &[Found]) {
    assert_eq!(joined_all(sights), expected);
}

/// Two clients of a router with three taps, or of two gateways, ask for one name at a time.
#[rstest]
#[case::of_one_router(WAN, &[(LAN, 1), (DMZ, 2)])]
#[case::of_two_gateways(CORE, &[(LAN, 1), (DMZ, 2)])]
fn two_forwarded_connections_are_of_two_clients(
    #[case] second_tap: u32,
    #[case] clients: &[(u32, u8)],
    #[values(false, true)] interleaved: bool,
) {
    let first = [(LAN, 1, 10, Some(40)), (WAN, 1, 11, Some(39))];
    let second = [(DMZ, 2, 12, Some(30)), (second_tap, 2, 13, Some(29))];
    let [a, b] = first;
    let [c, d] = second;
    let sights = if interleaved {
        [a, c, b, d]
    } else {
        [a, b, c, d]
    };
    let found = joined_all(&sights);
    let forwarded = |tap, random| Some((Passage::Forwarded, tap, random));
    let expected = [
        (clients[0], forwarded(WAN, 1)),
        (clients[1], forwarded(second_tap, 2)),
    ];
    assert_eq!(found, expected);
}

/// A second client's hello that goes no farther is no leg of a connection that was forwarded.
#[test]
fn a_hello_that_was_blocked_stays_alone() {
    let sights = [
        (LAN, 1, 10, Some(40)),
        (WAN, 1, 11, Some(39)),
        (DMZ, 2, 12, None),
    ];
    let expected = [((LAN, 1), None), ((DMZ, 2), None)];
    assert_eq!(joined_all(&sights), expected);
}

/// A client that never asked for anything has no leg behind the gateway that did: the other client's has.
#[rstest]
#[case::never_asked(&[53], &[53, 134], None)]
#[case::asked(&[53, 134], &[53, 134], Some(Passage::Intercepted))]
#[case::refused_after_the_handshake(&[53, 19], &[53, 19], Some(Passage::Intercepted))]
#[case::client_certificate(&[53], &[900, 264, 53], Some(Passage::Intercepted))]
fn a_leg_with_a_request_belongs_to_a_client_that_asked(
    #[case] client: &[u16],
    #[case] server: &[u16],
    #[case] expected: Option<Passage>,
) {
    let mut legs = Legs::default();
    let (lan, wan) = (flow(LAN, 1), flow(WAN, 2));
    legs.record(began(lan, 10 * MS, 1, None), 0);
    legs.record(began(wan, 11 * MS, 2, None), 0);
    let data = |sender, at_us, length| TimelineRecord {
        sender,
        at_us,
        content_type: APPLICATION_DATA,
        version_minor: 3,
        length,
        detail: [0; 2],
        flags: 0,
    };
    let legs_over = [
        (timeline(lan, 10 * MS, 1, Some(30 * MS)), client),
        (timeline(wan, 11 * MS, 2, Some(20 * MS)), server),
    ];
    for (mut leg, lengths) in legs_over {
        leg.handshake.server_hello = Some(ServerHello {
            selected_version: Some(TLS_1_3),
            ..ServerHello::default()
        });
        let (mut at_us, finished) = (100_000, lengths.iter().position(|it| *it == 53));
        for (number, length) in lengths.iter().enumerate() {
            leg.records.push(data(Sender::Client, at_us, *length));
            if Some(number) == finished {
                leg.records.push(data(Sender::Server, at_us + 10, 282));
            }
            at_us += 1000;
        }
        legs.record(FlowEvent::Over(leg), 1000 * MS);
    }
    legs.finish();
    let ready = legs.take_ready();
    let passage = ready[0].server_leg.as_ref().map(|(passage, _)| *passage);
    assert_eq!(passage, expected);
}
