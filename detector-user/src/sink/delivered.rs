//! Which verdicts got out before a restart, so that they are not given twice after it.
//!
//! An agent that is killed leaves connections half judged; the next one goes through them again and
//! comes to verdicts that were given already. Each sink keeps the latest in a small file beside what
//! is carried over.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::verdict::Verdict;

/// Verdicts remembered; what is carried over leads to fewer.
const SLOTS: u64 = 16_384;
/// A number that grows, the identity, and the verdict's time.
const SLOT: usize = 24;
const MAGIC: &[u8; 16] = b"tlswhy-delivered";
/// The clock may have been set a little between a verdict and the same one after a restart.
const TOLERANCE_NS: i64 = 50_000_000;

pub(super) struct Delivered {
    file: File,
    next: u64,
    /// Those of the process before this one, by identity.
    before: HashMap<u64, Vec<i64>>,
}

impl Delivered {
    /// Reads what the file at `path` has, and goes on in it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut delivered = Self {
            file,
            next: 1,
            before: HashMap::new(),
        };
        match bytes.strip_prefix(MAGIC) {
            Some(slots) => delivered.read(slots),
            None => {
                delivered.file.set_len(0)?;
                delivered.file.write_all_at(MAGIC, 0)?;
            }
        }
        Ok(delivered)
    }

    fn read(&mut self, slots: &[u8]) {
        for slot in slots.chunks_exact(SLOT) {
            let number = |at: usize| {
                let bytes = slot.get(at..).and_then(|bytes| bytes.first_chunk());
                bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
            };
            let (count, id, time_ns) = (number(0), number(8), number(16).cast_signed());
            if count > 0 {
                self.next = self.next.max(count + 1);
                self.before.entry(id).or_default().push(time_ns);
            }
        }
    }

    /// Whether the process before this one has given this verdict.
    pub(super) fn has(&self, verdict: &Verdict) -> bool {
        let time_ns = time_ns(verdict);
        self.before.get(&id(verdict)).is_some_and(|times| {
            let near = |time: &i64| time.abs_diff(time_ns) <= TOLERANCE_NS.unsigned_abs();
            times.iter().any(near)
        })
    }

    /// Notes that a verdict got out.
    pub(super) fn note(&mut self, verdict: &Verdict) -> io::Result<()> {
        let mut slot = [0; SLOT];
        let numbers = [self.next, id(verdict), time_ns(verdict).cast_unsigned()];
        for (bytes, number) in slot.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        let at = MAGIC.len() as u64 + (self.next % SLOTS) * SLOT as u64;
        self.next += 1;
        self.file.write_all_at(&slot, at)
    }
}

fn time_ns(verdict: &Verdict) -> i64 {
    i64::try_from(verdict.time.as_nanosecond()).unwrap_or_default()
}

/// What a verdict is about. Its cause is not part of it: what decides it may have been forgotten.
fn id(verdict: &Verdict) -> u64 {
    let mut hash = Sha256::new();
    for text in [&verdict.tap, &verdict.community_id] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    if verdict.revises.is_some() {
        hash.update(verdict.cause.name());
    }
    let digest = hash.finalize();
    digest
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::{injected_reset, pinning};

    fn later(verdict: &Verdict, milliseconds: i64) -> Verdict {
        let mut later = verdict.clone();
        later.time += jiff::SignedDuration::from_millis(milliseconds);
        later
    }

    #[test]
    fn what_got_out_before_is_known_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        let mut first = Delivered::open(&path).unwrap();
        first.note(&pinning()).unwrap();
        assert!(!first.has(&pinning()), "the same process may say it twice");
        let second = Delivered::open(&path).unwrap();
        assert!(second.has(&pinning()));
        assert!(second.has(&later(&pinning(), 10)), "the clock was set");
        assert!(
            !second.has(&later(&pinning(), 1000)),
            "the ports were used again"
        );
        assert!(!second.has(&injected_reset()));
        let mut revised = pinning();
        revised.revises = Some("x".into());
        assert!(!second.has(&revised));
    }

    #[test]
    fn the_latest_are_kept_over_any_number_of_starts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        for start in 0..3 {
            let mut delivered = Delivered::open(&path).unwrap();
            for number in 0..8_000 {
                delivered
                    .note(&later(&pinning(), 1000 * (start * 8_000 + number)))
                    .unwrap();
            }
        }
        let last = Delivered::open(&path).unwrap();
        assert!(last.has(&later(&pinning(), 1000 * 23_999)));
        assert!(last.has(&later(&pinning(), 1000 * 10_000)));
        assert!(!last.has(&later(&pinning(), 1000 * 100)));
    }

    #[test]
    fn a_foreign_or_torn_file_is_begun_anew_or_read_as_far_as_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        std::fs::write(&path, "something else").unwrap();
        Delivered::open(&path).unwrap().note(&pinning()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(Delivered::open(&path).unwrap().has(&pinning()));
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(!Delivered::open(&path).unwrap().has(&pinning()));
    }
}
