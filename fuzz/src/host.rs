//! A host of the engine with room for a few flows, which checks whatever the engine hands it.

use std::collections::{BTreeMap, BTreeSet};

use detector_common::counter::Counter;
use detector_common::engine::{OBSERVATIONS_MAX, Output, Tables, inspect};
use detector_common::flow::{Flow, FlowKey, RECORDS_MAX, Settled, Side, Watched, side_flags};
use detector_common::headers::{Segment, Tap, tcp_flags, walk};
use detector_common::observation::{
    CHUNK_MAX, ChunkHead, HANDSHAKE_BYTES_MAX, Observation, events,
};
use detector_common::packet::Packet;
use detector_common::record::{ALERT, APPLICATION_DATA, HANDSHAKE, HEAD_MAX, LENGTH_MAX};
use detector_common::report::Report;
use detector_common::syn::{SynSlot, slot_hash};
use detector_common::tag_set::{FlowTag, TagSet};
use zerocopy::FromBytes;

/// Few enough that inputs fill the tables.
const FLOWS_MAX: usize = 4;
/// Few enough that flows share a set.
const TAG_SETS: usize = 2;
/// Chunks of one segment at most.
const CHUNKS_MAX: usize = 11;

/// Returns a value as the kernel finds it: memory that something else was in.
fn leftover<T: FromBytes>() -> T {
    T::read_from_bytes(&vec![0xa5; size_of::<T>()]).unwrap()
}

/// The engine with its tables.
#[derive(Default)]
pub struct Host {
    flows: Flows,
    /// Flows that a hello began.
    started: BTreeSet<FlowKey>,
    now_ns: u64,
    /// The last observation of each flow.
    pub observed: BTreeMap<FlowKey, Observation>,
    /// Handshake bytes that were sent, with their heads.
    pub chunks: Vec<(ChunkHead, Vec<u8>)>,
}

impl Host {
    /// Creates one that follows connections of which one direction alone passes, or does not.
    pub fn following_halves(follows: bool) -> Self {
        let mut host = Self::default();
        host.flows.follows_halves = follows;
        host
    }

    /// Runs one frame through the engine, `elapsed_ns` after the one before.
    pub fn frame(&mut self, frame: &[u8], tap: &Tap, elapsed_ns: u64) -> Counter {
        self.now_ns += elapsed_ns;
        let walked = walk(&frame, tap);
        let mut output = Checked {
            frame,
            tap,
            segment: walked.ok().map(|mut segment| {
                segment.order_endpoints();
                segment
            }),
            now_ns: self.now_ns,
            started: &mut self.started,
            observed: None,
            chunks: Vec::new(),
            table_full: false,
            follows_halves: self.flows.follows_halves,
        };
        let outcome = inspect(&frame, tap, &mut self.flows, &mut output);
        assert!(outcome.is_outcome(), "{outcome:?} is no packet's way");
        match walked {
            Ok(_) => assert!(matches!(outcome, Counter::Unwatched | Counter::Followed)),
            Err(reason) => assert_eq!(outcome, reason),
        }
        if outcome != Counter::Followed {
            let of_no_flow =
                |it: Observation| it.events & (events::REFUSED | events::UNANSWERED) == 0;
            assert!(
                !output.observed.is_some_and(of_no_flow),
                "an observation of no flow"
            );
            assert!(output.chunks.is_empty(), "handshake bytes of no flow");
        }
        if output.table_full {
            assert_eq!(self.flows.watched.len(), FLOWS_MAX);
        }
        let of_a_flow = |it: &Observation| it.events & (events::REFUSED | events::UNANSWERED) == 0;
        self.observed.extend(
            output
                .observed
                .filter(of_a_flow)
                .map(|observation| (observation.key, observation)),
        );
        self.chunks.append(&mut output.chunks);
        self.flows.check();
        outcome
    }
}

/// The tables, the filter of tags before them as in the kernel.
#[derive(Default)]
struct Flows {
    watched: BTreeMap<FlowKey, Watched>,
    settled: BTreeMap<FlowKey, Settled>,
    tags: [TagSet; TAG_SETS],
    /// The one slot.
    syns: SynSlot,
    follows_halves: bool,
}

impl Flows {
    fn tag_set(&mut self, tag: FlowTag) -> &mut TagSet {
        &mut self.tags[tag.set as usize % TAG_SETS]
    }

    fn remove(&mut self, key: &FlowKey) -> Option<Watched> {
        let watched = self.watched.remove(key)?;
        let tag = FlowTag::of(key, 0);
        let set = self.tag_set(tag);
        *set = set.without(tag);
        Some(watched)
    }

