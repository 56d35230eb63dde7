//! Which verdicts got out before a restart, so that they are not given twice after it.
//!
//! An agent that is killed leaves connections half judged; the next one goes through them again and
//! comes to verdicts that were given already. Each sink keeps the latest in a small file beside what
//! is carried over. One that waits on disk counts as given: it will be.

use std::collections::{HashMap, VecDeque};
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

/// Notes verdicts for the process after this one.
pub(super) struct Delivered {
    file: File,
    next: u64,
}

/// The verdicts that the process before this one gave: when each was, by identity, oldest first.
#[derive(Default)]
pub(super) struct Earlier {
    times: HashMap<u64, VecDeque<i64>>,
}

impl Delivered {
    /// Reads what the file at `path` has, and goes on in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Earlier)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut slots = Vec::new();
        match bytes.strip_prefix(MAGIC) {
            Some(bytes) => slots = read(bytes),
            None => {
                file.set_len(0)?;
                file.write_all_at(MAGIC, 0)?;
            }
        }
        let next = slots.last().map_or(1, |[count, ..]| count + 1);
        let mut earlier = Earlier::default();
        for [_, id, time_ns] in slots {
            let times = earlier.times.entry(id).or_default();
            times.push_back(time_ns.cast_signed());
        }
        Ok((Self { file, next }, earlier))
    }

    /// Notes that a verdict got out, or waits on disk and so will.
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

    /// One whose disk is full.
    #[cfg(test)]
    pub(super) fn without_room() -> Self {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        Self { file, next: 1 }
    }
}

impl Earlier {
    /// Whether the process before this one has given this verdict. Each that it gave answers for one
    /// only: a revision may come to a cause that an earlier revision had, and is news nevertheless.
    pub(super) fn take(&mut self, verdict: &Verdict) -> bool {
        // Nearly always, and then nothing is computed.
        if self.times.is_empty() {
            return false;
        }
        let (id, time_ns) = (id(verdict), time_ns(verdict));
        let Some(times) = self.times.get_mut(&id) else {
            return false;
        };
        let near = |time: &i64| time.abs_diff(time_ns) <= TOLERANCE_NS.unsigned_abs();
        let found = times
            .iter()
            .position(near)
            .and_then(|at| times.remove(at))
            .is_some();
        if times.is_empty() {
            self.times.remove(&id);
        }
        found
    }
}

/// The slots in use, oldest first: a count, the identity, and the time.
fn read(bytes: &[u8]) -> Vec<[u64; 3]> {
    let slot = |slot: &[u8]| {
        let number = |at: usize| {
            let bytes = slot.get(at..).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        [number(0), number(8), number(16)]
    };
    let mut slots: Vec<_> = bytes.chunks_exact(SLOT).map(slot).collect();
    slots.retain(|[count, ..]| *count > 0);
    slots.sort_unstable();
    slots
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
    use crate::verdict::Cause;
    use crate::verdict::tests::{injected_reset, pinning};

    fn later(verdict: &Verdict, milliseconds: i64) -> Verdict {
        let mut later = verdict.clone();
        later.time += jiff::SignedDuration::from_millis(milliseconds);
        later
    }

    fn earlier(path: &Path) -> Earlier {
        Delivered::open(path).unwrap().1
    }

    fn note(path: &Path, verdict: &Verdict) {
        Delivered::open(path).unwrap().0.note(verdict).unwrap();
    }

    #[test]
    fn what_got_out_before_is_known_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        note(&path, &pinning());
        let known = |verdict: &Verdict| earlier(&path).take(verdict);
        assert!(known(&pinning()));
        assert!(known(&later(&pinning(), 10)), "the clock was set");
        assert!(
            !known(&later(&pinning(), 1000)),
            "the ports were used again"
        );
        assert!(!known(&injected_reset()));
        let mut revised = pinning();
        revised.revises = Some("x".into());
        assert!(!known(&revised));
    }

    #[test]
    fn each_that_got_out_answers_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        let mut revision = pinning();
        revision.revises = Some("x".into());
        let mut back = revision.clone();
        back.cause = Cause::CaNotTrusted;
        for verdict in [&revision, &back, &revision] {
            note(&path, verdict);
        }
        let mut earlier = earlier(&path);
        let known = [&revision, &back, &revision, &back, &revision];
        let known = known.map(|verdict| earlier.take(verdict));
        assert_eq!(known, [true, true, true, false, false]);
        assert!(earlier.times.is_empty());
    }

    #[test]
    fn the_latest_are_kept_over_any_number_of_starts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        for start in 0..3 {
            let (mut delivered, _) = Delivered::open(&path).unwrap();
            for number in 0..8_000 {
                delivered
                    .note(&later(&pinning(), 1000 * (start * 8_000 + number)))
                    .unwrap();
            }
        }
        let mut earlier = earlier(&path);
        assert!(earlier.take(&later(&pinning(), 1000 * 23_999)));
        assert!(earlier.take(&later(&pinning(), 1000 * 10_000)));
        assert!(!earlier.take(&later(&pinning(), 1000 * 100)));
    }

    #[test]
    fn a_foreign_or_torn_file_is_begun_anew_or_read_as_far_as_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        std::fs::write(&path, "something else").unwrap();
        note(&path, &pinning());
        let bytes = std::fs::read(&path).unwrap();
        assert!(earlier(&path).take(&pinning()));
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(!earlier(&path).take(&pinning()));
    }
}
