//! The kernel as the engine's host: flows in maps, observations and handshake bytes on rings.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use detector_common::counter::Counter;
use detector_common::engine::{Output, Tables, resume_flow};
use detector_common::flow::{Flow, FlowKey, Watched};
use detector_common::observation::{
    CHUNK_MAX, CHUNK_SMALL, Chunk, ChunkHead, LOOK_AGAIN_NS, Observation,
};
use detector_common::packet::Packet;

use crate::maps::{COUNTERS, HANDSHAKES, OBSERVATIONS, SCRATCH, SETTLED, WATCHED, WOKEN};

/// Adds one on this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(number) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a per-CPU slot; programs on one CPU do not interrupt each other here but in
        // rare nesting, where a count may be missed.
        unsafe { *number += 1 };
    }
}

/// The maps of flows.
pub(crate) struct Maps;

/// Lends a map's value.
///
/// Two CPUs may hold the same one: each side of a flow is written by the CPU that sees that side,
/// and what both write (flags, order, the observation count) is advisory.
#[inline(always)]
fn lend<'a, V>(value: Option<*mut V>) -> Option<&'a mut V> {
    // SAFETY: the kernel returned a pointer to a live value of this type, which stays valid to
    // the end of the program's run.
    value.map(|value| unsafe { &mut *value })
}

impl Maps {
    /// Watches what `begin` leaves in the scratch. Records behind each side's count are never
    /// read; those of the flow that used the scratch before are not cleared.
    #[inline(always)]
    fn insert(&self, key: &FlowKey, begin: impl FnOnce(&mut Flow)) -> Option<&mut Watched> {
        let scratch = lend(SCRATCH.get_ptr_mut(0))?;
        begin(&mut scratch.flow);
        WATCHED.insert(key, &*scratch, 0).ok()?;
        lend(WATCHED.get_ptr_mut(key))
    }
}

impl Tables for Maps {
    #[inline(always)]
    fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched> {
        lend(WATCHED.get_ptr_mut(key))
    }

    #[inline(always)]
    fn watch(&mut self, key: &FlowKey, begin: impl FnOnce(&mut Flow)) -> Option<&mut Watched> {
        self.insert(key, begin)
    }

    #[inline(always)]
    fn forget(&mut self, key: &FlowKey) {
        // An entry that another CPU removed first is removed all the same.
        let _ = WATCHED.remove(key);
    }

    #[inline(always)]
    fn settle(&mut self, key: &FlowKey) {
        if let Some(watched) = lend(WATCHED.get_ptr_mut(key)) {
            // A full LRU table evicts its oldest; that is no error.
            let _ = SETTLED.insert(key, &watched.flow, 0);
        }
        self.forget(key);
    }

    #[inline(always)]
    fn resume(&mut self, key: &FlowKey) -> Option<&mut Watched> {
        let settled = lend(SETTLED.get_ptr_mut(key))?;
        resume_flow(settled);
        let watched = self.insert(key, |flow| *flow = *settled)?;
        // An entry that the table evicted meanwhile is gone all the same.
        let _ = SETTLED.remove(key);
        Some(watched)
    }
}

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
        let Some(woken_ns) = lend(WOKEN.get_ptr_mut(0)) else {
            return 0;
        };
        if self.now_ns.wrapping_sub(*woken_ns) < LOOK_AGAIN_NS / 2 {
            return u64::from(BPF_RB_NO_WAKEUP);
        }
        *woken_ns = self.now_ns;
        0
    }
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
    // SAFETY: all bit patterns are valid chunks; bytes behind `head.len` mean nothing.
    let chunk = unsafe { entry.assume_init_mut() };
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
        // SAFETY: the helper has no preconditions.
        self.now_ns = unsafe { bpf_ktime_get_ns() };
        self.now_ns
    }

    #[inline(always)]
    fn observe(&mut self, fill: impl FnOnce(&mut Observation)) -> bool {
        let Some(mut entry) = OBSERVATIONS.reserve::<Observation>(0) else {
            return false;
        };
        // SAFETY: all bit patterns are valid observations, and `fill` writes every field.
        fill(unsafe { entry.assume_init_mut() });
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
