//! Observations as items of their ring: nothing that user space reads is lost, and no torn item is read.

use detector_common::flow::{Address, FlowKey, RECORDS_MAX, Record, Side};
use detector_common::item::{ITEM_MAX, ITEM_MIN};
use detector_common::observation::{Measured, Observation};
use detector_common::syn::Syn;

/// Numbers that all differ, so that none can take another's place.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x9e37_79b1_85eb_ca87).wrapping_add(1);
        self.0 ^ self.0 >> 29
    }

    fn mac(&mut self) -> u64 {
        self.next() >> 16
    }

    fn side(&mut self, records: usize) -> Side {
        Side {
            last_ns: self.next(),
            mac: self.mac(),
            start_seq: self.next() as u32,
            next_seq: self.next() as u32,
            ack: self.next() as u32,
            header_seq: self.next() as u32,
            reset_end: self.next() as u32,
            application_records: self.next() as u16,
            ip_id: self.next() as u16,
            window: self.next() as u16,
            flags: self.next() as u16,
            ttl_min: self.next() as u8,
            ttl_max: self.next() as u8,
            options_len: self.next() as u8,
            record_count: records as u8,
            resets: self.next() as u8,
            after_reset: self.next() as u8,
            ..Side::default()
        }
    }

    fn syn(&mut self) -> Syn {
        Syn {
            time_ns: self.next(),
            mac: self.mac(),
            next_seq: self.next() as u32,
            window: self.next() as u16,
            ip_id: self.next() as u16,
            ttl: self.next() as u8,
            options_len: self.next() as u8,
            count: self.next() as u8 | 1,
            ..Syn::default()
        }
    }

    fn record(&mut self) -> Record {
        Record {
            at_us: self.next() as u32,
            length: self.next() as u16,
            content_type: self.next() as u8,
            version_minor: self.next() as u8,
            detail: (self.next() as u16).to_ne_bytes(),
            order: self.next() as u8,
            flags: self.next() as u8,
        }
    }

    fn key(&mut self, ipv4: bool) -> FlowKey {
        let mut address = || match ipv4 {
            true => Address::from_ipv4(self.next() as u32),
            false => Address::from_halves(self.next(), self.next()),
        };
        FlowKey {
            addresses: [address(), address()],
            ports: [self.next() as u16, self.next() as u16],
            vlan: [self.next() as u16, self.next() as u16],
            interface: self.next() as u32,
            tunnel: self.next() as u32,
        }
    }

    fn measured(&mut self) -> Measured {
        Measured {
            since_same_ns: self.next(),
            since_other_ns: self.next(),
            mac: self.mac(),
            seq: self.next() as u32,
            ack: self.next() as u32,
            seq_ahead: self.next() as i32,
            ack_ahead: self.next() as i32,
            payload_len: self.next() as u32,
            window: self.next() as u16,
            ip_id: self.next() as u16,
            flags: self.next() as u8,
            ttl: self.next() as u8,
            options_len: self.next() as u8,
            baseline: self.next() as u8,
            reserved: [0; 4],
        }
    }

    /// Returns an observation with all that items carry.
    fn observation(&mut self, ipv4: bool, has_syns: bool, records: [usize; 2]) -> Observation {
        let mut observation = Observation {
            time_ns: self.next(),
            measured: self.measured(),
            key: self.key(ipv4),
            events: self.next() as u16,
            sender: self.next() as u8 & 1,
            egress: self.next() as u8 & 1,
            alert_unsent: self.next() as u8 & 1,
            ..Observation::default()
        };
        let watched = &mut observation.watched;
        let flow = &mut watched.flow;
        flow.started_ns = self.next();
        flow.sides = records.map(|count| self.side(count));
        if has_syns {
            flow.syns = [self.syn(), self.syn()];
        }
        flow.vlan = [self.next() as u16, self.next() as u16];
        flow.client_endpoint = self.next() as u8;
        flow.flags = self.next() as u8;
        flow.observations = self.next() as u8;
        flow.order = self.next() as u8;
        for (count, list) in records.into_iter().zip(&mut watched.records) {
            list[..count].fill_with(|| self.record());
        }
        observation
    }
}