    fn check(&mut self) {
        assert!(self.watched.len() <= FLOWS_MAX && self.settled.len() <= FLOWS_MAX);
        for key in self.watched.keys().copied().collect::<Vec<_>>() {
            assert!(self.may_watch(&key), "the filter misses a watched flow");
        }
    }
}

impl Tables for Flows {
    fn may_watch(&mut self, key: &FlowKey) -> bool {
        let tag = FlowTag::of(key, 0);
        self.tag_set(tag).may_contain(tag)
    }

    fn follows_halves(&self) -> bool {
        self.follows_halves
    }

    fn settled(&mut self, key: &FlowKey) -> Option<&Settled> {
        self.settled.get(key)
    }

    fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched> {
        self.watched.get_mut(key)
    }

    fn watch(
        &mut self,
        key: &FlowKey,
        _: u64,
        begin: impl FnOnce(&mut Flow, Option<&SynSlot>),
    ) -> Option<&mut Watched> {
        if !self.watched.contains_key(key) {
            if self.watched.len() == FLOWS_MAX {
                return None;
            }
            let tag = FlowTag::of(key, 0);
            let set = self.tag_set(tag);
            *set = set.with(tag);
        }
        let mut watched: Watched = leftover();
        begin(&mut watched.flow, self.syns(key).map(|slot| &*slot));
        self.watched.insert(*key, watched);
        self.watched.get_mut(key)
    }

    fn unwatch(&mut self, key: &FlowKey) {
        self.remove(key)
            .expect("a flow that is not watched is forgotten");
    }

    fn settle(&mut self, key: &FlowKey) {
        let watched = self
            .remove(key)
            .expect("a flow that is not watched settles");
        if self.settled.len() == FLOWS_MAX {
            self.settled.pop_first();
        }
        self.settled.insert(*key, Settled::of(&watched.flow));
    }

    fn resume(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Watched> {
        let settled = self.settled.remove(key)?;
        self.watch(key, now_ns, |flow, _| settled.resume(flow))
    }

    fn claim_syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot> {
        let hash = slot_hash(key, 0);
        self.syns.claim(hash);
        Some(&mut self.syns)
    }

    fn syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot> {
        let hash = slot_hash(key, 0);
        Some(&mut self.syns).filter(|slot| slot.is_of(hash))
    }
}

/// The engine's output for one frame, checked against the frame.
struct Checked<'a> {
    frame: &'a [u8],
    tap: &'a Tap,
    /// The frame's segment, its endpoints in the flow's order.
    segment: Option<Segment>,
    now_ns: u64,
    started: &'a mut BTreeSet<FlowKey>,
    observed: Option<Observation>,
    chunks: Vec<(ChunkHead, Vec<u8>)>,
    table_full: bool,
    follows_halves: bool,
}

impl Output for Checked<'_> {
    const ALERTS_IN_REPORTS: bool = true;

    fn now_ns(&mut self) -> u64 {
        self.now_ns
    }

    fn send_report<P: Packet>(&mut self, _: &P, report: &Report<'_>) -> bool {
        let mut observation: Observation = leftover();
        report.write(&mut observation);
        let segment = self.segment.expect("an observation without a segment");
        if observation.alert_unsent != 0 {
            let (head, bytes) = observation.take_alert_bytes().expect("it has an alert");
            let from = segment.payload_offset;
            assert_eq!(self.frame.get(from..from + bytes.len()), Some(&bytes[..]));
            self.chunks.push((head, bytes.to_vec()));
        }
        let item = observation.to_item();
        let read = Observation::read(item.as_bytes()).expect("an item that cannot be read");
        assert_eq!(read.to_item().as_bytes(), item.as_bytes());
        assert!(self.observed.is_none(), "two observations of one frame");
        let refused = observation.events & (events::REFUSED | events::UNANSWERED) != 0;
        assert!(
            refused || self.started.contains(&observation.key),
            "no hello began this flow"
        );
        check_segment(&observation, &segment);
        check_flow(&observation, self.now_ns);
        assert_eq!(observation.time_ns, self.now_ns);
        assert_eq!(observation.egress, u8::from(self.tap.egress));
        assert_eq!(observation.reserved, [0; 3]);
        self.observed = Some(observation);
        true
    }

    fn send_chunk<P: Packet>(
        &mut self,
        packet: &P,
        offset: usize,
        len: usize,
        fill: impl FnOnce(&mut ChunkHead),
    ) -> bool {
        let mut head: ChunkHead = leftover();
        fill(&mut head);
        let segment = self.segment.expect("handshake bytes without a segment");
        let payload = segment.payload_offset..segment.payload_offset + segment.payload_len as usize;
        assert!(payload.contains(&offset) && offset + len <= payload.end);
        assert!((1..=CHUNK_MAX).contains(&len) && usize::from(head.len) == len);
        assert!(head.offset + u32::from(head.len) <= HANDSHAKE_BYTES_MAX);
        assert!(head.sender <= 1 && head.client_endpoint <= 1 && head.reserved == 0);
        assert_eq!(head.key, segment.key);
        let mut bytes = [0xa5; CHUNK_MAX];
        let copied = packet.copy(offset, &mut bytes, len);
        assert_eq!(copied, offset + len <= self.frame.len());
        if copied {
            assert_eq!(bytes[..len], self.frame[offset..offset + len]);
            self.chunks.push((head, bytes[..len].to_vec()));
            assert!(self.chunks.len() <= CHUNKS_MAX);
        }
        copied
    }

    fn count(&mut self, event: Counter) {
        assert!(!event.is_outcome());
        let segment = self.segment.expect("an event without a segment");
        match event {
            Counter::Started => {
                // A server's half may begin at its end.
                let is_end = segment.has(tcp_flags::FIN | tcp_flags::RST);
                let first = self.frame.get(segment.payload_offset);
                assert!(
                    first == Some(&HANDSHAKE)
                        || self.follows_halves && (is_end || first == Some(&ALERT))
                );
                self.started.insert(segment.key);
            }
            Counter::TableFull => self.table_full = true,
            Counter::Resumed => assert!(self.started.contains(&segment.key)),
            _ => {}
        }
    }
}

