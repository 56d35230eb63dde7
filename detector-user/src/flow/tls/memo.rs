//! Results for bytes that were seen before: clients repeat their hellos and names, and servers their certificates, and
//! reading them costs more than comparing.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Results by the bytes they were computed from, each at the place that a hash of its bytes gives: the latest stays.
pub(crate) struct Memo<V> {
    places: Vec<Option<(Box<[u8]>, V)>>,
    key_max: usize,
}

impl<V: Clone> Memo<V> {
    /// Creates a memory of so many places, for keys of at most `key_max` bytes.
    pub(crate) fn new(places: usize, key_max: usize) -> Self {
        Self {
            places: vec![None; places],
            key_max,
        }
    }

    fn get(&self, key: &[u8]) -> Option<&V> {
        let (known, value) = self.places.get(self.place(key))?.as_ref()?;
        (**known == *key).then_some(value)
    }

    fn insert(&mut self, key: &[u8], value: V) {
        let place = self.place(key);
        if let Some(place) = self.places.get_mut(place)
            && key.len() <= self.key_max
        {
            *place = Some((key.into(), value));
        }
    }

    fn place(&self, key: &[u8]) -> usize {
        place(key, self.places.len())
    }
}

/// Words of a key that its place depends on, at most some; certificates differ in most of theirs.
const WORDS_MAX: usize = 32;

/// Returns the place of a key among so many.
pub(super) fn place(key: &[u8], places: usize) -> usize {
    let (words, rest) = key.as_chunks();
    let mut hash = key.len() as u64;
    for word in words.iter().step_by(words.len() / WORDS_MAX + 1) {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    // The last bytes in one word, with bytes of the one before where there are any.
    hash = match key.last_chunk() {
        Some(last) if !rest.is_empty() => mix(hash, u64::from_le_bytes(*last)),
        _ => rest
            .iter()
            .fold(hash, |hash, byte| mix(hash, u64::from(*byte))),
    };
    // The upper bits depend on all bytes.
    (hash >> 32) as usize % places.max(1)
}

/// Adds a word to a hash, as FNV-1 does with bytes.
const fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Returns this thread's result for a key, computed if it is not known.
pub(crate) fn remembered<V: Clone>(
    memo: &'static LocalKey<RefCell<Memo<V>>>,
    key: &[u8],
    compute: impl FnOnce(&[u8]) -> V,
) -> V {
    let known = memo.with_borrow(|memo| memo.get(key).cloned());
    known.unwrap_or_else(|| {
        let value = compute(key);
        memo.with_borrow_mut(|memo| memo.insert(key, value.clone()));
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static MEMO: RefCell<Memo<Vec<u8>>> = RefCell::new(Memo::new(16, 20));
    }

    #[test]
    fn results_are_those_of_their_own_key() {
        // More keys than places, so that some take another's place.
        for _ in 0..3 {
            for number in 0..200_u8 {
                let key = vec![number; usize::from(number % 21)];
                assert_eq!(remembered(&MEMO, &key, <[u8]>::to_vec), key);
            }
        }
    }

    #[test]
    fn a_known_result_is_not_computed_again() {
        let key = b"seen before";
        remembered(&MEMO, key, <[u8]>::to_vec);
        assert_eq!(remembered(&MEMO, key, |_| unreachable!()), key);
    }

    #[test]
    fn longer_keys_are_not_kept() {
        let mut memo = Memo::new(1, 3);
        memo.insert(b"long", 1);
        assert_eq!(memo.get(b"long"), None);
        memo.insert(b"set", 2);
        assert_eq!(memo.get(b"set"), Some(&2));
        memo.insert(b"new", 3);
        assert_eq!((memo.get(b"set"), memo.get(b"new")), (None, Some(&3)));
    }
}