/// Observations of every length, with the length of their items.
fn all() -> impl Iterator<Item = (Observation, usize)> {
    let mut numbers = Numbers(7);
    let lengths =
        (0..=RECORDS_MAX).flat_map(|client| (0..=RECORDS_MAX).map(move |it| [client, it]));
    let kinds = [true, false].map(|ipv4| [true, false].map(|has_syns| (ipv4, has_syns)));
    lengths
        .flat_map(move |records| {
            kinds
                .as_flattened()
                .to_vec()
                .into_iter()
                .map(move |(ipv4, has_syns)| (ipv4, has_syns, records))
        })
        .map(move |(ipv4, has_syns, records)| {
            let pairs: usize = records.iter().map(|count| count.div_ceil(2)).sum();
            let words = 24 + if ipv4 { 1 } else { 4 } + if has_syns { 6 } else { 0 } + 3 * pairs;
            (numbers.observation(ipv4, has_syns, records), 8 * words)
        })
}

#[test]
fn an_item_has_all_that_its_observation_says_and_no_more_than_its_records() {
    for (observation, length) in all() {
        let item = observation.to_item();
        assert_eq!(item.as_bytes().len(), length);
        assert!((ITEM_MIN..=ITEM_MAX).contains(&length));
        assert_eq!(Observation::read(item.as_bytes()), Some(observation));
        // At an address that is aligned to nothing.
        let moved = [&[0], item.as_bytes()].concat();
        assert_eq!(Observation::read(&moved[1..]), Some(observation));
    }
}

#[test]
fn records_beyond_the_count_and_the_engines_own_state_are_left_out() {
    let mut numbers = Numbers(3);
    let plain = numbers.observation(true, true, [3, 0]);
    let mut full = plain;
    full.watched.records[0][3..].fill_with(|| numbers.record());
    full.watched.records[1].fill_with(|| numbers.record());
    let [client, _] = &mut full.watched.flow.sides;
    (client.head, client.head_len) = (1, 2);
    (client.hole_seq, client.hole_end) = (3, 4);
    (client.sent_to, client.plaintext_end) = (5, 6);
    assert_eq!(Observation::read(full.to_item().as_bytes()), Some(plain));
}

#[test]
fn no_item_torn_at_any_length_is_read() {
    for (observation, length) in all().step_by(29) {
        let item = [observation.to_item().as_bytes(), &[0; 32]].concat();
        for torn in (0..item.len()).filter(|torn| *torn != length) {
            assert_eq!(
                Observation::read(&item[..torn]),
                None,
                "{length} torn at {torn}"
            );
        }
    }
}

#[test]
fn a_synless_half_keeps_the_number_that_its_server_begins_at() {
    let mut half = Numbers(5).observation(true, false, [1, 0]);
    half.watched.flow.syns[1].next_seq = 77;
    assert_eq!(Observation::read(half.to_item().as_bytes()), Some(half));
}

#[test]
fn counts_and_kinds_that_no_engine_writes_are_refused() {
    let observation = Numbers(9).observation(true, true, [RECORDS_MAX, RECORDS_MAX]);
    let item = observation.to_item().as_bytes().to_vec();
    let kind = 8 * 8 + if cfg!(target_endian = "little") { 6 } else { 1 };
    for bit in 5..8 {
        let mut other = item.clone();
        other[kind] |= 1 << bit;
        assert_eq!(Observation::read(&other), None);
    }
    let mut more = observation;
    more.watched.flow.sides[1].record_count = RECORDS_MAX as u8 + 1;
    assert_eq!(Observation::read(more.to_item().as_bytes()), None);
}
