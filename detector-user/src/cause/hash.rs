//! Numbers for names and features that are compared, never shown.

use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::LazyLock;

use hashlink::DefaultHashBuilder;

/// Bytes that are collected before they are hashed.
const COLLECTED: usize = 128;

/// Returns a number for a value. It is the same in every run of one build; the history's file says
/// in its first line which hash it was written with.
pub(super) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = Collecting {
        bytes: [0; COLLECTED],
        len: 0,
        hasher: DefaultHasher::new(),
    };
    value.hash(&mut hasher);
    hasher.finish()
}

/// The hash of tables in memory, with another key in each process.
static KEYED: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// Returns a number for a value that is another in each process, for what is kept in memory alone: it takes a
/// fraction of the time.
pub(super) fn key(value: &(impl Hash + ?Sized)) -> u64 {
    KEYED.hash_one(value)
}

/// A value's parts in a row: the standard hasher takes one long part sooner than many short ones, and has the
/// same result for both.
struct Collecting {
    bytes: [u8; COLLECTED],
    len: usize,
    hasher: DefaultHasher,
}

impl Collecting {
    fn collected(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Hasher for Collecting {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
            self.len = end;
            return;
        }
        let collected = self.bytes.get(..self.len).unwrap_or_default();
        self.hasher.write(collected);
        self.hasher.write(bytes);
        self.len = 0;
    }

    fn finish(&self) -> u64 {
        let mut hasher = self.hasher.clone();
        hasher.write(self.collected());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Files of facts have these numbers.
        #[test]
        fn numbers_are_those_of_the_standard_hasher(
            name in "\\PC{0,300}",
            numbers: (u8, u16, u64, Option<u32>),
            server: SocketAddr,
            list in proptest::collection::vec(any::<u16>(), 0..90),
        ) {
            let value = ("kind", numbers, server, name.as_str(), &list, &name);
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            prop_assert_eq!(hash(&value), hasher.finish());
        }
    }
}
