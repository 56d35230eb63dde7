//! Observations and handshake bytes on rings.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::maps::ring_buf::RingBufEntry;
use detector_common::counter::Counter;
use detector_common::engine::Output;
use detector_common::observation::{
    CHUNK_MAX, CHUNK_SMALL, Chunk, ChunkHead, LOOK_AGAIN_NS, Observation,
};
use detector_common::packet::Packet;
use zerocopy::FromBytes;

use crate::counters::count;
use crate::maps::{HANDSHAKES, OBSERVATIONS, WOKEN, borrow_mut};

/// The rings.
#[derive(Default)]
pub(crate) struct Rings {
    /// When the packet was looked at; 0 if nothing asked.
    now_ns: u64,
}

impl Rings {
    /// Flags to submit an observation with: whether it may wake the agent.
    ///
    /// A wake-up costs a packet six microseconds. The agent looks again [`LOOK_AGAIN_NS`] after it
    /// found something, so that it needs none for what comes sooner after one.
    #[inline(always)]
    fn wake_up(&self) -> u64 {
        // SAFETY: just looked up, and this CPU's own.
        let Some(woken_ns) = (unsafe { borrow_mut(WOKEN.get_ptr_mut(0)) }) else {
            return 0;
        };
        if self.now_ns.wrapping_sub(*woken_ns) < LOOK_AGAIN_NS / 2 {
            return u64::from(BPF_RB_NO_WAKEUP);
        }
        *woken_ns = self.now_ns;
        0
    }
}

/// The value that a ring's reserved room holds so far: whatever was there before.
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
    // Bytes behind `head.len` mean nothing.
    let chunk = reserved(&mut entry);
    fill(&mut chunk.head);
    let copied = packet.copy(offset, &mut chunk.bytes, len);
    if copied {
        // Nobody needs to wake up for bytes alone: an observation follows, and its reader reads
        // both rings. A wake-up costs a packet six microseconds.
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
    fn observe(&mut self, fill: impl FnOnce(&mut Observation)) -> bool {
        let Some(mut entry) = OBSERVATIONS.reserve::<Observation>(0) else {
            return false;
        };
        fill(reserved(&mut entry));
        entry.submit(self.wake_up());
        true
    }

    #[inline(always)]
    fn carry<P: Packet>(
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
