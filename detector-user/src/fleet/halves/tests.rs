use std::sync::Arc;
use std::time::{Duration, Instant};

use detector_common::flow::{
    Address, Flow, FlowKey, Record, Sender, Side, Watched, flow_flags, side_flags,
};
use detector_common::headers::tcp_flags;
use detector_common::observation::{Measured, Observation, events};
use detector_common::record::HANDSHAKE;

use super::joiner::{Clock, Joiner, Outgoing, Ready};
use crate::fleet::message::HalfMessage;
use crate::flow::flow_id::FlowId;
use crate::flow::halves::Half;
use crate::flow::timeline::Timeline;
use crate::flow::tracker::SeenHalf;

const SECOND: Duration = Duration::from_secs(1);
const CLIENT_SEQ: u32 = 1_000;
const SERVER_SEQ: u32 = 9_000;

/// One segment of a half, at a time of its gateway's clock.
pub(super) fn observation(side: Sender, port: u16, time_ns: u64, number: u32) -> Observation {
    let key = FlowKey {
        addresses: [1, 2].map(|last| Address::from_ipv4(0x0a00_0000 | last)),
        ports: [port, 443],
        ..FlowKey::default()
    };
    let (own, other, event, flags) = match side {
        Sender::Client => (CLIENT_SEQ, SERVER_SEQ, events::HELLO, 0),
        Sender::Server => (SERVER_SEQ, CLIENT_SEQ + 205, 0, flow_flags::SERVER_HALF),
    };
    let own = own + number;
    let seen = Side {
        last_ns: time_ns,
        start_seq: own,
        next_seq: own + 205,
        header_seq: own + 205,
        ack: other,
        record_count: 1,
        flags: side_flags::SEEN | side_flags::STARTED | side_flags::SYNCED,
        ..Side::default()
    };
    let mut watched = Watched {
        flow: Flow {
            started_ns: time_ns,
            flags,
            ..Flow::default()
        },
        ..Watched::default()
    };
    watched.flow.sides[side as usize] = seen;
    watched.records[side as usize][0] = Record {
        length: 200,
        content_type: HANDSHAKE,
        detail: [1 + side as u8, 0],
        ..Record::default()
    };
    Observation {
        time_ns,
        measured: Measured {
            seq: own,
            ack: other,
            payload_len: 205,
            flags: tcp_flags::ACK,
            ..Measured::default()
        },
        watched,
        key,
        events: event,
        sender: side as u8,
        ..Observation::default()
    }
}

fn half(side: Sender, port: u16) -> Half {
    half_of(side, port, 0)
}

/// A half of another connection on the same ports has another `number`.
fn half_of(side: Sender, port: u16, number: u32) -> Half {
    // The clocks have nothing to do with each other.
    let time_ns = [5_000_000_000, 77_000_000][side as usize];
    let first = observation(side, port, time_ns, number);
    let mut end = first;
    end.time_ns += 2_000_000;
    end.events = events::FIN;
    end.measured.flags |= tcp_flags::FIN;
    end.measured.payload_len = 0;
    end.watched.flow.sides[side as usize].flags |= side_flags::FIN;
    end.watched.flow.sides[side as usize].next_seq += 1;
    Half {
        flow: FlowId {
            key: first.key,
            started_ns: time_ns,
        },
        side,
        tap: "eth0".into(),
        unix_offset_ns: 0,
        observations: vec![first, end],
        handshake: vec![(0, vec![22, 3, 3])],
        is_over: true,
    }
}

fn seen(half: Half) -> SeenHalf {
    let timeline = Timeline::unspoken(half.flow, 0);
    SeenHalf {
        half: Box::new(half),
        alone: Some(Box::new(timeline)),
    }
}

/// Gateways that know of each other, and a clock.
struct Fleet {
    now: Instant,
    joiners: Vec<(Arc<str>, Joiner)>,
    joined: Vec<String>,
    alone: usize,
}

impl Fleet {
    fn new(names: &[&str]) -> Self {
        let now = Instant::now();
        let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        let joiner = |name: &Arc<str>| {
            let mut joiner = Joiner::new(name);
            for other in &names {
                joiner.record_member(other, true, now);
            }
            (Arc::clone(name), joiner)
        };
        Self {
            now,
            joiners: names.iter().map(joiner).collect(),
            joined: Vec::new(),
            alone: 0,
        }
    }

