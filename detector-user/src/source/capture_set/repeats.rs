//! Captures that are given more than once, and names that tell captures apart.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Length that captures of the same bytes have at least, to be called copies: shorter ones have no connection.
const COPY_MIN: u64 = 512;

/// A capture that is left out: it is the same as another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The capture.
    pub path: PathBuf,
    /// The one that is read.
    pub of: PathBuf,
}

/// Removes captures that are the same as one before: the same file, or a copy. Two taps never capture the same
/// bytes, and one capture read as two would show each connection twice.
pub fn remove_repeats(named: &mut Vec<(String, PathBuf)>, files: &mut Vec<PathBuf>) -> Vec<Repeat> {
    let mut read: HashMap<u64, Vec<Seen>> = HashMap::new();
    let mut repeats = Vec::new();
    let mut is_first = |path: &PathBuf| {
        // Of streams it is not known.
        let Some((len, seen)) = Seen::of(path) else {
            return true;
        };
        let alike = read.entry(len).or_default();
        if let Some(earlier) = alike.iter().find(|earlier| earlier.is_same(&seen, len)) {
            repeats.push(Repeat {
                path: path.clone(),
                of: earlier.path.clone(),
            });
            return false;
        }
        alike.push(seen);
        true
    };
    named.retain(|(_, path)| is_first(path));
    files.retain(is_first);
    repeats
}

/// A capture that is read, with its device and inode.
struct Seen {
    path: PathBuf,
    file: (u64, u64),
}

impl Seen {
    /// Returns a file and its length; `None` of a stream.
    fn of(path: &Path) -> Option<(u64, Self)> {
        let metadata = path.metadata().ok().filter(Metadata::is_file)?;
        let seen = Self {
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
        };
        Some((metadata.len(), seen))
    }

    /// Whether both are the same file, or files of this length with the same bytes.
    fn is_same(&self, other: &Self, len: u64) -> bool {
        let has_same_bytes = || has_same_bytes(&self.path, &other.path).unwrap_or(false);
        self.file == other.file || len >= COPY_MIN && has_same_bytes()
    }
}

fn has_same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let mut one = BufReader::new(File::open(one)?);
    let mut other = BufReader::new(File::open(other)?);
    loop {
        let (first, second) = (one.fill_buf()?, other.fill_buf()?);
        let length = first.len().min(second.len());
        if length == 0 {
            return Ok(first.len() == second.len());
        }
        if first.iter().zip(second).any(|(a, b)| a != b) {
            return Ok(false);
        }
        one.consume(length);
        other.consume(length);
    }
}

/// Captures by the last part of their paths.
pub(super) struct Ends(HashMap<OsString, Vec<PathBuf>>);

impl Ends {
    pub(super) fn new(paths: impl Iterator<Item = PathBuf>) -> Self {
        let mut ends: HashMap<OsString, Vec<PathBuf>> = HashMap::new();
        for path in paths {
            let last = path.file_name().unwrap_or_default().to_owned();
            ends.entry(last).or_default().push(path);
        }
        Self(ends)
    }

    /// Returns the shortest end of a capture's path, in whole parts, that no other capture's path ends with.
    pub(super) fn label(&self, path: &Path) -> String {
        let alike = self.0.get(path.file_name().unwrap_or_default());
        let alike = alike.map_or(&[][..], Vec::as_slice);
        let is_distinct = |parts: &usize| {
            let own = end(path, *parts);
            let mut others = alike.iter().filter(|other| *other != path);
            others.all(|other| end(other, *parts) != own)
        };
        let parts = (1..=path.components().count()).find(is_distinct);
        let label = parts.map_or_else(|| path.to_owned(), |parts| end(path, parts));
        label.to_string_lossy().into_owned()
    }
}

/// Returns the last parts of a path, so many.
fn end(path: &Path, parts: usize) -> PathBuf {
    let skipped = path.components().count().saturating_sub(parts);
    path.components().skip(skipped).collect()
}
