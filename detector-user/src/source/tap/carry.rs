//! The latest items of the rings, in a file that survives this process.
//!
//! The kernel holds the items that the agent has not read; those that it has read and not yet judged
//! would be lost with it. So each item is copied, as it is read, to a file mapped into memory, which costs a few
//! dozen nanoseconds and no system call. An agent that is killed leaves it as it was; the next one
//! goes through it first, and then on with the rings. Two regions take turns: when one is full the
//! other is cleared, so that at least one region's worth of the latest items is there.
#![expect(unsafe_code, reason = "a mapped file")]

use std::fs::OpenOptions;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::mem::size_of;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, compiler_fence};

use detector_common::flow::Watched;
use detector_common::observation::LAYOUT_VERSION;
use memmap2::MmapMut;

/// Bytes of each region: some 20,000 observations.
const REGION: usize = 8 << 20;
const MAGIC: u64 = u64::from_le_bytes(*b"tlswhy-d");
/// A region begins with magic, a hash of its writer, its turn, the number of bytes used, and the time up to
/// which connections were judged.
const HEADER: usize = 40;
const TURN_AT: usize = 16;
const USED_AT: usize = 24;
const JUDGED_AT: usize = 32;
/// Each record begins with its kind and its length, and ends at a multiple of eight.
const RECORD_HEADER: usize = 8;

/// The reason why nothing can be carried over.
#[derive(Debug, thiserror::Error)]
#[error("cannot store connections in progress in {}: {source}; a restart loses them", .path.display())]
pub struct CarryError {
    path: PathBuf,
    source: io::Error,
}

/// An item of a ring, or a fact known with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// An observation as the kernel wrote it.
    Observation(&'a [u8]),
    /// Handshake bytes with their head, likewise.
    Chunk(&'a [u8]),
    /// So many observations were passed on, oldest first.
    HandedOn(u32),
    /// Nanoseconds from the kernel's clock to UNIX time.
    UnixOffset(i64),
}

impl<'a> Record<'a> {
    const fn kind(self) -> u32 {
        match self {
            Self::Observation(_) => 1,
            Self::Chunk(_) => 2,
            Self::HandedOn(_) => 3,
            Self::UnixOffset(_) => 4,
        }
    }

    fn read(kind: u32, bytes: &'a [u8]) -> Option<Self> {
        Some(match kind {
            1 => Self::Observation(bytes),
            2 => Self::Chunk(bytes),
            3 => Self::HandedOn(u32::from_le_bytes(*bytes.first_chunk()?)),
            4 => Self::UnixOffset(i64::from_le_bytes(*bytes.first_chunk()?)),
            _ => return None,
        })
    }
}

/// The file that items are copied to.
pub struct Carry {
    map: MmapMut,
    /// The region that is written: 0 or 1.
    region: usize,
    turn: u64,
    used: usize,
    unix_offset_ns: Option<i64>,
    judged_ns: u64,
}

/// Items that an earlier agent had read.
#[derive(Default)]
pub struct Carried {
    /// The older region's records, then the later one's.
    regions: Vec<Vec<u8>>,
    judged_ns: u64,
}

impl Carried {
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.regions.iter().flat_map(|region| records(region))
    }

    /// Returns the time, on the kernel's clock, up to which the earlier agent had judged connections.
    pub fn judged_ns(&self) -> u64 {
        self.judged_ns
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.regions.iter().all(Vec::is_empty)
    }
}

fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        loop {
            let kind = u32::from_le_bytes(*bytes.first_chunk()?);
            let length = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
            let payload = bytes.get(RECORD_HEADER..RECORD_HEADER.checked_add(length)?)?;
            bytes = bytes
                .get(RECORD_HEADER + length.next_multiple_of(8)..)
                .unwrap_or_default();
            if let Some(record) = Record::read(kind, payload) {
                return Some(record);
            }
        }
    })
}

