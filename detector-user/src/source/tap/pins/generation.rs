//! Generations of pins: one for each object, table sizes and network namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya_obj::Object;
use sha2::{Digest, Sha256};

use crate::source::tap::error::TapError;
use crate::source::tap::object::{OBJECT, ObjectOptions};
use crate::source::tap::pins::directory::{entries, remove_all};

/// Bytes of a generation's name.
const GENERATION: usize = 8;

/// Returns the directory of the generation of an object with these options, in this thread's network
/// namespace.
pub(super) fn path_of(root: &Path, options: &ObjectOptions) -> PathBuf {
    root.join(name(options, network_namespace()))
}

/// Lists the generations in a directory. Entries with other names are not this program's.
///
/// # Errors
/// [`TapError::Pins`].
pub(super) fn list(root: &Path) -> Result<Vec<PathBuf>, TapError> {
    let mut generations =
        entries(root).map_err(|error| TapError::pins(root, "cannot be read", &error))?;
    generations.retain(|path| is_generation(path));
    Ok(generations)
}

/// Removes a generation, which detaches its programs.
///
/// # Errors
/// [`TapError::Pins`].
pub(super) fn remove(generation: &Path) -> Result<(), TapError> {
    remove_all(generation).map_err(|error| TapError::pins(generation, "cannot be removed", &error))
}

fn is_generation(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.len() == 2 * GENERATION && name.iter().all(u8::is_ascii_hexdigit)
}

/// Hashes the programs' instructions and the tables' sizes: an agent adopts pins of the same name. The
/// object's bytes would not do: they contain the agent's version. An interface's index is its own in one
/// network namespace only.
fn name(options: &ObjectOptions, namespace: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{options:?}"));
    hash.update(namespace.to_le_bytes());
    match Object::parse(OBJECT) {
        Ok(object) => hash_object(&object, &mut hash),
        // It will not load either.
        Err(_) => hash.update(OBJECT),
    }
    let digest = hash.finalize();
    let bytes = digest.iter().take(GENERATION);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the inode of this thread's network namespace.
fn network_namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |about| about.ino())
}

fn hash_object(object: &Object, hash: &mut Sha256) {
    let mut maps: Vec<_> = object.maps.iter().collect();
    maps.sort_by_key(|(name, _)| *name);
    for (name, map) in maps {
        hash.update(name);
        for size in [map.map_type(), map.key_size(), map.value_size()] {
            hash.update(size.to_le_bytes());
        }
    }
    for function in object.functions.values() {
        for instruction in &function.instructions {
            let registers = [instruction.dst_reg(), instruction.src_reg()];
            hash.update([&[instruction.code], &registers[..]].concat());
            hash.update(instruction.off.to_le_bytes());
            hash.update(instruction.imm.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tables_and_namespaces_are_other_generations() {
        let one = ObjectOptions::default();
        let other = ObjectOptions {
            watched_flows: one.watched_flows + 1,
            ..one
        };
        assert_eq!(name(&one, 1), name(&one, 1));
        assert_ne!(name(&one, 1), name(&other, 1));
        assert_ne!(name(&one, 1), name(&one, 2));
        assert!(is_generation(&Path::new("/x").join(name(&one, 1))));
        assert!(!is_generation(Path::new("/x/tc")));
    }
}
