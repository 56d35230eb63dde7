//! The eBPF object that the build embedded, and its options.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{Map, MapData};
use aya::{Ebpf, EbpfError, EbpfLoader};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

/// Bytes of the object, aligned as its ELF reader wants them.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("TLSWHY_EBPF_OBJECT"));

/// Names of the classifiers, one for each direction and framing.
pub(super) const CLASSIFIERS: [&str; 4] = [
    "tlswhy_ingress",
    "tlswhy_egress",
    "tlswhy_ingress_l3",
    "tlswhy_egress_l3",
];
/// Name of the XDP program, which some kernels refuse.
pub(super) const XDP: &str = "tlswhy_xdp";

/// Options that the object is loaded with.
#[derive(Clone, Copy, Debug)]
pub struct ObjectOptions {
    /// Maximum number of watched flows.
    pub watched_flows: u32,
    /// Maximum number of settled flows.
    pub settled_flows: u32,
    /// Sets of tags of watched flows, a power of two. With few of them more packets are looked up
    /// in vain; nothing else changes.
    pub tag_sets: u32,
    /// Slots of baselines from SYN and SYN,ACK, a power of two. With few of them more resets upon a
    /// ClientHello have nothing to be compared with; nothing else changes.
    pub syn_slots: u32,
    /// Bytes of the observation ring, a power of two and a multiple of the page size.
    pub observation_ring: u32,
    /// Bytes of the handshake ring, likewise.
    pub handshake_ring: u32,
    /// Whether VLAN IDs are part of the flow key.
    pub vlan_in_key: bool,
    /// Whether the frames inside tunnels are read instead of the tunnels' own.
    pub tunnels: bool,
    /// Whether connections are followed of which one direction alone passes.
    pub halves: bool,
    /// aya-log level of the object's own diagnostics: 0 off, 1 error … 5 trace.
    pub log_level: u8,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        Self {
            watched_flows: 65_536,
            settled_flows: 262_144,
            tag_sets: 131_072,
            syn_slots: 32_768,
            observation_ring: 4 << 20,
            handshake_ring: 8 << 20,
            vlan_in_key: true,
            tunnels: false,
            halves: false,
            log_level: 0,
        }
    }
}

/// Elements that the kernel needs beyond the watched flows: two CPUs may make room and take it in
/// any order.
const SPARE_FLOWS: u32 = 256;

/// Creates the object's maps, and prepares its programs for loading.
///
/// # Errors
/// If the object cannot be read or the kernel refuses a map.
pub fn load(options: &ObjectOptions) -> Result<Ebpf, EbpfError> {
    let vlan_in_key = u8::from(options.vlan_in_key);
    let tunnels = u8::from(options.tunnels);
    let halves = u8::from(options.halves);
    let tag_sets = options.tag_sets.max(1).next_power_of_two();
    let syn_slots = options.syn_slots.max(1).next_power_of_two();
    let seed = RandomState::new().build_hasher().finish();
    EbpfLoader::new()
        .map_max_entries("WATCHED", options.watched_flows.saturating_add(SPARE_FLOWS))
        .map_max_entries("PLACES", options.watched_flows)
        .map_max_entries("TIMES", options.watched_flows)
        .map_max_entries("TAGS", tag_sets)
        .map_max_entries("SYNS", syn_slots)
        .map_max_entries("SETTLED", options.settled_flows)
        .map_max_entries("OBSERVATIONS", options.observation_ring)
        .map_max_entries("HANDSHAKES", options.handshake_ring)
        .override_global("PLACES_LEN", &options.watched_flows, true)
        .override_global("TAG_MASK", &(tag_sets - 1), true)
        .override_global("SYN_MASK", &(syn_slots - 1), true)
        .override_global("OBSERVATION_BYTES", &options.observation_ring, true)
        .override_global("TAG_SEED", &seed, true)
        .override_global("VLAN_IN_KEY", &vlan_in_key, true)
        .override_global("TUNNELS", &tunnels, true)
        .override_global("HALVES", &halves, true)
        .override_global("AYA_LOG_LEVEL", &options.log_level, true)
        .load(OBJECT)
}

/// Whether a program is of this object or of another version of it, by its name, of which the kernel
/// keeps 15 bytes.
#[must_use]
pub fn is_ours(program: &str) -> bool {
    program.starts_with("tlswhy_")
}

/// Returns the bytes that a map takes in the kernel.
pub(super) fn memory_of(map: &Map) -> Option<u64> {
    let data: &MapData = match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data) => data,
        _ => return None,
    };
    let descriptor = data.fd().as_fd().as_raw_fd();
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
    let line = about
        .lines()
        .find_map(|line| line.strip_prefix("memlock:"))?;
    line.trim().parse().ok()
}

/// Lifts the limit of locked memory, which maps count against before Linux 5.11. Errors are ignored:
/// creating a map that does not fit fails with one of its own.
pub fn lift_memory_limit() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

#[cfg(test)]
mod tests {
    use aya_obj::Object;

    use super::*;

    /// Instructions of a program that only calls another function, and some more.
    const WRAPPER: usize = 100;

    #[test]
    fn no_program_is_a_call_of_the_engine() {
        let object = Object::parse(OBJECT).unwrap();
        for name in CLASSIFIERS.into_iter().chain([XDP]) {
            let program = object.programs.get(name).unwrap();
            let function = object.functions.get(&program.function_key()).unwrap();
            let instructions = function.instructions.len();
            assert!(instructions > WRAPPER, "{name}: {instructions}");
        }
    }

    #[test]
    fn the_object_does_not_depend_on_the_folder_in_which_it_is_built() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let folder = folder.unwrap().to_str().unwrap().as_bytes();
        assert!(!OBJECT.windows(folder.len()).any(|it| it == folder));
    }
}
