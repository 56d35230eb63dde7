//! Rings: observations and handshake bytes from the kernel.
//!
//! That object and agent agree on the layout needs no check at run time: the agent's build script
//! builds the object from the same `detector-common` and embeds it. Items of a wrong size are
//! counted all the same.

use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, MapError, RingBuf};
use detector_common::item::ITEM_MIN;
use detector_common::observation::{CHUNK_MAX, ChunkHead, Observation};

use crate::flow::fair_share::Shed;
use crate::flow::receiver::{Receiver, TimedReceiver};
use crate::source::tap::Maps;
use crate::source::tap::backlog::Backlog;
use crate::source::tap::carry::{Carried, Carry, Record};

/// Maximum number of items of a ring read before the other ring is read.
const READ_AT_ONCE: usize = 8192;
/// Maximum number of chunks passed on before observations are read again.
const CHUNKS_AT_ONCE: usize = 256;
/// Time after which both rings are read again, however many observations wait: less than a flood needs to fill one.
const SLICE: Duration = Duration::from_millis(20);
/// Maximum number of observations passed on in one call, and of rounds: the connections that they end are judged
/// then, and the rings must not be full before that is done.
const TURN: usize = 512;
const ROUNDS: usize = 64;
/// Bytes before each item on a ring.
const ITEM_HEADER: usize = 8;

/// Both rings.
pub struct Rings {
    /// Observations.
    pub observations: RingBuf<MapData>,
    /// Handshake bytes.
    pub handshakes: RingBuf<MapData>,
    /// Bytes of the handshake ring.
    capacity: u64,
    /// Observations that wait.
    backlog: Backlog,
    /// Chunks read so far, and the bytes of the ring that they took.
    read: u64,
    read_bytes: u64,
    taken: u64,
    /// Time of the latest observation that was passed on.
    passed_on_ns: u64,
    malformed: u64,
    /// The file that items are copied to, so that they survive this process.
    carry: Option<Carry>,
}

impl Rings {
    /// Opens the rings' maps.
    ///
    /// # Errors
    /// If the object has no such rings.
    pub fn take(maps: &mut impl Maps) -> Result<Self, MapError> {
        let mut ring = |name: &str| -> Result<(RingBuf<MapData>, usize), MapError> {
            let map = maps.take(name).ok_or_else(|| MapError::InvalidName {
                name: name.to_owned(),
            })?;
            let size = match &map {
                Map::RingBuf(data) => data.info()?.max_entries() as usize,
                _ => 0,
            };
            Ok((RingBuf::try_from(map)?, size))
        };
        let (observations, size) = ring("OBSERVATIONS")?;
        let observations_max = size / (ITEM_HEADER + ITEM_MIN) + 1;
        let (handshakes, size) = ring("HANDSHAKES")?;
        let capacity = size as u64;
        Ok(Self {
            observations,
            handshakes,
            capacity,
            backlog: Backlog::new(observations_max, capacity),
            read: 0,
            read_bytes: 0,
            taken: 0,
            passed_on_ns: 0,
            malformed: 0,
            carry: None,
        })
    }

    /// Copies items that are read from now on to a file that survives this process.
    pub fn carry_in(&mut self, carry: Carry) {
        self.carry = Some(carry);
    }

    /// Records the nanoseconds from the kernel's clock to UNIX time in the file of carried items.
    pub fn record_unix_offset(&mut self, offset_ns: i64) {
        if let Some(carry) = &mut self.carry {
            carry.record_unix_offset(offset_ns);
        }
    }

    /// Records the time up to which connections are judged, for the agent that replays carried items.
    pub fn record_judged(&mut self, judged_ns: u64) {
        if let Some(carry) = &mut self.carry {
            carry.record_judged(judged_ns);
        }
    }

    /// Passes on the items that an earlier agent had read, in order. Observations that it had not passed
    /// on wait: their flows' bytes may still be on the ring. Returns the number of observations passed on.
    pub fn replay(&mut self, carried: &Carried, receiver: &mut impl TimedReceiver) -> usize {
        let mut passed_on = 0;
        for record in carried.records() {
            match record {
                Record::Observation(item) => {
                    if let Some(observation) = Observation::read(item) {
                        self.backlog.push(0, observation);
                    }
                }
                Record::Chunk(item) => {
                    if let Some((head, bytes)) = chunk(item) {
                        receiver.chunk(&head, bytes);
                    }
                }
                Record::UnixOffset(offset_ns) => receiver.set_unix_offset(offset_ns),
                Record::HandedOn(number) => {
                    for _ in 0..number {
                        let Some(mut observation) = self.backlog.pop() else {
                            break;
                        };
                        pass_alert(&mut observation, receiver);
                        receiver.late_observation(&observation);
                        passed_on += 1;
                    }
                }
            }
        }
        passed_on
    }

    /// Passes on all items. See [`Self::drain_some`] for the order.
    pub fn drain(&mut self, receiver: &mut impl Receiver) {
        while !self.drain_some(receiver) {}
    }

    /// Passes on items, but only so many under a flood that signals and timers get a turn: `false` if there
    /// may be more.
    ///
    /// Observations are read first and passed on last: the handshake bytes that an observation depends on
    /// were sent before it, so they are there when it is judged. However many bytes
    /// there are, the ring of observations is emptied every few chunks; where both cannot be kept
    /// up with, observations no longer wait for bytes, and of clients that send most the rest is dropped.
    #[must_use = "what is left on the rings raises no further event"]
    pub fn drain_some(&mut self, receiver: &mut impl Receiver) -> bool {
        let mut passed_on = 0;
        for _ in 0..ROUNDS {
            let was_emptied = self.read_observations();
            let no_chunks = self.read_chunks(receiver);
            passed_on += self.pass_on(receiver, no_chunks);
            if was_emptied && no_chunks && self.backlog.len() == 0 {
                return true;
            }
            if passed_on >= TURN {
                break;
            }
        }
        false
    }

