//! Records of delivered verdicts, so that they are not repeated after a restart.
//!
//! An agent that is killed leaves connections half judged; the next one replays them and comes to
//! verdicts that were delivered already. Each sink records the latest in a small file in the runtime
//! directory. A spilled verdict counts as delivered: it will be.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::verdict::Verdict;

/// Verdicts on record; replayed observations lead to fewer.
const SLOTS: u64 = 16_384;
/// Bytes of a slot: a sequence number, the identity, and the verdict's time, little endian.
const SLOT: usize = 24;
const MAGIC: &[u8; 16] = b"tlswhy-delivered";
/// Tolerance of times: the clock may have been adjusted between a verdict and its repetition.
const TOLERANCE_NS: i64 = 50_000_000;

/// A record of delivered verdicts for the next process.
pub(super) struct Delivered {
    file: File,
    next: u64,
}

/// The verdicts that the previous process delivered: their times by identity, oldest first.
#[derive(Default)]
pub(super) struct Earlier {
    times: HashMap<u64, VecDeque<i64>>,
}

impl Delivered {
    /// Reads the file at `path` and continues it.
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

    /// Records a verdict that was written, or spilled and so will be.
    pub(super) fn record(&mut self, verdict: &Verdict) -> io::Result<()> {
        let mut slot = [0; SLOT];
        let numbers = [self.next, id(verdict), time_ns(verdict).cast_unsigned()];
        for (bytes, number) in slot.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        let at = MAGIC.len() as u64 + (self.next % SLOTS) * SLOT as u64;
        self.next += 1;
        self.file.write_all_at(&slot, at)
    }

    /// Opens one whose disk is full.
    #[cfg(test)]
    pub(super) fn without_room() -> Self {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        Self { file, next: 1 }
    }
}

impl Earlier {
    /// Removes a verdict. Returns whether the previous process had delivered it. Each record matches one
    /// verdict only: a revision may return to the cause of an earlier one, and is new nevertheless.
    pub(super) fn remove(&mut self, verdict: &Verdict) -> bool {
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

/// Returns the slots in use, oldest first: sequence number, identity and time.
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

/// Returns the identity of a verdict. The cause is not part of it: facts that decide it may be gone.
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

    fn record(path: &Path, verdict: &Verdict) {
        Delivered::open(path).unwrap().0.record(verdict).unwrap();
    }

    #[test]
    fn a_delivered_verdict_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        record(&path, &pinning());
        let known = |verdict: &Verdict| earlier(&path).remove(verdict);
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
    fn each_delivered_verdict_matches_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        let mut revision = pinning();
        revision.revises = Some("x".into());
        let mut back = revision.clone();
        back.cause = Cause::CaNotTrusted;
        for verdict in [&revision, &back, &revision] {
            record(&path, verdict);
        }
        let mut earlier = earlier(&path);
        let known = [&revision, &back, &revision, &back, &revision];
        let known = known.map(|verdict| earlier.remove(verdict));
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
                    .record(&later(&pinning(), 1000 * (start * 8_000 + number)))
                    .unwrap();
            }
        }
        let mut earlier = earlier(&path);
        assert!(earlier.remove(&later(&pinning(), 1000 * 23_999)));
        assert!(earlier.remove(&later(&pinning(), 1000 * 10_000)));
        assert!(!earlier.remove(&later(&pinning(), 1000 * 100)));
    }

    #[test]
    fn a_foreign_file_is_restarted_and_a_torn_one_read_as_far_as_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivered");
        std::fs::write(&path, "something else").unwrap();
        record(&path, &pinning());
        let bytes = std::fs::read(&path).unwrap();
        assert!(earlier(&path).remove(&pinning()));
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(!earlier(&path).remove(&pinning()));
    }
}