/// Checks an observation's measurements, and that the segment is cause for each event.
fn check_segment(observation: &Observation, segment: &Segment) {
    let measured = &observation.measured;
    assert_eq!(observation.key, segment.key);
    assert_eq!((measured.seq, measured.ack), (segment.seq, segment.ack));
    assert_eq!(measured.payload_len, segment.payload_len);
    assert_eq!((measured.flags, measured.ttl), (segment.flags, segment.ttl));
    assert_eq!(
        (measured.window, measured.ip_id),
        (segment.window, segment.ip_id)
    );
    assert_eq!(
        (measured.mac, measured.options_len),
        (segment.source_mac, segment.options_len)
    );
    assert_eq!(measured.reserved, [0; 4]);

    let flow = &observation.watched.flow;
    assert!(flow.client_endpoint <= 1);
    let sender = u8::from(segment.endpoint != flow.client_endpoint);
    assert_eq!(observation.sender, sender);
    let side = &flow.sides[usize::from(sender)];
    let is = |event: u16| observation.events & event != 0;
    let reset = segment.has(tcp_flags::RST);
    let of_records = events::HELLO | events::HALF | events::ALERT | events::SHORT_RECORD;
    assert_ne!(observation.events, 0, "an observation without a cause");
    // Of a side's many resets the first few are reported.
    assert!(!is(events::RESET) || reset);
    assert!(!is(events::OUTLIVED_RESET) || (segment.has(tcp_flags::ACK) && !reset));
    assert!(!is(events::FIN) || (segment.has(tcp_flags::FIN) && !reset));
    assert!(!is(of_records) || segment.payload_len > 0);
    // The payload of a reset is read only if it is an alert.
    assert!(!reset || !is(events::HELLO));
    assert!(!is(events::SERVER_HALF) || sender == 1);
    assert!(!is(events::SENT_AFTER_RESET) || (side.has(side_flags::RST) && !reset));
}

/// Checks that a flow's numbers are within their bounds.
fn check_flow(observation: &Observation, now_ns: u64) {
    let Watched { flow, records } = &observation.watched;
    assert!((1..=OBSERVATIONS_MAX).contains(&flow.observations));
    assert!(flow.started_ns <= now_ns);
    let age_us = (now_ns - flow.started_ns) / 1000;
    for (side, records) in flow.sides.iter().zip(records) {
        check_side(side);
        let records = &records[..usize::from(side.record_count)];
        for record in records {
            assert!((20..=24).contains(&record.content_type) && record.version_minor <= 4);
            assert!(record.length <= LENGTH_MAX && record.flags <= 3);
            assert!(u64::from(record.at_us) <= age_us);
            assert!(matches!(record.content_type, ALERT | HANDSHAKE) || record.detail == [0; 2]);
        }
        let of_data = |record: &&_| {
            let record: &detector_common::flow::Record = record;
            record.content_type == APPLICATION_DATA
        };
        assert!(records.iter().filter(of_data).count() <= usize::from(side.application_records));
    }
}

fn check_side(side: &Side) {
    assert!(usize::from(side.record_count) <= RECORDS_MAX);
    assert!(u32::from(side.head_len) < HEAD_MAX);
    assert!(side.ttl_min <= side.ttl_max);
    assert!(side.options_len <= 40);
    assert_eq!(side.reserved, [0; 5]);
    assert!(side.sent_to.wrapping_sub(side.start_seq) <= HANDSHAKE_BYTES_MAX);
}
