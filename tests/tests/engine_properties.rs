//! The engine's records do not depend on how a stream was cut into segments.

use std::collections::BTreeSet;

use detector_common::counter::Counter;
use detector_common::flow::{record_flags, side_flags};
use detector_common::observation::{Observation, events};
use proptest::prelude::*;
use tests::conversation::{Conversation, From, Network, tls};
use tests::engines::{Host, Told};

/// A server's flight and alert; records of many lengths.
fn flight() -> Vec<u8> {
    [
        tls::server_hello(0xc02f, false),
        tls::record(22, &tls::message(11, &[1; 700])),
        tls::record(22, &tls::message(12, &[2; 3])),
        tls::record(22, &tls::message(14, &[])),
        tls::record(20, &[1]),
        tls::record(22, &[7; 40]),
        tls::record(23, &[8; 300]),
        tls::record(23, &[]),
        tls::record(21, &[2, 80]),
    ]
    .concat()
}

/// Content type, length and detail of the server's records, as last told.
fn records(told: &Told) -> Vec<(u8, u16, [u8; 2])> {
    let Some(last) = told.observations.last() else {
        return Vec::new();
    };
    let [_, server] = last.watched.records;
    let count = usize::from(last.watched.flow.sides[1].record_count);
    server
        .iter()
        .take(count)
        .map(|r| (r.content_type, r.length, r.detail))
        .collect()
}

fn seen(told: &Told) -> u16 {
    told.observations
        .iter()
        .fold(0, |seen, observation| seen | observation.events)
}

/// The server's handshake bytes, put in order.
fn carried(told: &Told) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (head, chunk) in told.chunks.iter().filter(|(head, _)| head.sender == 1) {
        let end = head.offset as usize + chunk.len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[head.offset as usize..end].copy_from_slice(chunk);
    }
    bytes
}

/// Runs a connection whose server's flight is cut at `cuts`, pieces in the order of `order`.
fn run(first_seq: u32, cuts: &[usize], order: impl Fn(&mut Vec<Vec<u8>>)) -> Told {
    let mut talk = Conversation::new(Network::Ipv4);
    talk.seq = [first_seq, first_seq.wrapping_add(77)];
    let mut host = Host::default();
    host.frame(&talk.data(From::Client, &tls::client_hello("property.test", 200)));
    let stream = flight();
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % stream.len()).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    let mut frames: Vec<Vec<u8>> = places
        .windows(2)
        .filter(|pair| pair[0] < pair[1])
        .map(|pair| talk.data(From::Server, &stream[pair[0]..pair[1]]))
        .collect();
    order(&mut frames);
    frames.iter().for_each(|frame| host.frame(frame));
    host.frame(&talk.fin(From::Server));
    host.told()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_cut_tells_the_same(
        first_seq in prop_oneof![any::<u32>(), (u32::MAX - 1500)..],
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
    ) {
        let whole = run(1, &[], |_| {});
        let cut = run(first_seq, &cuts, |_| {});
        prop_assert_eq!(records(&cut), records(&whole));
        prop_assert_eq!(seen(&cut), seen(&whole));
        // Application data may ride in the segment that shows where the clear ends.
        let end = flight().len() - 7 - 5 - 305;
        prop_assert_eq!(&carried(&cut)[..end], &flight()[..end]);
    }

    #[test]
    fn retransmissions_tell_nothing_new(
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
        again in proptest::collection::vec((any::<usize>(), any::<usize>()), 0..20),
    ) {
        let whole = run(1, &cuts, |_| {});
        let doubled = run(1, &cuts, |frames| {
            for (from, to) in &again {
                let twin = frames[from % frames.len()].clone();
                // A retransmission comes after the original.
                let place = from % frames.len() + 1 + to % (frames.len() - from % frames.len());
                frames.insert(place.min(frames.len()), twin);
            }
        });
        prop_assert_eq!(records(&doubled), records(&whole));
        prop_assert_eq!(seen(&doubled), seen(&whole));
    }

    /// Two neighbours swapped: either all is observed, or the gap is flagged and the observations
    /// are true.
    #[test]
    fn reordering_tells_the_same_or_says_so(
        cuts in proptest::collection::vec(any::<usize>(), 1..20),
        place in any::<usize>(),
    ) {
        let whole = run(1, &cuts, |_| {});
        let disordered = run(1, &cuts, |frames| {
            if frames.len() > 2 {
                // The flight's first segment is where the server's numbers begin.
                let place = 1 + place % (frames.len() - 2);
                frames.swap(place, place + 1);
            }
        });
        let gap = disordered
            .observations
            .iter()
            .any(|o: &Observation| o.watched.flow.sides[1].flags & side_flags::GAP != 0);
        let told: BTreeSet<_> = records(&disordered).into_iter().collect();
        let true_ones: BTreeSet<_> = records(&whole).into_iter().collect();
        if !gap {
            prop_assert_eq!(&told, &true_ones);
        }
        let after_gap = disordered.observations.iter().any(|o| {
            o.watched.records[1].iter().any(|r| r.flags & record_flags::AFTER_GAP != 0)
        });
        prop_assert!(told.is_subset(&true_ones) || after_gap);
        // However the segments come, the bytes get through.
        let end = flight().len() - 7 - 5 - 305;
        let bytes = carried(&disordered);
        prop_assert_eq!(&bytes[..end.min(bytes.len())], &flight()[..end.min(bytes.len())]);
    }
}

#[test]
fn a_lost_segment_is_flagged_and_what_follows_is_read() {
    // Cut at record borders, the certificate is lost.
    let hello = tls::server_hello(0xc02f, false).len();
    let certificate = hello + 5 + 4 + 700;
    let told = run(1, &[hello, certificate], |frames| {
        frames.remove(1);
    });
    let [_, server] = told.observations.last().unwrap().watched.flow.sides;
    assert_ne!(server.flags & side_flags::GAP, 0);
    assert_eq!(server.flags & side_flags::NOT_TLS, 0);
    assert!(records(&told).iter().any(|(kind, ..)| *kind == 21));
    assert_ne!(seen(&told) & events::ALERT, 0);
}

#[test]
fn bytes_in_place_of_a_record_are_flagged() {
    // The alert that ends the flight becomes an LDAP message.
    let told = run(1, &[flight().len() - 7], |frames| {
        let alert = frames.iter_mut().rev().find_map(|frame| {
            let at = frame.windows(3).position(|head| head == [21, 3, 3])?;
            frame.get_mut(at)
        });
        *alert.unwrap() = 0x30;
    });
    let [_, server] = told.observations.last().unwrap().watched.flow.sides;
    assert_ne!(server.flags & side_flags::NOT_TLS, 0);
}

#[test]
fn a_segment_half_the_sequence_space_behind_sends_nothing() {
    let mut talk = Conversation::new(Network::Ipv4);
    let mut host = Host::default();
    host.frame(&talk.data(From::Client, &tls::client_hello("far.test", 200)));
    let hello = tls::server_hello(0xc02f, false);
    host.frame(&talk.data(From::Server, &hello[..20]));
    talk.seq[1] = talk.seq[1].wrapping_sub((1 << 31) - 1);
    host.frame(&talk.data(From::Server, &hello[20..]));
    let lost = |(counter, count): &(Counter, u64)| *counter == Counter::HandshakeLost && *count > 0;
    assert!(!host.counters().iter().any(lost));
    assert_eq!(carried(&host.told()), hello[..20]);
}
