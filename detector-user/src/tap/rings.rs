//! Reading the rings.

use std::mem::{MaybeUninit, size_of};

use aya::Ebpf;
use aya::maps::{MapData, MapError, RingBuf};
use detector_common::observation::{ChunkHead, Observation};

use crate::tap::Receiver;

/// Observations taken off their ring before the handshake ring is read.
const BATCH: usize = 256;

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
    batch: Vec<Observation>,
    malformed: u64,
}

impl Rings {
    /// Takes the rings out of the object.
    ///
    /// # Errors
    /// If the object has no such rings.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let mut ring = |name: &str| {
            let map = ebpf.take_map(name).ok_or_else(|| MapError::InvalidName {
                name: name.to_owned(),
            })?;
            RingBuf::try_from(map)
        };
        Ok(Self {
            observations: ring("OBSERVATIONS")?,
            handshakes: ring("HANDSHAKES")?,
            batch: Vec::with_capacity(BATCH),
            malformed: 0,
        })
    }

    /// Hands on all there is.
    ///
    /// Observations are taken first and handed on last: the bytes that a flow's observation
    /// stands on were sent before it, so they are there when it is looked at.
    pub fn drain(&mut self, receiver: &mut impl Receiver) {
        loop {
            self.batch.clear();
            while self.batch.len() < BATCH {
                let Some(item) = self.observations.next() else {
                    break;
                };
                match read::<Observation>(&item) {
                    Some(observation) => self.batch.push(observation),
                    None => self.malformed += 1,
                }
            }
            while let Some(item) = self.handshakes.next() {
                if !hand_on_chunk(&item, receiver) {
                    self.malformed += 1;
                }
            }
            for observation in &self.batch {
                receiver.observation(observation);
            }
            if self.batch.len() < BATCH {
                return;
            }
        }
    }

    /// Items that were no observation and no chunk; there are none unless object and agent differ.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

fn hand_on_chunk(item: &[u8], receiver: &mut impl Receiver) -> bool {
    let Some(head) = read::<ChunkHead>(item) else {
        return false;
    };
    let start = size_of::<ChunkHead>();
    let Some(bytes) = item.get(start..start + usize::from(head.len)) else {
        return false;
    };
    receiver.chunk(&head, bytes);
    true
}
