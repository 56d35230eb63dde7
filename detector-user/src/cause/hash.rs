//! Numbers for names and features that are compared, never shown.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// Returns a number for a value. It is the same in every run of one build; the history's file says
/// in its first line which hash it was written with.
pub(super) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
