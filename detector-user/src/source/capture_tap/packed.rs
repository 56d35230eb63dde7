//! A watched flow that nothing was seen of for a while, as a few bytes.
//!
//! Most of its state is zero, or alike to other numbers of it: those become their difference, and of each word that
//! is left the bytes are written that are not zero.

use detector_common::flow::{Flow, RECORDS_MAX, Record, Watched, side_flags};

/// Words of a flow's state.
const WORDS: usize = size_of::<Watched>() / size_of::<u64>();
/// Most bytes of a packed flow: a head and a number of words before each word, and room for the last one's zeros.
const PACKED_MAX: usize = WORDS * (2 + size_of::<u64>()) + size_of::<u64>();
/// A head's number of zero words before its own; from this one on the number follows.
const MANY: usize = 3;

/// A packed flow.
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn of(watched: &Watched) -> Self {
        let mut state = *watched;
        fold(&mut state);
        let words: [u64; WORDS] = zerocopy::transmute!(state);
        let mut to = Writer {
            bytes: [0; PACKED_MAX],
            len: 0,
        };
        let mut zeros = 0;
        for word in words {
            if word == 0 {
                zeros += 1;
            } else {
                to.word(zeros, word);
                zeros = 0;
            }
        }
        Self(to.bytes.get(..to.len).unwrap_or_default().into())
    }

    /// Restores the flow as it was.
    pub(super) fn unpack(&self, watched: &mut Watched) {
        let mut words = [0; WORDS];
        let (mut rest, mut at) = (&*self.0, 0);
        while let Some((zeros, word)) = next_word(&mut rest) {
            at += zeros;
            if let Some(place) = words.get_mut(at) {
                *place = word;
            }
            at += 1;
        }
        *watched = zerocopy::transmute!(words);
        unfold(watched);
    }
}

struct Writer {
    bytes: [u8; PACKED_MAX],
    len: usize,
}

impl Writer {
    /// Writes a word that is not zero, and how many before it are.
    fn word(&mut self, zeros: usize, word: u64) {
        let low = word.trailing_zeros() / 8;
        let len = 8 - word.leading_zeros() / 8 - low;
        let head = low | (len - 1) << 3 | (zeros.min(MANY) as u32) << 6;
        self.bytes(u64::from(head), 1);
        if zeros >= MANY {
            self.bytes(zeros as u64, 1);
        }
        self.bytes(word >> (8 * low), len as usize);
    }

    /// Writes the first bytes of a word.
    fn bytes(&mut self, word: u64, len: usize) {
        let room = self.bytes.get_mut(self.len..);
        if let Some(to) = room.and_then(<[u8]>::first_chunk_mut) {
            *to = word.to_le_bytes();
            self.len += len;
        }
    }
}

/// Reads the number of zero words before the next one, and that.
fn next_word(rest: &mut &[u8]) -> Option<(usize, u64)> {
    let head = take(rest, 1)?;
    let (low, len, zeros) = (head & 7, (head >> 3 & 7) + 1, head >> 6);
    let zeros = if zeros as usize == MANY {
        take(rest, 1)?
    } else {
        zeros
    };
    Some((zeros as usize, take(rest, len as usize)? << (8 * low)))
}

/// Takes one to eight bytes.
fn take(rest: &mut &[u8], len: usize) -> Option<u64> {
    let word = match rest.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes) & u64::MAX >> (64 - 8 * len),
        None => {
            let mut bytes = [0; 8];
            bytes.get_mut(..len)?.copy_from_slice(rest.get(..len)?);
            u64::from_le_bytes(bytes)
        }
    };
    *rest = rest.get(len..)?;
    Some(word)
}

/// Exchanges numbers for their difference from others.
fn fold(watched: &mut Watched) {
    for_records(watched, fold_times);
    fold_ends(&mut watched.flow);
    fold_beginnings(&mut watched.flow);
}

fn unfold(watched: &mut Watched) {
    fold_beginnings(&mut watched.flow);
    fold_ends(&mut watched.flow);
    for_records(watched, unfold_times);
}

fn for_records(watched: &mut Watched, change: impl Fn(&mut [Record])) {
    for (side, records) in watched.flow.sides.iter().zip(&mut watched.records) {
        let count = usize::from(side.record_count).min(RECORDS_MAX);
        change(records.get_mut(..count).unwrap_or_default());
    }
}

