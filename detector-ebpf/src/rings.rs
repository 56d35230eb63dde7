//! Ring buffers of observations and handshake bytes, as the engine's output.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::maps::ring_buf::RingBufEntry;
use detector_common::counter::Counter;
use detector_common::engine::Output;
use detector_common::observation::{
    CHUNK_MAX, CHUNK_SMALL, Chunk, ChunkHead, Observation, POLL_INTERVAL_NS,
};
use detector_common::packet::Packet;
use zerocopy::FromBytes;

use crate::counters::count;
use crate::maps::{HANDSHAKES, OBSERVATION_BYTES, OBSERVATIONS, WOKEN, borrow_mut};

/// The ring buffers.
#[derive(Default)]
pub(crate) struct Rings {
    /// Time of the packet, nanoseconds; 0 until it is needed.
    now_ns: u64,
}

impl Rings {
    /// Returns the flags for submitting an observation: whether it may wake the agent.
    ///
    /// A wake-up costs a packet six microseconds. The agent polls again [`POLL_INTERVAL_NS`] after it
    /// found an item, so one wake-up within that time is enough.
    #[inline(always)]
    fn wake_up(&self) -> u64 {
        // SAFETY: just looked up, and this CPU's own.
        let Some(woken_ns) = (unsafe { borrow_mut(WOKEN.get_ptr_mut(0)) }) else {
            return 0;
        };
        if self.now_ns.wrapping_sub(*woken_ns) < POLL_INTERVAL_NS / 2 {
            return u64::from(BPF_RB_NO_WAKEUP);
        }
        *woken_ns = self.now_ns;
        0
    }
}

/// Returns a ring's reserved room with its previous content, as a value.
#[inline(always)]
fn reserved<T: FromBytes>(entry: &mut RingBufEntry<T>) -> &mut T {
    // SAFETY: the room is the ring's memory, which the kernel zeroed and programs wrote since; any
    // bytes are a T.
    unsafe { entry.assume_init_mut() }
}

/// Sends one chunk with room for `N` bytes.
#[inline(always)]
fn send_chunk<const N: usize, P: Packet>(
    packet: &P,
    offset: usize,
    len: usize,
    fill: impl FnOnce(&mut ChunkHead),
) -> bool {
    let Some(mut entry) = HANDSHAKES.reserve::<Chunk<N>>(0) else {
        return false;
    };
    // Bytes beyond `head.len` stay as they were.
    let chunk = reserved(&mut entry);
    fill(&mut chunk.head);
    let copied = packet.copy(offset, &mut chunk.bytes, len);
    if copied {
        // No wake-up for bytes alone: an observation follows, and its reader drains both rings.
        entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    } else {
        entry.discard(0);
    }
    copied
}

impl Output for Rings {
    #[inline(always)]
    fn now_ns(&mut self) -> u64 {
        if self.now_ns == 0 {
            // SAFETY: the helper has no preconditions.
            self.now_ns = unsafe { bpf_ktime_get_ns() };
        }
        self.now_ns
    }

    #[inline(always)]
    fn has_room(&mut self) -> bool {
        let unread = OBSERVATIONS.query(u64::from(BPF_RB_AVAIL_DATA));
        unread < u64::from(OBSERVATION_BYTES.load()) / 4
    }

    #[inline(always)]
    fn send_observation(&mut self, fill: impl FnOnce(&mut Observation)) -> bool {
        let Some(mut entry) = OBSERVATIONS.reserve::<Observation>(0) else {
            return false;
        };
        fill(reserved(&mut entry));
        entry.submit(self.wake_up());
        true
    }

    #[inline(always)]
    fn send_chunk<P: Packet>(
        &mut self,
        packet: &P,
        offset: usize,
        len: usize,
        fill: impl FnOnce(&mut ChunkHead),
    ) -> bool {
        if len <= CHUNK_SMALL {
            send_chunk::<CHUNK_SMALL, P>(packet, offset, len, fill)
        } else {
            send_chunk::<CHUNK_MAX, P>(packet, offset, len, fill)
        }
    }

    #[inline(always)]
    fn count(&mut self, loss: Counter) {
        count(loss);
    }
}
