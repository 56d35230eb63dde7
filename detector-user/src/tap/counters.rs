//! The engine's counters in the kernel.

use aya::Ebpf;
use aya::maps::{MapData, MapError, PerCpuArray};
use detector_common::counter::Counter;

/// Reads the per-CPU counters.
pub struct Counters(PerCpuArray<MapData, u64>);

impl Counters {
    /// Takes the counters out of the object.
    ///
    /// # Errors
    /// If the object has none.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let map = ebpf
            .take_map("COUNTERS")
            .ok_or_else(|| MapError::InvalidName {
                name: "COUNTERS".to_owned(),
            })?;
        Ok(Self(PerCpuArray::try_from(map)?))
    }

    /// Each counter, summed over all CPUs.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn read(&self) -> Result<Vec<(Counter, u64)>, MapError> {
        Counter::ALL
            .iter()
            .map(|counter| Ok((*counter, self.0.get(&(*counter as u32), 0)?.iter().sum())))
            .collect()
    }
}