    fn see(&mut self, gateway: usize, half: Half) {
        let now = self.now;
        self.joiners[gateway].1.record_seen(seen(half), now);
    }

    /// Delivers what was sent, but to those who are `dead`.
    fn turn(&mut self, dead: &[usize]) {
        for number in 0..self.joiners.len() {
            let (from, joiner) = &mut self.joiners[number];
            let (from, sent) = (Arc::clone(from), joiner.take_outgoing());
            for Outgoing { to, message } in sent {
                let stored = message.compressed().unwrap();
                let message = HalfMessage::read(&stored).unwrap();
                let to = self
                    .joiners
                    .iter()
                    .position(|(name, _)| *name == to)
                    .unwrap();
                if !dead.contains(&to) && !dead.contains(&number) {
                    self.joiners[to].1.record_message(&from, message, self.now);
                }
            }
        }
        let clock = Clock {
            now: self.now,
            now_ns: u64::MAX / 2,
            unix_offset_ns: 0,
        };
        for (number, (_, joiner)) in self.joiners.iter_mut().enumerate() {
            for ready in joiner.advance(clock) {
                match ready {
                    _ if dead.contains(&number) => {}
                    Ready::Joined(_, _, tap) => self.joined.push(tap),
                    Ready::Alone(_) => self.alone += 1,
                }
            }
        }
    }

    /// Lets seconds pass.
    fn wait(&mut self, seconds: u32, dead: &[usize]) {
        for _ in 0..seconds {
            self.now += SECOND;
            for number in 0..self.joiners.len() {
                let names: Vec<_> = self.joiners.iter().map(|it| Arc::clone(&it.0)).collect();
                for name in names {
                    let now = self.now;
                    self.joiners[number].1.record_member(&name, true, now);
                }
            }
            self.turn(dead);
        }
    }
}

const PORTS: std::ops::Range<u16> = 40_000..40_040;

#[test]
fn halves_meet_at_any_owner_and_are_told_once() {
    let mut fleet = Fleet::new(&["a", "b", "c"]);
    for port in PORTS {
        fleet.see(0, half(Sender::Client, port));
        fleet.see(1, half(Sender::Server, port));
    }
    fleet.wait(90, &[]);
    assert_eq!((fleet.joined.len(), fleet.alone), (PORTS.len(), 0));
    assert!(fleet.joined.iter().all(|tap| tap == "a/eth0+b/eth0"));
    let by_gateway = fleet
        .joiners
        .iter()
        .map(|(_, joiner)| joiner.counts().joined);
    assert!(by_gateway.min() > Some(0), "each owns some");
}

#[test]
fn a_half_without_a_partner_is_judged_alone_and_a_servers_is_counted() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.see(0, half(Sender::Client, 40_000));
    fleet.see(1, half(Sender::Server, 40_001));
    fleet.wait(9, &[]);
    assert_eq!(fleet.alone, 0);
    fleet.wait(3, &[]);
    assert_eq!((fleet.joined.len(), fleet.alone), (0, 1));
    let alone = fleet
        .joiners
        .iter()
        .map(|(_, joiner)| joiner.counts().alone);
    assert_eq!(alone.collect::<Vec<_>>(), [[1, 0], [0, 1]]);
}

#[test]
fn halves_whose_owner_died_are_judged_alone() {
    let mut fleet = Fleet::new(&["a", "b", "c"]);
    for port in PORTS {
        fleet.see(0, half(Sender::Client, port));
        fleet.see(1, half(Sender::Server, port));
    }
    fleet.wait(90, &[2]);
    assert!(fleet.alone > 0);
    assert_eq!(fleet.joined.len() + fleet.alone, PORTS.len());
}

#[test]
fn a_half_that_comes_again_or_from_another_tap_is_told_once() {
    let mut fleet = Fleet::new(&["a", "b"]);
    let mut other_tap = half(Sender::Client, 40_000);
    other_tap.flow.key.interface = 7;
    for it in &mut other_tap.observations {
        it.key.interface = 7;
    }
    fleet.see(0, half(Sender::Client, 40_000));
    fleet.see(0, other_tap);
    fleet.see(1, half(Sender::Server, 40_000));
    fleet.wait(1, &[]);
    fleet.see(0, half(Sender::Client, 40_000));
    fleet.wait(20, &[]);
    fleet.see(1, half(Sender::Server, 40_000));
    fleet.wait(20, &[]);
    assert_eq!((fleet.joined.len(), fleet.alone), (1, 0));
}