/// Exchanges what is near the end of a side's bytes, and back.
fn fold_ends(flow: &mut Flow) {
    let [client, server] = &mut flow.sides;
    let (of_client, of_server) = (client.next_seq, server.next_seq);
    for (side, own, peer) in [
        (client, of_client, of_server),
        (server, of_server, of_client),
    ] {
        side.ack ^= peer;
        if side.has(side_flags::STARTED) {
            side.header_seq ^= own;
            side.sent_to ^= own;
        }
    }
}

/// Exchanges what is near the beginning of the flow or of a side, and back.
fn fold_beginnings(flow: &mut Flow) {
    let [client, server] = &mut flow.sides;
    let [syn, syn_ack] = &mut flow.syns;
    for (side, syn) in [(client, syn), (server, syn_ack)] {
        side.next_seq ^= side.start_seq;
        side.ttl_max ^= side.ttl_min;
        if side.has(side_flags::SEEN) {
            side.last_ns ^= flow.started_ns;
        }
        if side.has(side_flags::PLAINTEXT_END) {
            side.plaintext_end ^= side.start_seq;
        }
        if syn.was_seen() {
            syn.time_ns ^= flow.started_ns;
            syn.mac ^= side.mac;
            syn.next_seq ^= side.start_seq;
        }
    }
}

/// Exchanges times for their differences from those before.
fn fold_times(records: &mut [Record]) {
    let mut before = 0;
    for record in records {
        let at_us = record.at_us;
        record.at_us ^= before;
        before = at_us;
    }
}

fn unfold_times(records: &mut [Record]) {
    let mut before = 0;
    for record in records {
        record.at_us ^= before;
        before = record.at_us;
    }
}

#[cfg(test)]
mod tests {
    use detector_common::flow::Side;
    use detector_common::syn::Syn;
    use proptest::prelude::*;
    use zerocopy::{FromBytes as _, IntoBytes as _};

    use super::*;

    fn restored(watched: &Watched) -> Watched {
        let mut restored = Watched {
            records: [[Record {
                at_us: 1,
                ..Record::default()
            }; RECORDS_MAX]; 2],
            ..Watched::default()
        };
        Packed::of(watched).unpack(&mut restored);
        restored
    }

    proptest! {
        /// Any state of a flow, also one that no engine would write.
        #[test]
        fn any_state_is_restored_as_it_was(
            bytes in proptest::collection::vec(any::<u8>(), size_of::<Watched>()),
            zeros in proptest::collection::vec(any::<bool>(), size_of::<Watched>()),
            words in proptest::collection::vec(any::<bool>(), WORDS),
        ) {
            let kept = |at: usize, byte: u8| if zeros[at] || words[at / 8] { 0 } else { byte };
            let bytes: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| kept(at, *byte)).collect();
            let watched = Watched::read_from_bytes(&bytes).unwrap();
            let restored = restored(&watched);
            prop_assert_eq!(restored.as_bytes(), watched.as_bytes());
        }
    }

    #[test]
    fn the_emptiest_and_the_fullest_state_are_restored() {
        for byte in [0, 1, 255] {
            let watched = Watched::read_from_bytes(&[byte; size_of::<Watched>()]).unwrap();
            assert_eq!(restored(&watched), watched);
        }
    }

    #[test]
    fn a_hello_takes_a_tenth() {
        let mut watched = Watched::default();
        watched.flow.started_ns = 1_700_000_000_123_456_000;
        watched.flow.sides[0] = Side {
            last_ns: 1_700_000_000_123_456_000,
            mac: 0x0200_0000_0001,
            start_seq: 1_000_000_007,
            next_seq: 1_000_000_524,
            header_seq: 1_000_000_524,
            sent_to: 1_000_000_524,
            ack: 3_000_000_019,
            window: 502,
            ip_id: 4242,
            flags: side_flags::SEEN | side_flags::STARTED | side_flags::SYNCED,
            ttl_min: 64,
            ttl_max: 64,
            record_count: 1,
            ..Side::default()
        };
        watched.flow.syns[0] = Syn {
            time_ns: 1_700_000_000_123_000_000,
            mac: 0x0200_0000_0001,
            next_seq: 1_000_000_007,
            window: 64_240,
            ttl: 64,
            count: 1,
            ..Syn::default()
        };
        watched.records[0][0] = Record {
            length: 512,
            content_type: 22,
            version_minor: 1,
            detail: [1, 0],
            ..Record::default()
        };
        let len = Packed::of(&watched).0.len();
        assert!(len < 75, "{len}");
        assert_eq!(restored(&watched), watched);
    }
}
