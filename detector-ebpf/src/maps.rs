//! Maps, and globals that the agent sets before loading.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use detector_common::counter::Counter;
use detector_common::flow::{FlowKey, Settled, WatchedEntry};
use detector_common::item::Room;
use detector_common::observation::{Chunk, LAYOUT_VERSION};
use detector_common::syn::SynSlot;
use detector_common::tag_set::Tags;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Watched flows. The agent sets the sizes of this map and of those below.
///
/// No LRU map: it would evict silently, and leave the flow's tag behind.
#[map]
pub(crate) static WATCHED: HashMap<FlowKey, WatchedEntry> =
    HashMap::with_max_entries(65_536 + 256, 0);

/// Tags of the flows in [`WATCHED`], and of the last to become settled, in [`TAG_MASK`] + 1 sets.
#[map]
pub(crate) static TAGS: Array<Tags> = Array::with_max_entries(131_072, 0);

/// Keys of watched flows in order of insertion, [`PLACES_LEN`] of them. Keys of removed flows stay
/// until their place is reused.
#[map]
pub(crate) static PLACES: Array<FlowKey> = Array::with_max_entries(65_536, 0);

/// Times of the last segments of the flows in [`PLACES`], nanoseconds, moved back for those that have ended; 0
/// for none. Beside each other: eviction looks at several, and their flows are in no near cache.
#[map]
pub(crate) static TIMES: Array<u64> = Array::with_max_entries(65_536, 0);

/// Clock hand of eviction: the next place is this number modulo [`PLACES_LEN`].
#[map]
pub(crate) static HAND: Array<u64> = Array::with_max_entries(1, 0);

/// Established flows, until their end.
#[map]
pub(crate) static SETTLED: LruHashMap<FlowKey, Settled> = LruHashMap::with_max_entries(262_144, 0);

/// Baselines of connections that have not spoken yet, in [`SYN_MASK`] + 1 slots. Lossy: the last SYN with a
/// slot's hash has it.
#[map]
pub(crate) static SYNS: Array<SynSlot> = Array::with_max_entries(32_768, 0);

/// Room for values that exceed the stack.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Value of [`SCRATCH`].
#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) kept: WatchedEntry,
    pub(crate) settled: Settled,
}

/// One number per [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(Counter::COUNT as u32, 0);

/// Ring of observations, apart from handshake bytes so that a flood of hellos cannot displace alerts
/// and resets.
#[map]
pub(crate) static OBSERVATIONS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// Items of the rings while they are written, and the time of the last wake-up.
#[map]
pub(crate) static OUTGOING: PerCpuArray<Outgoing> = PerCpuArray::with_max_entries(1, 0);

/// Value of [`OUTGOING`].
#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(crate) struct Outgoing {
    /// Time of this CPU's last observation that could wake the agent, nanoseconds.
    pub(crate) woken_ns: u64,
    pub(crate) observation: Room,
    pub(crate) chunk: Chunk,
}

/// Ring of handshake bytes.
#[map]
pub(crate) static HANDSHAKES: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// One less than the number of tag sets, which is a power of two.
#[unsafe(no_mangle)]
pub(crate) static TAG_MASK: Global<u32> = Global::new(131_071);

/// One less than the number of slots in [`SYNS`], a power of two.
#[unsafe(no_mangle)]
pub(crate) static SYN_MASK: Global<u32> = Global::new(32_767);

/// Size of [`OBSERVATIONS`] in bytes.
#[unsafe(no_mangle)]
pub(crate) static OBSERVATION_BYTES: Global<u32> = Global::new(4 << 20);

/// Random seed of the tags, so that strangers cannot choose flows that share a set.
#[unsafe(no_mangle)]
pub(crate) static TAG_SEED: Global<u64> = Global::new(0);

/// Maximum watched flows.
#[unsafe(no_mangle)]
pub(crate) static PLACES_LEN: Global<u32> = Global::new(65_536);

/// 1 if VLAN IDs are part of the flow key: not if the hardware strips them before XDP.
#[unsafe(no_mangle)]
pub(crate) static VLAN_IN_KEY: Global<u8> = Global::new(1);

/// 1 if the frames inside tunnels are read instead of the tunnels' own. At 0 the verifier removes all code
/// for it.
#[unsafe(no_mangle)]
pub(crate) static TUNNELS: Global<u8> = Global::new(0);

/// 1 if flows begin also at a ServerHello, and settle by one direction. At 0 the verifier removes all code for
/// it.
#[unsafe(no_mangle)]
pub(crate) static HALVES: Global<u8> = Global::new(0);

/// Layout version, which the agent checks before it reads anything.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Global<u32> = Global::new(LAYOUT_VERSION);

/// Borrows a map's value for reading, to the end of the program's run.
///
/// # Safety
/// As for [`borrow_mut`].
#[inline(always)]
pub(crate) unsafe fn borrow<'a, V: FromBytes + Immutable>(
    value: Option<*const V>,
) -> Option<&'a V> {
    // SAFETY: the caller's contract.
    value.map(|value| unsafe { &*value })
}

/// Borrows a map's value, to the end of the program's run.
///
/// # Safety
/// - `value` was returned by a look-up in this run of the program. Until the program returns the
///   kernel keeps it mapped, aligned and of its size, even if the entry is removed or given to
///   another key meanwhile.
/// - This CPU uses no other reference to the value while it uses this one.
/// - Unless the map is per CPU, other CPUs may write the value at the same time, which Rust's
///   memory model calls a data race. The caller must be right with any number in any field: no
///   field is an index, a length or a pointer without a check of the very number that is used.
///
/// Two things limit the last point. The bounds on `V` make any mix of bytes a value, and the verifier
/// proves the compiled instructions memory-safe for any content of a map, so a race costs a wrong
/// number in one flow's observation and no more. Usually there is none: each side of a flow is written
/// by the CPU that receives that side's segments. Relaxed atomics would define it, but LLVM cannot
/// select their loads for this target.
#[inline(always)]
pub(crate) unsafe fn borrow_mut<'a, V: FromBytes + IntoBytes>(
    value: Option<*mut V>,
) -> Option<&'a mut V> {
    // SAFETY: the caller's contract.
    value.map(|value| unsafe { &mut *value })
}
