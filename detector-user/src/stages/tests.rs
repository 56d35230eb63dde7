use etherparse::{PacketBuilder, TcpHeader};

use super::{Compared, Comparison, Event, Fate, Layout, Traffic};
use crate::source::capture::{Frame, LinkType};
use crate::verdict::Party;

const CLIENT: ([u8; 4], u16) = ([10, 0, 1, 2], 40_112);
const NAT: ([u8; 4], u16) = ([192, 0, 2, 7], 61_002);
const SERVER: ([u8; 4], u16) = ([10, 0, 2, 2], 443);
const MS: u64 = 1_000_000;
/// 2026-11-23.
const BEGIN_NS: u64 = 1_795_420_000_000_000_000;
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 46];

/// A segment in words.
#[derive(Clone)]
struct Sent {
    at_ms: u64,
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
    seq: u32,
    flags: &'static str,
    ttl: u8,
    payload: Vec<u8>,
}

impl Sent {
    fn frame(&self) -> Vec<u8> {
        let ((from, from_port), (to, to_port)) = (self.from, self.to);
        let mut header = TcpHeader::new(from_port, to_port, self.seq, 64_000);
        header.ack = !self.flags.contains('s');
        header.syn = self.flags.contains(['s', 'S']);
        header.fin = self.flags.contains('F');
        header.rst = self.flags.contains('R');
        let builder = PacketBuilder::ethernet2([2; 6], [3; 6]).ipv4(from, to, self.ttl);
        let builder = builder.tcp_header(header);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &self.payload).unwrap();
        bytes
    }
}

/// A TLS record of bytes that no other has.
fn record(first: u8, seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![first, 3, 3, (len >> 8) as u8, len as u8];
    bytes.extend((0..len).map(|at| (at as u8).wrapping_mul(37).wrapping_add(seed)));
    bytes
}

fn handshake(kind: u8, seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = record(22, seed, len);
    bytes[5] = kind;
    bytes
}

/// A handshake that the client refuses with an alert, and a reset of the server.
fn refused() -> Vec<Sent> {
    let from = |at_ms, seq, flags, payload: &[u8]| Sent {
        at_ms,
        from: CLIENT,
        to: SERVER,
        seq,
        flags,
        ttl: 64,
        payload: payload.to_vec(),
    };
    let back = |at_ms, seq, flags, payload: &[u8]| Sent {
        from: SERVER,
        to: CLIENT,
        ttl: 57,
        ..from(at_ms, seq, flags, payload)
    };
    let hello = handshake(1, 1, 300);
    let answer = handshake(2, 2, 900);
    vec![
        from(0, 100, "s", &[]),
        back(2, 9_000, "S", &[]),
        from(3, 101, "", &hello),
        back(5, 9_001, "", &answer),
        from(7, 406, "", ALERT),
        from(8, 413, "F", &[]),
    ]
}

/// As the device passes a segment on, a moment later.
fn passed(sent: &Sent) -> Sent {
    Sent {
        at_ms: sent.at_ms + 1,
        ttl: sent.ttl - 1,
        ..sent.clone()
    }
}

fn capture(sent: &[Sent]) -> Traffic {
    shifted(sent, 0)
}

fn shifted(sent: &[Sent], clock_ms: u64) -> Traffic {
    let mut traffic = Traffic::default();
    for it in sent {
        let bytes = it.frame();
        traffic.read(&Frame {
            time_ns: BEGIN_NS + (it.at_ms + clock_ms) * MS,
            interface: 0,
            link_type: LinkType::ETHERNET,
            captured: &bytes,
            original_len: bytes.len() as u32,
        });
    }
    traffic
}

fn compare(receive: &[Sent], transmit: &[Sent]) -> Comparison {
    Comparison::of([&capture(receive), &capture(transmit)], None, None)
}

fn only(comparison: &Comparison) -> &Compared {
    let [only] = comparison.connections.as_slice() else {
        panic!("{:#?}", comparison.connections);
    };
    only
}

