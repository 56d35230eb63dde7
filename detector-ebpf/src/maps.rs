//! Maps and the globals that the agent patches before loading.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{LruHashMap, PerCpuArray, RingBuf};
use detector_common::counter::Counter;
use detector_common::flow::{Flow, FlowKey, Watched};
use detector_common::observation::LAYOUT_VERSION;

/// Flows whose every segment is looked at. The agent sets the size.
#[map]
pub(crate) static WATCHED: LruHashMap<FlowKey, Watched> = LruHashMap::with_max_entries(65_536, 0);

/// Established flows, until their end. The agent sets the size.
#[map]
pub(crate) static SETTLED: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(262_144, 0);

/// Room to make a new [`Watched`]: it does not fit the stack.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Watched> = PerCpuArray::with_max_entries(1, 0);

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

/// 1 if VLAN IDs tell flows apart: not where the hardware strips them before XDP sees the frame.
#[unsafe(no_mangle)]
pub(crate) static VLAN_IN_KEY: Global<u8> = Global::new(1);

/// What the agent checks before it reads anything.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Global<u32> = Global::new(LAYOUT_VERSION);
