//! Baselines of connections that have not begun to speak: their SYN and their SYN,ACK.
//!
//! A host keeps them in an array of slots, found by a hash of the flow's key. A slot is written for
//! segments with SYN alone, and belongs to the connection that wrote it last: a flood of SYNs costs
//! baselines and no memory.

use core::mem::{align_of, offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::FlowKey;
use crate::headers::{Segment, tcp_flags};
use crate::record::HEAD_MAX;
use crate::tag_set::FlowTag;

/// A SYN that comes again after so many nanoseconds was sent again; one that comes sooner was seen twice.
const RETRANSMITTED_NS: u64 = 500_000_000;
/// Number of times that a SYN is sent before it counts as unanswered.
pub const TRIES: u8 = 3;
/// Maximum distance of a ClientHello from its side's first byte: some bytes may come before it.
const HELLO_WITHIN: u32 = 1 << 15;

/// A SYN or a SYN,ACK, or the lack of one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Syn {
    /// Its time, nanoseconds on the host's clock: of a SYN that was sent again the last before its answer,
    /// of a SYN,ACK the first.
    pub time_ns: u64,
    /// Source MAC address, in the low 48 bits.
    pub mac: u64,
    /// Sequence number of the first byte behind it.
    pub next_seq: u32,
    /// Window, unscaled.
    pub window: u16,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Bytes of TCP options.
    pub options_len: u8,
    /// Number of times it was sent, saturating; 0 if it was not seen.
    pub count: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

impl Syn {
    /// Whether it was seen.
    #[inline(always)]
    pub const fn was_seen(&self) -> bool {
        self.count != 0
    }

    /// Returns 0 if it was not seen, nor its number is known otherwise.
    #[inline(always)]
    pub(crate) const fn says(&self) -> u32 {
        self.count as u32 | self.next_seq
    }

    #[inline(always)]
    fn write(&mut self, segment: &Segment, now_ns: u64) {
        self.time_ns = now_ns;
        self.mac = segment.source_mac;
        self.next_seq = segment.payload_seq();
        self.window = segment.window;
        self.ip_id = segment.ip_id;
        self.ttl = segment.ttl;
        self.options_len = segment.options_len;
        self.count = 1;
        self.reserved = [0; 5];
    }

    /// Whether `seq` is a place where a first flight may lie behind this segment.
    #[inline(always)]
    fn precedes(&self, seq: u32) -> bool {
        self.was_seen() && seq.wrapping_sub(self.next_seq) < HELLO_WITHIN
    }
}

/// The SYN and the SYN,ACK of one connection.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SynSlot {
    /// Hash of the key that the slot belongs to.
    owner: u64,
    /// Time when a refusal was last reported from this slot, nanoseconds on the host's clock.
    pub reported_ns: u64,
    /// The SYN.
    pub syn: Syn,
    /// The SYN,ACK.
    pub syn_ack: Syn,
    /// Index of the SYN's sender among the key's endpoints.
    pub endpoint: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// Returns a hash of a flow's key, the same for either order of its endpoints: its high half
/// selects the slot.
#[inline(always)]
pub fn slot_hash(key: &FlowKey, seed: u64) -> u64 {
    FlowTag::hash(key, seed).wrapping_add(u64::from(key.tunnel))
}

impl SynSlot {
    /// Whether the slot belongs to the key of this hash.
    #[inline(always)]
    pub fn is_of(&self, hash: u64) -> bool {
        self.owner == hash
    }

    /// Makes the slot belong to the key of this hash, without a SYN unless it did before.
    #[inline(always)]
    pub fn claim(&mut self, hash: u64) {
        if self.owner != hash {
            self.owner = hash;
            self.syn.count = 0;
            self.syn_ack.count = 0;
        }
    }

    /// Records a segment with SYN; returns whether it was sent for the last of [`TRIES`] times without an
    /// answer.
    #[inline(always)]
    pub(crate) fn record(&mut self, segment: &Segment, now_ns: u64) -> bool {
        if segment.has(tcp_flags::ACK) {
            self.endpoint = segment.endpoint ^ 1;
            if self.syn.next_seq != segment.ack {
                self.syn.count = 0;
                self.syn.next_seq = segment.ack;
            }
            if self.syn_ack.count == 0 || self.syn_ack.next_seq != segment.payload_seq() {
                self.syn_ack.write(segment, now_ns);
            }
            return false;
        }
        self.endpoint = segment.endpoint;
        if self.syn.count == 0 || self.syn.next_seq != segment.payload_seq() {
            self.syn_ack.count = 0;
            self.syn.write(segment, now_ns);
            return false;
        }
        let again = now_ns.saturating_sub(self.syn.time_ns) >= RETRANSMITTED_NS;
        if self.syn_ack.count != 0 || !again {
            return false;
        }
        self.syn.time_ns = now_ns;
        self.syn.count = self.syn.count.saturating_add(1);
        self.syn.count == TRIES
    }

    /// Whether a reset refuses this connection, of which nothing but SYN and SYN,ACK was seen.
    #[inline(always)]
    pub(crate) fn is_refused_by(&self, reset: &Segment) -> bool {
        if !self.syn.was_seen() || reset.endpoint == self.endpoint {
            return false;
        }
        let answers = reset.ack == self.syn.next_seq;
        if self.syn_ack.was_seen() {
            reset.seq == self.syn_ack.next_seq && (answers || !reset.has(tcp_flags::ACK))
        } else {
            answers && reset.has(tcp_flags::ACK)
        }
    }

    /// Copies to `baselines`, the sender's and its peer's, what precedes a hello's first segment.
    #[inline(always)]
    pub(crate) fn copy_before(&self, hello: &Segment, baselines: [&mut Syn; 2]) {
        let [to_own, to_peer] = baselines;
        let (own, peer) = if hello.endpoint == self.endpoint {
            (&self.syn, &self.syn_ack)
        } else {
            (&self.syn_ack, &self.syn)
        };
        if own.precedes(hello.payload_seq()) {
            *to_own = *own;
        }
        if peer.precedes(hello.ack) {
            *to_peer = *peer;
        }
    }

    /// Whether a server ends a connection with its first byte, after its client sent some that were not seen,
    /// nor was its SYN.
    #[inline(always)]
    pub(crate) fn is_half_ended_by(&self, segment: &Segment) -> bool {
        let acknowledged = segment.ack.wrapping_sub(self.syn.next_seq);
        // A reset without ACK (RFC 9293 §3.10.7.1) answers a segment that acknowledged the SYN,ACK.
        let answers =
            !segment.has(tcp_flags::ACK) || (HEAD_MAX..HELLO_WITHIN).contains(&acknowledged);
        segment.endpoint != self.endpoint
            && !self.syn.was_seen()
            && self.syn_ack.was_seen()
            && segment.seq == self.syn_ack.next_seq
            && answers
    }

    /// Whether a segment of the server lies where its first flight may, behind this SYN,ACK.
    #[inline(always)]
    pub(crate) fn is_answered_by(&self, segment: &Segment) -> bool {
        segment.endpoint != self.endpoint && self.syn_ack.precedes(segment.payload_seq())
    }
}

const _: () = {
    assert!(size_of::<Syn>() == 32 && align_of::<Syn>() == 8);
    assert!(offset_of!(Syn, next_seq) == 16 && offset_of!(Syn, reserved) == 27);
    assert!(size_of::<SynSlot>() == 88 && offset_of!(SynSlot, endpoint) == 80);
};

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn segment(flags: u8, endpoint: u8, seq: u32, ack: u32) -> Segment {
        Segment {
            key: FlowKey::default(),
            endpoint,
            vlan: [0; 2],
            source_mac: 0,
            ttl: 60,
            ip_id: 0,
            seq,
            ack,
            flags,
            window: 1024,
            options_len: 20,
            payload_offset: 54,
            payload_len: 0,
        }
    }

    fn syn(seq: u32) -> Segment {
        segment(tcp_flags::SYN, 0, seq, 0)
    }

    fn syn_ack(seq: u32, ack: u32) -> Segment {
        segment(tcp_flags::SYN | tcp_flags::ACK, 1, seq, ack)
    }

    fn recorded(segments: &[Segment]) -> (SynSlot, Vec<bool>) {
        let mut slot = SynSlot::default();
        let mut time_ns = SECOND;
        let told = segments
            .iter()
            .map(|segment| {
                time_ns += SECOND;
                slot.record(segment, time_ns)
            })
            .collect();
        (slot, told)
    }

    #[test]
    fn a_hello_gets_the_baselines_of_its_own_connection_only() {
        let (slot, _) = recorded(&[syn(99), syn_ack(499, 100)]);
        let baselines = |flags, endpoint, seq, ack| {
            let mut found = [Syn::default(); 2];
            slot.copy_before(&segment(flags, endpoint, seq, ack), found.each_mut());
            found.map(|syn| syn.next_seq)
        };
        assert_eq!(baselines(tcp_flags::ACK, 0, 100, 500), [100, 500]);
        // Behind a proxy's CONNECT.
        assert_eq!(baselines(tcp_flags::ACK, 0, 300, 539), [100, 500]);
        // The side that listens speaks TLS first, as in active FTP.
        assert_eq!(baselines(tcp_flags::ACK, 1, 500, 100), [500, 100]);
        // Another connection on the same ports.
        assert_eq!(baselines(tcp_flags::ACK, 0, 90_000, 80_000), [0, 0]);
    }

    #[test]
    fn the_round_trip_is_that_of_the_last_syn_and_the_first_answer() {
        let (slot, told) = recorded(&[
            syn(99),
            syn(99),
            syn_ack(499, 100),
            syn_ack(499, 100),
            syn(99),
        ]);
        assert_eq!(told, [false; 5]);
        assert_eq!(slot.syn_ack.time_ns - slot.syn.time_ns, SECOND);
        assert_eq!(slot.syn.count, 2);
    }

    #[test]
    fn a_syn_sent_three_times_is_told_once() {
        let syns = [syn(99); 5];
        assert_eq!(recorded(&syns).1, [false, false, true, false, false]);
        // Another connection is counted from its own first SYN.
        let others = [syn(99), syn(99), syn(7), syn(7), syn(7)];
        assert_eq!(recorded(&others).1, [false, false, false, false, true]);
        // A segment that two mirror ports show at once was sent once.
        let mut slot = SynSlot::default();
        let told = [1, 2, 3, 4].map(|time_ns| slot.record(&syn(99), time_ns));
        assert_eq!((told, slot.syn.count), ([false; 4], 1));
    }

    #[test]
    fn a_reset_refuses_what_has_not_spoken() {
        let rst =
            |flags: u8, endpoint, seq, ack| segment(flags | tcp_flags::RST, endpoint, seq, ack);
        let (unanswered, _) = recorded(&[syn(99)]);
        assert!(unanswered.is_refused_by(&rst(tcp_flags::ACK, 1, 0, 100)));
        // Of the client itself, or of another connection, or a guess.
        assert!(!unanswered.is_refused_by(&rst(tcp_flags::ACK, 0, 0, 100)));
        assert!(!unanswered.is_refused_by(&rst(tcp_flags::ACK, 1, 0, 99)));
        assert!(!unanswered.is_refused_by(&rst(0, 1, 0, 100)));

        let (answered, _) = recorded(&[syn(99), syn_ack(499, 100)]);
        assert!(answered.is_refused_by(&rst(0, 1, 500, 0)));
        // After data of either side it is the end of a connection that was.
        assert!(!answered.is_refused_by(&rst(tcp_flags::ACK, 1, 500, 160)));
        assert!(!answered.is_refused_by(&rst(0, 1, 900, 0)));
    }

    #[test]
    fn a_slot_claimed_for_another_key_is_empty() {
        let (mut slot, _) = recorded(&[syn(99), syn_ack(499, 100)]);
        slot.claim(7);
        assert!(slot.is_of(7) && !slot.syn.was_seen() && !slot.syn_ack.was_seen());
    }
}