fn with(compared: &Compared, fate: Fate) -> Vec<(Party, String)> {
    let events = compared.events.iter().filter(|it| it.fate == fate);
    events
        .map(|Event { from, segment, .. }| (*from, segment.to_string()))
        .collect()
}

fn reset(from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Sent {
    Sent {
        at_ms: 9,
        from,
        to,
        seq: 9_906,
        flags: "R",
        ttl: 64,
        payload: Vec::new(),
    }
}

#[test]
fn a_connection_that_passes_unchanged_is_undisturbed() {
    let sent = refused();
    let comparison = compare(&sent, &sent.iter().map(passed).collect::<Vec<_>>());
    let compared = only(&comparison);
    assert!(compared.is_common && !compared.is_proxied && !compared.is_disturbed());
    assert_eq!(compared.counts.map(|it| it.forwarded), [4, 2]);
    assert_eq!(compared.changes, ["client's TTL -1", "server's TTL -1"]);
    assert_eq!(compared.ended_by, Some(Party::Client));
    assert_eq!(comparison.layout, Layout::Stages);
    let clocks = comparison.clocks.unwrap();
    assert_eq!((clocks.offset_ns, clocks.passage_ns), (0, MS as i64));
}

/// The alert and the FIN arrive; the device keeps them, and resets the client.
#[test]
fn a_reset_that_only_leaves_is_the_devices() {
    let sent = refused();
    let mut left: Vec<_> = sent.iter().take(4).map(passed).collect();
    left.push(reset(SERVER, CLIENT));
    let comparison = compare(&sent, &left);
    let compared = only(&comparison);
    assert_eq!(
        with(compared, Fate::Dropped),
        [
            (
                Party::Client,
                "alert fatal certificate_unknown (46), 7 bytes".to_owned()
            ),
            (Party::Client, "FIN,ACK".to_owned()),
        ]
    );
    assert_eq!(
        with(compared, Fate::Inserted),
        [(Party::Server, "RST,ACK".to_owned())]
    );
    assert_eq!(compared.ended_by, Some(Party::Gateway));
    assert_eq!(
        compared.outcome,
        [
            "the device itself reset the connection towards the client after the client's alert fatal \
             certificate_unknown (46) and FIN had arrived: its RST,ACK was transmitted and had not been received \
             (TTL 64)",
            "alert fatal certificate_unknown (46) and FIN,ACK from the client arrived, and were not passed on",
        ]
    );
}

/// Behind source NAT each stage has one direction under each pair of addresses.
#[test]
fn stages_meet_through_address_translation() {
    let sent = refused();
    let translated = |it: &Sent, towards_server: bool| {
        let mut it = it.clone();
        match (towards_server, it.from == CLIENT) {
            (true, true) => it.from = NAT,
            (true, false) => it.to = NAT,
            _ => {}
        }
        it
    };
    let received: Vec<_> = sent
        .iter()
        .map(|it| translated(it, it.from != CLIENT))
        .collect();
    let mut left: Vec<_> = sent
        .iter()
        .take(4)
        .map(|it| passed(&translated(it, it.from == CLIENT)))
        .collect();
    left.push(reset(SERVER, CLIENT));
    let comparison = compare(&received, &left);
    let compared = only(&comparison);
    assert_eq!(
        compared.changes[0],
        "client 10.0.1.2:40112 → 192.0.2.7:61002"
    );
    assert_eq!(
        with(compared, Fate::Inserted),
        [(Party::Server, "RST,ACK".to_owned())]
    );
    assert_eq!(with(compared, Fate::Dropped).len(), 2);
    assert_eq!(compared.counts.map(|it| it.forwarded), [2, 2]);
}

/// Two interfaces of a gateway: the server's segments pass the second capture first.
#[test]
fn two_interfaces_meet_through_nat_and_rewritten_sequence_numbers() {
    let sent = refused();
    let inside: Vec<_> = sent
        .iter()
        .map(|it| {
            let mut it = it.clone();
            if it.from == CLIENT {
                it.from = NAT;
                it.seq = it.seq.wrapping_sub(5_000);
                passed(&it)
            } else {
                it.to = NAT;
                it.at_ms -= 1;
                it.ttl += 1;
                it
            }
        })
        .collect();
    let mut outside = sent;
    outside.push(reset(SERVER, CLIENT));
    let comparison = Comparison::of([&capture(&outside), &shifted(&inside, 700)], None, None);
    assert_eq!(comparison.layout, Layout::Sides);
    let clocks = comparison.clocks.unwrap();
    assert_eq!(
        (clocks.offset_ns, clocks.passage_ns),
        (700 * MS as i64, MS as i64)
    );
    let compared = only(&comparison);
    assert_eq!(
        compared.changes,
        [
            "client 10.0.1.2:40112 → 192.0.2.7:61002",
            "client's TTL -1",
            "client's sequence numbers -5000",
            "server's TTL -1",
        ]
    );
    assert_eq!(
        with(compared, Fate::Inserted),
        [(Party::Server, "RST,ACK".to_owned())]
    );
    assert_eq!(with(compared, Fate::Dropped), []);
    assert_eq!(compared.ended_by, Some(Party::Gateway));
}

#[test]
fn a_reset_that_arrives_is_no_fault_of_the_device() {
    let mut sent: Vec<_> = refused().into_iter().take(4).collect();
    sent.push(reset(SERVER, CLIENT));
    let left: Vec<_> = sent.iter().map(passed).collect();
    let comparison = compare(&sent, &left);
    let compared = only(&comparison);
    assert!(!compared.is_disturbed());
    // 64 where the server's segments have 57.
    assert_eq!(compared.ended_by, Some(Party::Middlebox));
    assert!(compared.outcome[0].contains("another device sent it before this one"));
}

#[test]
fn own_connections_of_a_proxy_are_joined_by_the_ends() {
    let sent = refused();
    let own: Vec<_> = sent
        .iter()
        .take(4)
        .map(|it| {
            let mut own = passed(it);
            own.seq = own.seq.wrapping_add(77_777);
            for byte in own.payload.iter_mut().skip(6) {
                *byte ^= 0x5a;
            }
            // Its own hello is shorter.
            own.payload.truncate(250);
            own
        })
        .collect();
    let mut left = own;
    left.push(reset(SERVER, CLIENT));
    left.push(reset(CLIENT, SERVER));
    let comparison = compare(&sent, &left);
    let compared = only(&comparison);
    assert!(compared.is_proxied);
    assert_eq!(
        with(compared, Fate::Inserted),
        [
            (Party::Client, "RST,ACK".to_owned()),
            (Party::Server, "RST,ACK".to_owned()),
        ]
    );
    assert_eq!(
        with(compared, Fate::Dropped)[0].1,
        "alert fatal certificate_unknown (46), 7 bytes"
    );
    assert_eq!(compared.ended_by, Some(Party::Gateway));
}

#[test]
fn lost_segments_are_dropped_and_the_drop_capture_confirms_it() {
    let sent = refused();
    let left: Vec<_> = sent.iter().take(3).map(passed).collect();
    let drop = capture(&sent[3..4]);
    let comparison = Comparison::of([&capture(&sent), &capture(&left)], None, Some(&drop));
    let compared = only(&comparison);
    let marks: Vec<_> = compared
        .events
        .iter()
        .map(|it| (it.fate, it.marks.drop))
        .collect();
    assert_eq!(
        marks,
        [
            (Fate::Dropped, Some(true)),
            (Fate::Dropped, Some(false)),
            (Fate::Dropped, Some(false))
        ]
    );
    assert!(
        compared
            .outcome
            .iter()
            .any(|it| it.contains("the drop capture has them"))
    );
}

#[test]
fn the_firewall_stage_says_where_a_segment_was_lost() {
    let sent = refused();
    let left: Vec<_> = sent.iter().take(4).map(passed).collect();
    let firewall = capture(&sent[..5]);
    let comparison = Comparison::of([&capture(&sent), &capture(&left)], Some(&firewall), None);
    let compared = only(&comparison);
    let dropped: Vec<_> = compared.events.iter().map(|it| it.marks.firewall).collect();
    assert_eq!(dropped, [Some(true), Some(false)]);
}

#[test]
fn a_connection_that_never_leaves_is_dropped_as_a_whole() {
    let mut sent = refused();
    let left: Vec<_> = sent.iter().map(passed).collect();
    let mut refused = sent[0].clone();
    refused.from.1 = 40_200;
    refused.seq = 55;
    sent.insert(1, refused);
    let comparison = compare(&sent, &left);
    let alone = comparison
        .connections
        .iter()
        .find(|it| !it.is_common)
        .unwrap();
    assert_eq!(
        alone.outcome,
        ["nothing of it was passed on: 1 segment not transmitted"]
    );
    assert_eq!(comparison.common(), 1);
}

#[test]
fn segments_of_other_lengths_carry_the_same_bytes() {
    let sent = refused();
    let mut left = Vec::new();
    for it in sent.iter().map(passed) {
        if it.payload.len() < 300 {
            left.push(it);
            continue;
        }
        let mut second = it.clone();
        second.payload = it.payload[200..].to_vec();
        second.seq += 200;
        left.push(Sent {
            payload: it.payload[..200].to_vec(),
            ..it
        });
        left.push(second);
    }
    let comparison = compare(&sent, &left);
    // The alert is the same at the same place, so that this is no proxy.
    let compared = only(&comparison);
    assert!(
        !compared.is_proxied && !compared.is_disturbed(),
        "{compared:#?}"
    );
}

#[test]
fn rewritten_bytes_are_said_to_be() {
    let mut sent = refused();
    let mut data = sent[5].clone();
    data.payload = record(23, 9, 100);
    data.flags = "";
    data.seq = 413;
    sent[5] = data;
    let mut left: Vec<_> = sent.iter().map(passed).collect();
    left[5].payload[40] ^= 1;
    let comparison = compare(&sent, &left);
    let compared = only(&comparison);
    let rewritten: Vec<_> = compared
        .events
        .iter()
        .filter(|it| it.fate == Fate::Rewritten)
        .collect();
    assert_eq!(rewritten.len(), 1);
    assert_eq!(rewritten[0].changes, ["105 bytes with other contents"]);
}

#[test]
fn a_dropped_copy_is_no_loss() {
    let mut sent = refused();
    let left: Vec<_> = sent.iter().map(passed).collect();
    let mut copy = sent[2].clone();
    copy.at_ms = 4;
    sent.insert(3, copy);
    let comparison = compare(&sent, &left);
    let compared = only(&comparison);
    let dropped: Vec<_> = compared
        .events
        .iter()
        .filter(|it| it.fate == Fate::Dropped)
        .collect();
    assert!(dropped.len() == 1 && dropped[0].is_copy);
}

#[test]
fn a_port_that_is_used_again_is_another_connection() {
    let sent = refused();
    let mut twice = sent.clone();
    for it in &sent {
        let mut again = it.clone();
        again.at_ms += 1_000;
        again.seq = again.seq.wrapping_add(500_000);
        for byte in again.payload.iter_mut().skip(7) {
            *byte ^= 0x33;
        }
        twice.push(again);
    }
    let left: Vec<_> = twice.iter().map(passed).collect();
    let comparison = compare(&twice, &left);
    assert_eq!(comparison.common(), 2);
    assert_eq!(comparison.connections.len(), 2);
    assert!(comparison.connections.iter().all(|it| !it.is_disturbed()));
}

#[test]
fn captures_of_other_traffic_have_nothing_in_common() {
    let sent = refused();
    let mut other = sent.clone();
    for it in &mut other {
        for end in [&mut it.from, &mut it.to] {
            end.0[1] = 99;
        }
        it.seq = it.seq.wrapping_add(1);
        for byte in it.payload.iter_mut().skip(6) {
            *byte ^= 0x77;
        }
    }
    let comparison = compare(&sent, &other);
    assert_eq!(comparison.common(), 0);
    assert_eq!(comparison.clocks, None);
}

/// The second capture began late: what it cannot have is not dropped.
#[test]
fn what_a_capture_did_not_run_for_is_not_dropped() {
    let mut sent = refused();
    for it in sent.iter_mut().skip(4) {
        it.at_ms += 60_000;
    }
    let left: Vec<_> = sent.iter().skip(4).map(passed).collect();
    let comparison = compare(&sent, &left);
    assert!(!only(&comparison).is_disturbed());
}

/// A stranger may open one pair of ends as often as captures have room for.
#[test]
fn many_connections_of_the_same_ends_cost_little() {
    let opened = |number: u32| Sent {
        at_ms: u64::from(number),
        seq: number.wrapping_mul(2_654_435_761),
        ..refused()[0].clone()
    };
    let sent: Vec<_> = (1..8_000).map(opened).collect();
    let left: Vec<_> = sent.iter().map(passed).collect();
    let comparison = compare(&sent, &left);
    assert_eq!(comparison.common(), sent.len());
    assert!(comparison.connections.iter().all(|it| !it.is_disturbed()));
}

fn elsewhere(sent: &Sent, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Sent {
    let mut it = sent.clone();
    for end in [&mut it.from, &mut it.to] {
        if *end == from {
            *end = to;
        }
    }
    it
}

/// The drop capture is of the other side of a translation.
#[test]
fn a_lost_segment_is_confirmed_by_its_rewritten_sequence_number() {
    let rewritten = |it: &Sent| {
        let mut it = it.clone();
        if it.from == CLIENT {
            it.seq = it.seq.wrapping_sub(5_000);
        }
        it
    };
    let sent = refused();
    let left: Vec<_> = sent
        .iter()
        .take(4)
        .map(|it| passed(&rewritten(it)))
        .collect();
    let drop = capture(&[rewritten(&sent[4])]);
    let comparison = Comparison::of([&capture(&sent), &capture(&left)], None, Some(&drop));
    let events = only(&comparison).events.iter();
    let marks: Vec<_> = events.map(|it| (it.fate, it.marks.drop)).collect();
    let expected = [(Fate::Dropped, Some(true)), (Fate::Dropped, Some(false))];
    assert_eq!(marks, expected);
}

/// A minute between them is more than the captures may be apart.
#[test]
fn clocks_that_differ_hide_no_reset_of_the_device() {
    let sent = refused();
    let mut left: Vec<_> = sent.iter().take(4).map(passed).collect();
    left.push(reset(SERVER, CLIENT));
    let same = only(&compare(&sent, &left)).outcome.clone();
    let late = Comparison::of([&capture(&sent), &shifted(&left, 60_000)], None, None);
    assert_eq!(only(&late).outcome, same);
}

#[test]
fn a_reset_is_said_to_follow_only_what_had_arrived_before_it() {
    let sent = refused();
    let mut left: Vec<_> = sent.iter().take(4).map(passed).collect();
    left.push(Sent {
        at_ms: 6,
        ..reset(SERVER, CLIENT)
    });
    let early = compare(&sent, &left);
    let sentence = &only(&early).outcome[0];
    assert!(!sentence.contains("had arrived"), "{sentence}");
    // A FIN of the device's own making never arrived.
    let mut left: Vec<_> = sent.iter().take(4).map(passed).collect();
    left.push(passed(&sent[5]));
    left.push(Sent {
        at_ms: 11,
        ..reset(SERVER, CLIENT)
    });
    left.push(Sent {
        at_ms: 12,
        ..reset(SERVER, CLIENT)
    });
    let own = compare(&sent[..4], &left);
    let outcome = &only(&own).outcome;
    assert!(!outcome[0].contains("had arrived"), "{outcome:?}");
    let resets = outcome.iter().filter(|it| it.contains("itself reset"));
    assert_eq!(resets.count(), 1, "{outcome:?}");
}

#[test]
fn a_fin_that_was_taken_off_its_data_is_dropped() {
    let mut sent = refused();
    sent[5].payload = record(23, 9, 100);
    let mut left: Vec<_> = sent.iter().take(5).map(passed).collect();
    let last = passed(&sent[5]);
    for (seq, bytes) in [(413, &last.payload[..60]), (473, &last.payload[60..])] {
        left.push(Sent {
            seq,
            flags: "",
            payload: bytes.to_vec(),
            ..last.clone()
        });
    }
    let comparison = compare(&sent, &left);
    let dropped = with(only(&comparison), Fate::Dropped);
    assert!(
        dropped.iter().any(|(_, it)| it.contains("FIN")),
        "{dropped:?}"
    );
}

/// All bytes are others, at the same places: the device rewrites, and has no connection of its own.
#[test]
fn bytes_that_are_all_rewritten_in_place_are_of_the_same_connection() {
    let sent = refused();
    let mut left: Vec<_> = sent.iter().map(passed).collect();
    for it in &mut left {
        it.payload.iter_mut().for_each(|byte| *byte ^= 0x5a);
    }
    let comparison = compare(&sent, &left);
    let compared = only(&comparison);
    assert!(!compared.is_proxied, "{compared:#?}");
    assert_eq!(compared.counts.map(|it| it.rewritten), [2, 1]);
}

/// Its own connection has other addresses and bytes; the FIN that it passes on is another place's.
#[test]
fn a_connection_of_a_proxy_from_its_own_address_is_joined_by_the_server() {
    let sent = refused();
    let left: Vec<_> = [0, 1, 2, 3, 5]
        .iter()
        .map(|at| {
            let mut own = passed(&elsewhere(&sent[*at], CLIENT, NAT));
            own.seq = own.seq.wrapping_add(77_777);
            for byte in own.payload.iter_mut().skip(6) {
                *byte ^= 0x5a;
            }
            own.payload.truncate(250);
            if *at == 5 {
                own.seq -= 57;
            }
            own
        })
        .collect();
    let comparison = compare(&sent, &left);
    let compared = only(&comparison);
    assert!(compared.is_common && compared.is_proxied, "{compared:#?}");
    let fin = |(_, it): &(Party, String)| it.contains("FIN");
    assert!(!with(compared, Fate::Dropped).iter().any(fin));
    assert!(!with(compared, Fate::Inserted).iter().any(fin));
}

#[test]
fn a_syn_alone_is_found_behind_address_translation() {
    let sent = [refused()[0].clone()];
    let left = [passed(&elsewhere(&sent[0], CLIENT, NAT))];
    assert_eq!(compare(&sent, &left).common(), 1);
}

#[test]
fn an_alert_that_many_send_joins_no_strangers() {
    let sent = refused();
    let mut other = sent.clone();
    for it in &mut other {
        for end in [&mut it.from, &mut it.to] {
            end.0[1] = 99;
        }
        it.seq = it.seq.wrapping_add(1);
        if it.payload != ALERT {
            it.payload.iter_mut().skip(6).for_each(|byte| *byte ^= 0x77);
        }
    }
    assert_eq!(compare(&sent, &other).common(), 0);
}

/// The device opens a connection of its own between the same ends, and later passes one on, under other numbers.
#[test]
fn of_connections_of_the_same_ends_those_near_in_time_are_joined() {
    let syn = refused()[0].clone();
    let later = Sent {
        at_ms: 10_000,
        seq: 700_000,
        ..syn.clone()
    };
    let left = Sent {
        seq: 900_000,
        ..passed(&later)
    };
    let comparison = compare(&[later], &[syn, left]);
    let connections = comparison.connections.iter();
    let common: Vec<_> = connections.map(|it| it.is_common).collect();
    assert_eq!(common, [false, true]);
}
