//! Reading the rings.
//!
//! That object and agent agree on the layout needs no check at run time: the agent's build script
//! builds the object from the same `detector-common` and embeds it. Items of a wrong size are
//! counted all the same.

use std::mem::{MaybeUninit, size_of};

use aya::Ebpf;
use aya::maps::{Map, MapData, MapError, RingBuf};
use detector_common::observation::{CHUNK_MAX, CHUNK_SMALL, Chunk, ChunkHead, Observation};

use crate::tap::Receiver;

/// Observations taken off their ring before the handshake ring is read.
const BATCH: usize = 256;
/// Batches handed on before somebody else gets a turn.
const BATCHES: usize = 16;
/// Bytes before each item on a ring.
const ITEM_HEADER: usize = 8;

/// Types that cross the rings: made of numbers only, so that any bytes are a value.
trait FromRing: Copy {}
impl FromRing for Observation {}
impl FromRing for ChunkHead {}

/// Copies a value out of the first bytes of a ring's item, which need not be aligned.
fn read<T: FromRing>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: `bytes` has at least as many bytes as T, all bit patterns are values of T (see
    // FromRing), and the two do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), value.as_mut_ptr().cast(), size_of::<T>());
        Some(value.assume_init())
    }
}

/// Both rings.
pub struct Rings {
    /// Observations.
    pub observations: RingBuf<MapData>,
    /// Handshake bytes.
    pub handshakes: RingBuf<MapData>,
    /// Chunks that the handshake ring holds at most.
    chunks: usize,
    batch: Vec<Observation>,
    taken: u64,
    malformed: u64,
}

impl Rings {
    /// Takes the rings out of the object.
    ///
    /// # Errors
    /// If the object has no such rings.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let mut ring = |name: &str| -> Result<(RingBuf<MapData>, usize), MapError> {
            let map = ebpf.take_map(name).ok_or_else(|| MapError::InvalidName {
                name: name.to_owned(),
            })?;
            let size = match &map {
                Map::RingBuf(data) => data.info()?.max_entries() as usize,
                _ => 0,
            };
            Ok((RingBuf::try_from(map)?, size))
        };
        let (observations, _) = ring("OBSERVATIONS")?;
        let (handshakes, size) = ring("HANDSHAKES")?;
        Ok(Self {
            observations,
            handshakes,
            chunks: size / (ITEM_HEADER + size_of::<Chunk<CHUNK_SMALL>>()) + 1,
            batch: Vec::with_capacity(BATCH),
            taken: 0,
            malformed: 0,
        })
    }

    /// Hands on all there is. See [`Self::drain_some`] for the order.
    pub fn drain(&mut self, receiver: &mut impl Receiver) {
        while !self.drain_some(receiver) {}
    }

    /// Hands on what there is, but lets others have a turn under a flood: `false` if there may be
    /// more.
    ///
    /// Observations are taken first and handed on last: the bytes that a flow's observation
    /// stands on were sent before it, so they are there when it is looked at.
    #[must_use = "what is left on the rings raises no further event"]
    pub fn drain_some(&mut self, receiver: &mut impl Receiver) -> bool {
        (0..BATCHES).any(|_| self.drain_batch(receiver))
    }

    /// One batch of observations, and all the chunks there were when it was taken. `true` if that
    /// was everything.
    fn drain_batch(&mut self, receiver: &mut impl Receiver) -> bool {
        self.batch.clear();
        let mut is_empty = false;
        while self.batch.len() < BATCH && !is_empty {
            match self.observations.next() {
                None => is_empty = true,
                Some(item) => match observation(&item) {
                    Some(observation) => self.batch.push(observation),
                    None => self.malformed += 1,
                },
            }
        }
        // A ring that is filled as fast as it is read holds no more than its size of older ones.
        let mut left = self.chunks;
        while left > 0 {
            let Some(item) = self.handshakes.next() else {
                break;
            };
            left -= 1;
            match chunk(&item) {
                Some((head, bytes)) => receiver.chunk(&head, bytes),
                None => self.malformed += 1,
            }
        }
        for observation in &self.batch {
            receiver.observation(observation);
        }
        self.taken += self.batch.len() as u64;
        is_empty && left > 0
    }

    /// Observations taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Items that were no observation and no chunk; there are none unless object and agent differ.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

fn observation(item: &[u8]) -> Option<Observation> {
    (item.len() == size_of::<Observation>()).then(|| read(item))?
}

fn chunk(item: &[u8]) -> Option<(ChunkHead, &[u8])> {
    let head: ChunkHead = read(item)?;
    let room = item.get(size_of::<ChunkHead>()..)?;
    let is_whole = matches!(room.len(), CHUNK_SMALL | CHUNK_MAX);
    let bytes = room.get(..usize::from(head.len))?;
    (is_whole && !bytes.is_empty()).then_some((head, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as the kernel would have written them, at an address that is never aligned.
    fn unaligned(len: usize) -> Vec<u8> {
        (0..=len).map(|at| at as u8).collect()
    }

    #[test]
    fn an_observation_is_its_exact_size_at_any_address() {
        let bytes = unaligned(size_of::<Observation>());
        let time = u64::from_ne_bytes(*bytes[1..].first_chunk().unwrap());
        assert_eq!(observation(&bytes[1..]).map(|it| it.time_ns), Some(time));
        assert_eq!(observation(&bytes), None, "too long");
        assert_eq!(observation(&bytes[2..]), None, "too short");
    }

    #[test]
    fn a_chunk_is_one_of_two_sizes_and_claims_what_it_has() {
        let head_len = size_of::<ChunkHead>();
        let with = |room: usize, len: u16| {
            let mut item = unaligned(head_len + room);
            let at = 1 + std::mem::offset_of!(ChunkHead, len);
            item[at..at + 2].copy_from_slice(&len.to_ne_bytes());
            chunk(&item[1..]).map(|(head, bytes)| (head.len, bytes.to_vec()))
        };
        let (len, bytes) = with(CHUNK_SMALL, 3).unwrap();
        let first = (1 + head_len) as u8;
        assert_eq!((len, bytes), (3, vec![first, first + 1, first + 2]));
        assert!(with(CHUNK_MAX, CHUNK_MAX as u16).is_some());
        assert!(with(CHUNK_SMALL, CHUNK_SMALL as u16 + 1).is_none());
        assert!(with(CHUNK_SMALL - 1, 3).is_none());
        assert!(with(CHUNK_SMALL, 0).is_none());
        assert!(chunk(&unaligned(head_len)[2..]).is_none());
        assert!(chunk(&[]).is_none());
    }
}