#[test]
fn halves_of_different_connections_on_the_same_ports_do_not_meet() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.see(0, half(Sender::Client, 40_000));
    fleet.see(1, half_of(Sender::Server, 40_000, 3_000_000));
    fleet.wait(20, &[]);
    assert_eq!((fleet.joined.len(), fleet.alone), (0, 1));
}

#[test]
fn the_word_of_a_gateway_that_joins_nothing_silences_no_half() {
    let now = Instant::now();
    let mut joiner = Joiner::new(&Arc::from("a"));
    // It owns its half itself.
    joiner.record_seen(seen(half(Sender::Client, 40_000)), now);
    let word = |port| HalfMessage::Joined(Box::new(half(Sender::Client, port).observations[0]));
    joiner.record_message(&Arc::from("liar"), word(40_000), now);
    // One that was never seen here.
    joiner.record_message(&Arc::from("liar"), word(40_001), now);
    let clock = Clock {
        now: now + 11 * SECOND,
        now_ns: u64::MAX / 2,
        unix_offset_ns: 0,
    };
    assert!(matches!(joiner.advance(clock)[..], [Ready::Alone(_)]));
}

#[test]
fn memory_and_rates_are_bounded() {
    let mut fleet = Fleet::new(&["a"]);
    for number in 0..30_000_u32 {
        let mut half = half(Sender::Client, 40_000);
        half.handshake = vec![(0, vec![0; 16 << 10])];
        for it in &mut half.observations {
            it.key.addresses[0] = Address::from_ipv4(0x0b00_0000 + number);
        }
        half.flow.key = half.observations[0].key;
        fleet.see(0, half);
    }
    let joiner = &fleet.joiners[0].1;
    assert!(joiner.bytes() <= 64 << 20);
    assert!(joiner.counts().dropped > 0);
    fleet.wait(30, &[]);
    assert_eq!(fleet.alone, 30_000, "each is judged");
}

#[test]
fn what_a_gateway_says_is_in_nobodys_future() {
    let mut joiner = Joiner::new(&Arc::from("a"));
    let now = Instant::now();
    let mut client = half(Sender::Client, 40_000);
    client.unix_offset_ns = i64::MAX / 4;
    joiner.record_seen(seen(client), now);
    joiner.record_seen(seen(half(Sender::Server, 40_000)), now);
    let clock = Clock {
        now,
        now_ns: 1_000_000_000_000,
        unix_offset_ns: 0,
    };
    let ready = joiner.advance(clock);
    let [Ready::Joined(composed, ..)] = ready.as_slice() else {
        panic!("it is not joined");
    };
    assert!(composed.last_ns <= clock.now_ns);
}

#[test]
fn messages_are_read_back_and_bad_ones_are_skipped() {
    let message = HalfMessage::Half(Box::new(half(Sender::Server, 40_000)));
    assert_eq!(
        HalfMessage::read(&message.compressed().unwrap()),
        Ok(message)
    );
    let first = observation(Sender::Client, 40_000, 7, 0);
    let message = HalfMessage::Joined(Box::new(first));
    assert_eq!(
        HalfMessage::read(&message.compressed().unwrap()),
        Ok(message)
    );

    let refused = |change: fn(&mut Half)| {
        let mut half = half(Sender::Client, 40_000);
        change(&mut half);
        HalfMessage::read(&HalfMessage::Half(Box::new(half)).compressed().unwrap()).is_err()
    };
    assert!(!refused(|_| {}));
    assert!(refused(|half| half.observations.clear()));
    assert!(refused(|half| half.observations.reverse()));
    assert!(refused(|half| half.observations[1].sender = 1));
    assert!(refused(|half| half.observations[1].key.ports[0] += 1));
    assert!(refused(
        |half| half.observations = vec![half.observations[0]; 17]
    ));
    assert!(refused(|half| half.handshake = vec![(0, vec![0; 16_385])]));
    assert!(refused(|half| half.tap = "eth\u{1b}[0m".into()));
    assert!(HalfMessage::read(b"no zstd").is_err());
}
