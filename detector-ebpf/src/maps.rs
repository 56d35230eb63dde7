//! Maps and the globals that the agent patches before loading.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use detector_common::counter::Counter;
use detector_common::flow::{FlowKey, Kept, Settled};
use detector_common::observation::LAYOUT_VERSION;
use detector_common::tag_set::TagSet;

/// Flows whose every segment is looked at. The agent sets the size of this and of what follows.
///
/// No LRU map: it would evict without a word, and leave the flow's tag behind.
#[map]
pub(crate) static WATCHED: HashMap<FlowKey, Kept> = HashMap::with_max_entries(65_536 + 256, 0);

/// Tags of the flows in [`WATCHED`]; as many sets as [`TAG_MASK`] tells.
#[map]
pub(crate) static TAGS: Array<TagSet> = Array::with_max_entries(131_072, 0);

/// Keys of watched flows in the order they came; as many as [`PLACES_LEN`] tells. Those that are
/// watched no longer stay until their place is needed.
#[map]
pub(crate) static PLACES: Array<FlowKey> = Array::with_max_entries(65_536, 0);

/// How many places were taken so far; the next is this number modulo [`PLACES_LEN`].
#[map]
pub(crate) static HAND: Array<u64> = Array::with_max_entries(1, 0);

/// Established flows, until their end.
#[map]
pub(crate) static SETTLED: LruHashMap<FlowKey, Settled> = LruHashMap::with_max_entries(262_144, 0);

/// Room to make what does not fit the stack.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// What is made in [`SCRATCH`].
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) kept: Kept,
    pub(crate) settled: Settled,
}

/// One number per [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(Counter::COUNT as u32, 0);

/// Observations. Alerts, closes and resets travel here, where handshake bytes cannot crowd them.
#[map]
pub(crate) static OBSERVATIONS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// When this CPU last left it to the ring whether to wake the agent, nanoseconds.
#[map]
pub(crate) static WOKEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Handshake bytes.
#[map]
pub(crate) static HANDSHAKES: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// One less than the number of tag sets, which is a power of two.
#[unsafe(no_mangle)]
pub(crate) static TAG_MASK: Global<u32> = Global::new(131_071);

/// Random, so that strangers cannot choose which flows share a set.
#[unsafe(no_mangle)]
pub(crate) static TAG_SEED: Global<u64> = Global::new(0);

/// How many flows are watched at most.
#[unsafe(no_mangle)]
pub(crate) static PLACES_LEN: Global<u32> = Global::new(65_536);

/// 1 if VLAN IDs tell flows apart: not where the hardware strips them before XDP sees the frame.
#[unsafe(no_mangle)]
pub(crate) static VLAN_IN_KEY: Global<u8> = Global::new(1);

/// What the agent checks before it reads anything.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Global<u32> = Global::new(LAYOUT_VERSION);

/// Lends a map's value.
///
/// Two CPUs may hold the same one: each side of a flow is written by the CPU that sees that side,
/// and what both write (flags, order, the observation count) is advisory.
#[inline(always)]
pub(crate) fn lend<'a, V>(value: Option<*mut V>) -> Option<&'a mut V> {
    // SAFETY: the kernel returned a pointer to a live value of this type, which stays valid to
    // the end of the program's run.
    value.map(|value| unsafe { &mut *value })
}
