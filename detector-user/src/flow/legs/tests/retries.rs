//! Interceptors whose own legs fail while their client waits.

use rstest::rstest;

use super::*;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 1);
const SECOND: u64 = 1000 * MS;

/// A record with data of the server behind one of the client.
fn served(mut leg: Box<Timeline>) -> Box<Timeline> {
    let first = leg.records[0];
    let data = |sender| TimelineRecord {
        sender,
        content_type: APPLICATION_DATA,
        length: 500,
        ..first
    };
    leg.records
        .extend([data(Sender::Client), data(Sender::Server)]);
    leg
}

fn interceptors(flow: FlowId, at_ns: u64, random: u8) -> FlowEvent {
    let FlowEvent::Began(mut begun) = began(flow, at_ns, random, None) else {
        unreachable!()
    };
    begun.client = (GATEWAY, 50_000 + u16::from(random)).into();
    FlowEvent::Began(begun)
}

/// The client is answered by its interceptor, and keeps its connection open.
#[rstest]
#[case::for_minutes(200, vec![Some(Passage::Intercepted)])]
#[case::for_very_long(400, vec![None, None])]
fn a_failed_leg_waits_for_the_client_that_is_left(
    #[case] kept_s: u64,
    #[case] expected: Vec<Option<Passage>>,
) {
    let mut legs = Legs::default();
    let (client, leg) = (flow(LAN, 1), flow(WAN, 2));
    legs.record(began(client, 10 * MS, 1, None), 0);
    legs.record(interceptors(leg, 11 * MS, 2), 0);
    let failed = timeline(leg, 11 * MS, 2, Some(12 * MS));
    legs.record(FlowEvent::Over(failed), SECOND);
    legs.advance(kept_s * SECOND);
    let over = served(timeline(client, 10 * MS, 1, Some(30 * MS)));
    legs.record(FlowEvent::Over(over), kept_s * SECOND);
    legs.finish();
    let ready = legs.take_ready();
    let passages = ready
        .iter()
        .map(|one| one.server_leg.as_ref().map(|(passage, _)| *passage));
    assert_eq!(passages.collect::<Vec<_>>(), expected);
    assert!(legs.legs.is_empty() && legs.due.is_empty());
}

/// A leg that worked does not wait for minutes: nothing failed.
#[test]
fn a_leg_that_worked_waits_briefly() {
    let mut legs = Legs::default();
    let (client, leg) = (flow(LAN, 1), flow(WAN, 2));
    legs.record(began(client, 10 * MS, 1, None), 0);
    legs.record(interceptors(leg, 11 * MS, 2), 0);
    let over = served(timeline(leg, 11 * MS, 2, Some(12 * MS)));
    legs.record(FlowEvent::Over(over), SECOND);
    legs.advance(SECOND + PARTNER_NS);
    assert_eq!(legs.take_ready().len(), 1);
}

/// mitmproxy asks the origin again before it has closed the leg that the origin left.
#[rstest]
#[case::ends_last([1, 2, 3], false, 1)]
#[case::ends_first([3, 2, 1], false, 1)]
#[case::ends_between([2, 3, 1], false, 1)]
#[case::ends_behind_the_client([1, 3, 2], false, 1)]
#[case::works_and_ends_first([3, 2, 1], true, 3)]
fn a_retry_that_fails_is_no_second_failure(
    #[case] order: [u64; 3],
    #[case] retry_works: bool,
    #[case] connections: usize,
) {
    let mut legs = Legs::default();
    let (client, leg, retry) = (flow(LAN, 1), flow(WAN, 2), flow(WAN, 3));
    legs.record(began(client, 10 * MS, 1, None), 0);
    legs.record(interceptors(leg, 11 * MS, 2), 0);
    legs.record(interceptors(retry, 40 * MS, 3), 0);
    for number in order {
        let over = match number {
            1 => served(timeline(client, 10 * MS, 1, Some(30 * MS))),
            2 => timeline(leg, 11 * MS, 2, Some(12 * MS)),
            _ if retry_works => served(timeline(retry, 40 * MS, 3, Some(60 * MS))),
            _ => timeline(retry, 40 * MS, 3, Some(60 * MS)),
        };
        legs.record(FlowEvent::Over(over), SECOND + number * MS);
    }
    legs.finish();
    let ready = legs.take_ready();
    assert_eq!(ready.len(), connections);
    let joined = ready.iter().filter_map(|one| one.server_leg.as_ref());
    let joined: Vec<FlowId> = joined.map(|(_, leg)| leg.flow).collect();
    let expected = if retry_works { vec![] } else { vec![leg] };
    assert_eq!(joined, expected);
    assert!(legs.legs.is_empty() && legs.due.is_empty());
}

/// Of an interceptor that began again only for its client's later request, the first leg is the client's.
#[test]
fn the_first_leg_counts_where_the_last_came_too_late() {
    let mut legs = Legs::default();
    let (client, first, second) = (flow(LAN, 1), flow(WAN, 2), flow(WAN, 3));
    legs.record(began(client, 10 * MS, 1, None), 0);
    legs.record(interceptors(first, 11 * MS, 2), 0);
    let failed = timeline(first, 11 * MS, 2, Some(12 * MS));
    legs.record(FlowEvent::Over(failed), 13 * MS);
    legs.record(interceptors(second, 40 * MS, 3), 40 * MS);
    for leg in [
        served(timeline(client, 10 * MS, 1, Some(30 * MS))),
        timeline(second, 40 * MS, 3, Some(60 * MS)),
    ] {
        legs.record(FlowEvent::Over(leg), SECOND);
    }
    legs.finish();
    let ready = legs.take_ready();
    assert_eq!(ready.len(), 1);
    let (_, leg) = ready[0].server_leg.as_ref().unwrap();
    assert_eq!(leg.flow, first);
}