impl Carry {
    /// Opens or creates the file in `directory`, and returns the items that an earlier agent left there.
    /// Those of an earlier boot, or of an agent with other layouts, do not count.
    ///
    /// # Errors
    /// [`CarryError`]: the file cannot be created, or the disk is full.
    pub fn open(directory: &Path) -> Result<(Self, Carried), CarryError> {
        let path = directory.join("carried");
        let failed = |source| CarryError {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        // With all of its blocks: a full disk must not end the agent at the first touch of a page.
        nix::fcntl::posix_fallocate(&file, 0, 2 * REGION as i64)
            .map_err(|code| failed(code.into()))?;
        // SAFETY: the file is this agent's own, kept at its full size, and nobody else's to change.
        let map = unsafe { MmapMut::map_mut(&file) }.map_err(failed)?;
        let mut carry = Self {
            map,
            region: 0,
            turn: 0,
            used: 0,
            unix_offset_ns: None,
            judged_ns: 0,
        };
        let carried = carry.take_over();
        Ok((carry, carried))
    }

    /// Reads the records of both regions, oldest first, and continues behind them.
    fn take_over(&mut self) -> Carried {
        let mut found: Vec<(u64, usize, Vec<u8>)> = Vec::new();
        let mut judged_ns = 0;
        for region in [0, 1] {
            if let Some((turn, judged_to_ns, bytes)) = self.content(region) {
                found.push((turn, region, bytes.to_vec()));
                judged_ns = judged_ns.max(judged_to_ns);
            }
        }
        self.judged_ns = judged_ns;
        found.sort_by_key(|(turn, ..)| *turn);
        if let Some((turn, region, bytes)) = found.last() {
            (self.turn, self.region, self.used) = (*turn, *region, bytes.len());
        } else {
            self.begin(0);
        }
        Carried {
            regions: found.into_iter().map(|(.., bytes)| bytes).collect(),
            judged_ns,
        }
    }

    fn content(&self, region: usize) -> Option<(u64, u64, &[u8])> {
        let bytes = self.map.get(region * REGION..(region + 1) * REGION)?;
        let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        if number(0)? != MAGIC || number(8)? != written_by() {
            return None;
        }
        let used = usize::try_from(number(USED_AT)?).ok()?;
        Some((
            number(TURN_AT)?,
            number(JUDGED_AT)?,
            bytes.get(HEADER..HEADER.checked_add(used)?)?,
        ))
    }

    /// Clears a region and continues in it.
    fn begin(&mut self, region: usize) {
        self.turn += 1;
        self.region = region;
        self.used = 0;
        self.publish();
        let turn = self.turn;
        self.put(region * REGION + TURN_AT, &turn.to_le_bytes());
        let judged_ns = self.judged_ns;
        self.put(region * REGION + JUDGED_AT, &judged_ns.to_le_bytes());
        self.put(region * REGION + 8, &written_by().to_le_bytes());
        self.put(region * REGION, &MAGIC.to_le_bytes());
        if let Some(offset_ns) = self.unix_offset_ns {
            self.write(Record::UnixOffset(offset_ns));
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.map.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    /// Commits the bytes written so far. A process that is killed has made all of its
    /// writes up to some point, in the order of its instructions.
    fn publish(&mut self) {
        compiler_fence(Ordering::Release);
        let used = self.used as u64;
        self.put(self.region * REGION + USED_AT, &used.to_le_bytes());
        compiler_fence(Ordering::Release);
    }

    pub(super) fn write(&mut self, record: Record<'_>) {
        let (mut small, large);
        let payload: &[u8] = match record {
            Record::Observation(bytes) | Record::Chunk(bytes) => {
                large = bytes;
                large
            }
            Record::HandedOn(number) => {
                small = u64::from(number).to_le_bytes();
                small.get(..4).unwrap_or_default()
            }
            Record::UnixOffset(offset_ns) => {
                small = [0; 8];
                small.copy_from_slice(&offset_ns.to_le_bytes());
                &small
            }
        };
        let length = RECORD_HEADER + payload.len().next_multiple_of(8);
        if HEADER + self.used + length > REGION {
            self.begin(1 - self.region);
        }
        let at = self.region * REGION + HEADER + self.used;
        self.put(at, &record.kind().to_le_bytes());
        self.put(at + 4, &(payload.len() as u32).to_le_bytes());
        self.put(at + RECORD_HEADER, payload);
        self.used += length;
        self.publish();
    }

    /// Records the nanoseconds from the kernel's clock to UNIX time, if they have changed.
    pub(super) fn record_unix_offset(&mut self, offset_ns: i64) {
        if self.unix_offset_ns != Some(offset_ns) {
            self.unix_offset_ns = Some(offset_ns);
            self.write(Record::UnixOffset(offset_ns));
        }
    }

    /// Records the time, on the kernel's clock, up to which connections are judged.
    pub(super) fn record_judged(&mut self, judged_ns: u64) {
        if self.judged_ns < judged_ns {
            self.judged_ns = judged_ns;
            self.put(self.region * REGION + JUDGED_AT, &judged_ns.to_le_bytes());
        }
    }
}

/// Returns the hash of all that records depend on: layouts, and the boot that the kernel's clock
/// counts from.
fn written_by() -> u64 {
    let mut hasher = DefaultHasher::new();
    LAYOUT_VERSION.hash(&mut hasher);
    size_of::<Watched>().hash(&mut hasher);
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(carried: &Carried) -> Vec<String> {
        carried
            .records()
            .map(|record| format!("{record:?}"))
            .collect()
    }

    #[test]
    fn what_was_written_is_there_after_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let records = [
            Record::UnixOffset(-5),
            Record::Chunk(b"hello"),
            Record::Observation(&[7; 40]),
            Record::HandedOn(1),
        ];
        let (mut carry, carried) = Carry::open(directory.path()).unwrap();
        assert!(carried.is_empty());
        carry.record_unix_offset(-5);
        carry.record_judged(7);
        carry.record_judged(6);
        for record in &records[1..] {
            carry.write(*record);
        }
        drop(carry);
        let (mut carry, carried) = Carry::open(directory.path()).unwrap();
        assert_eq!(carried.records().collect::<Vec<_>>(), records);
        assert_eq!(carried.judged_ns(), 7);
        carry.write(Record::HandedOn(2));
        drop(carry);
        let (_, carried) = Carry::open(directory.path()).unwrap();
        assert_eq!(carried.records().last(), Some(Record::HandedOn(2)));
        assert_eq!(carried.records().count(), 5);
    }

    #[test]
    fn when_it_is_full_the_latest_are_there_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let (mut carry, _) = Carry::open(directory.path()).unwrap();
        carry.record_unix_offset(3);
        carry.record_judged(5);
        let large = vec![1; 64 << 10];
        for number in 0..350u32 {
            carry.write(Record::Chunk(&large));
            carry.write(Record::HandedOn(number));
        }
        drop(carry);
        let (_, carried) = Carry::open(directory.path()).unwrap();
        let numbers: Vec<u32> = carried
            .records()
            .filter_map(|record| match record {
                Record::HandedOn(number) => Some(number),
                _ => None,
            })
            .collect();
        assert_eq!(numbers.last(), Some(&349));
        assert!(
            numbers.len() > 127 && numbers.len() < 300,
            "{}",
            numbers.len()
        );
        assert!(numbers.is_sorted_by(|one, next| one + 1 == *next));
        assert!(
            texts(&carried)[0].contains("UnixOffset(3)"),
            "the region that begins knows it too"
        );
        assert_eq!(carried.judged_ns(), 5, "it knows this too");
    }

    #[test]
    fn another_boots_or_layouts_records_and_damage_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("carried");
        let (mut carry, _) = Carry::open(directory.path()).unwrap();
        carry.write(Record::HandedOn(1));
        carry.write(Record::HandedOn(2));
        drop(carry);
        let whole = std::fs::read(&path).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] ^= byte;
            std::fs::write(&path, bytes).unwrap();
            Carry::open(directory.path()).unwrap().1.records().count()
        };
        assert_eq!(with(8, 1), 0, "written by something else");
        assert_eq!(with(USED_AT + 7, 0x7f), 0, "more used than there is");
        assert_eq!(
            with(HEADER + 6, 1),
            0,
            "a record longer than the region's use"
        );
        assert_eq!(with(HEADER, 0x70), 1, "a record of an unknown kind");
        std::fs::write(&path, &whole[..100]).unwrap();
        assert_eq!(
            Carry::open(directory.path()).unwrap().1.records().count(),
            2
        );
    }
}