    /// Reads observations; `true` if the ring is empty.
    fn read_observations(&mut self) -> bool {
        for _ in 0..READ_AT_ONCE {
            let Some(item) = self.observations.next() else {
                return true;
            };
            let Some(observation) = Observation::read(&item) else {
                self.malformed += 1;
                continue;
            };
            self.taken += 1;
            if self.backlog.offer(self.read_bytes, observation)
                && let Some(carry) = &mut self.carry
            {
                carry.write(Record::Observation(&item));
            }
        }
        false
    }

    /// Reads chunks and passes them on; `true` if the ring is empty.
    fn read_chunks(&mut self, receiver: &mut impl Receiver) -> bool {
        let began = Instant::now();
        let mut passed_on = 0;
        for _ in 0..READ_AT_ONCE {
            if passed_on == CHUNKS_AT_ONCE || began.elapsed() > SLICE {
                break;
            }
            let Some(item) = self.handshakes.next() else {
                self.backlog.chunks_are_read();
                return true;
            };
            self.read += 1;
            let bytes_taken = bytes_on_ring(item.len());
            self.read_bytes += bytes_taken;
            let Some((head, bytes)) = chunk(&item) else {
                self.malformed += 1;
                continue;
            };
            if !self.backlog.takes_chunk(&head, bytes_taken) {
                continue;
            }
            if let Some(carry) = &mut self.carry {
                carry.write(Record::Chunk(&item));
            }
            receiver.chunk(&head, bytes);
            passed_on += 1;
        }
        false
    }

    /// Passes on observations whose flows' bytes have been read, or that cannot wait; returns their number.
    fn pass_on(&mut self, receiver: &mut impl Receiver, no_chunks: bool) -> usize {
        let began = Instant::now();
        let mut passed_on = 0;
        while began.elapsed() < SLICE
            && let Some((at, _)) = self.backlog.front()
        {
            // A ring that is filled as fast as it is read holds no more than its size of older ones.
            let is_due = no_chunks || at + self.capacity <= self.read_bytes;
            if !is_due && !self.backlog.is_long() {
                break;
            }
            let Some(mut observation) = self.backlog.pop() else {
                break;
            };
            pass_alert(&mut observation, receiver);
            receiver.observation(&observation);
            self.passed_on_ns = self.passed_on_ns.max(observation.time_ns);
            passed_on += 1;
        }
        if let Some(carry) = self.carry.as_mut().filter(|_| passed_on > 0) {
            carry.write(Record::HandedOn(passed_on as u32));
        }
        passed_on
    }

    /// Returns the number of observations taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns the time of the latest observation that was passed on, on the kernel's clock.
    pub fn passed_on_ns(&self) -> u64 {
        self.passed_on_ns
    }

    /// Chunks read so far.
    pub fn chunks(&self) -> u64 {
        self.read
    }

    /// Returns the items that were dropped because their clients had more than their share.
    pub fn shed(&self) -> &Shed {
        self.backlog.shed()
    }

    /// Items that were no observation and no chunk; there are none unless object and agent differ.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

/// Passes on the handshake bytes that an observation has itself.
fn pass_alert(observation: &mut Observation, receiver: &mut impl Receiver) {
    if let Some((head, bytes)) = observation.take_alert_bytes() {
        receiver.chunk(&head, &bytes);
    }
}

/// Returns the bytes of a ring that an item of this length takes.
const fn bytes_on_ring(len: usize) -> u64 {
    (ITEM_HEADER + len.next_multiple_of(8)) as u64
}

fn chunk(item: &[u8]) -> Option<(ChunkHead, &[u8])> {
    let (head, bytes) = ChunkHead::read(item)?;
    let is_whole = bytes.len() == usize::from(head.len);
    (is_whole && (1..=CHUNK_MAX).contains(&bytes.len())).then_some((head, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as the kernel would have written them, at an address that is never aligned.
    fn unaligned(len: usize) -> Vec<u8> {
        (0..=len).map(|at| at as u8).collect()
    }

    #[test]
    fn a_chunk_is_as_long_as_it_says() {
        let head_len = size_of::<ChunkHead>();
        let with = |has: usize, len: u16| {
            let mut item = unaligned(head_len + has);
            let at = 1 + std::mem::offset_of!(ChunkHead, len);
            item[at..at + 2].copy_from_slice(&len.to_ne_bytes());
            chunk(&item[1..]).map(|(head, bytes)| (head.len, bytes.to_vec()))
        };
        let (len, bytes) = with(3, 3).unwrap();
        let first = (1 + head_len) as u8;
        assert_eq!((len, bytes), (3, vec![first, first + 1, first + 2]));
        assert!(with(CHUNK_MAX, CHUNK_MAX as u16).is_some());
        for has in (0..512).filter(|has| *has != 511) {
            assert!(with(has, 511).is_none(), "torn at {has}");
        }
        assert!(with(CHUNK_MAX + 1, CHUNK_MAX as u16 + 1).is_none());
        assert!(with(0, 0).is_none());
        for len in 0..head_len {
            assert!(chunk(&unaligned(len)[1..]).is_none());
        }
    }
}
