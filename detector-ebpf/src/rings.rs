//! Ring buffers of observations and handshake bytes, as the engine's output.
//!
//! An item is written to this CPU's own memory, which is in its nearest cache, and copied to the ring as long
//! as it is: the ring's memory is in no near cache, so that each byte of it counts.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::maps::RingBuf;
use detector_common::counter::Counter;
use detector_common::engine::Output;
use detector_common::item::ITEM_MAX;
use detector_common::observation::{CHUNK_MAX, ChunkHead, POLL_INTERVAL_NS};
use detector_common::packet::Packet;
use detector_common::report::Report;
use zerocopy::{Immutable, IntoBytes};

use crate::counters::count;
use crate::maps::{HANDSHAKES, OBSERVATION_BYTES, OBSERVATIONS, OUTGOING, borrow_mut};
use crate::packet::bounded;

/// Bytes of the longest item of handshake bytes.
const CHUNK_ITEM_MAX: usize = size_of::<ChunkHead>() + CHUNK_MAX;

/// The ring buffers.
#[derive(Default)]
pub(crate) struct Rings {
    /// Time of the packet, nanoseconds; 0 until it is needed.
    now_ns: u64,
}

/// Whether an observation may wake the agent.
///
/// A wake-up costs a packet six microseconds. The agent polls again [`POLL_INTERVAL_NS`] after it
/// found an item, so one wake-up within that time is enough.
#[inline(always)]
fn wakes(woken_ns: u64, now_ns: u64) -> bool {
    now_ns.wrapping_sub(woken_ns) >= POLL_INTERVAL_NS / 2
}

/// Copies the first `len` (1 to `MAX`) bytes of `from` to a ring; `false` if it is full.
#[inline(always)]
fn output<const MAX: usize, T: IntoBytes + Immutable>(
    ring: &RingBuf,
    from: &T,
    len: usize,
    flags: u64,
) -> bool {
    let item = bounded::<MAX>(len).and_then(|len| from.as_bytes().get(..len));
    item.is_some_and(|item| ring.output::<[u8]>(item, flags).is_ok())
}

impl Output for Rings {
    const ALERTS_IN_REPORTS: bool = true;

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
    fn send_report<P: Packet>(&mut self, packet: &P, report: &Report<'_>) -> bool {
        // SAFETY: just looked up, and this CPU's own.
        let Some(outgoing) = (unsafe { borrow_mut(OUTGOING.get_ptr_mut(0)) }) else {
            return false;
        };
        let words = report.pack(&mut outgoing.observation, |it| packet.black_box_wide(it));
        let wakes = wakes(outgoing.woken_ns, self.now_ns);
        let flags = if wakes {
            0
        } else {
            u64::from(BPF_RB_NO_WAKEUP)
        };
        let len = words as usize * 8;
        let sent = output::<ITEM_MAX, _>(&OBSERVATIONS, &outgoing.observation, len, flags);
        if sent && wakes {
            outgoing.woken_ns = self.now_ns;
        }
        sent
    }

    #[inline(always)]
    fn send_chunk<P: Packet>(
        &mut self,
        packet: &P,
        offset: usize,
        len: usize,
        fill: impl FnOnce(&mut ChunkHead),
    ) -> bool {
        // SAFETY: just looked up, and this CPU's own.
        let Some(outgoing) = (unsafe { borrow_mut(OUTGOING.get_ptr_mut(0)) }) else {
            return false;
        };
        let chunk = &mut outgoing.chunk;
        fill(&mut chunk.head);
        // No wake-up for bytes alone: an observation follows, and its reader drains both rings.
        let flags = u64::from(BPF_RB_NO_WAKEUP);
        packet.copy(offset, &mut chunk.bytes, len)
            && output::<CHUNK_ITEM_MAX, _>(&HANDSHAKES, chunk, size_of::<ChunkHead>() + len, flags)
    }

    #[inline(always)]
    fn count(&mut self, loss: Counter) {
        count(loss);
    }
}
