//! Captures that are given more than once, and names that tell captures apart.

use std::fs::File;
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
    let mut read: Vec<PathBuf> = Vec::new();
    let mut repeats = Vec::new();
    let mut is_first = |path: &PathBuf| {
        let of = read.iter().find(|earlier| is_same(earlier, path)).cloned();
        match of {
            Some(of) => repeats.push(Repeat {
                path: path.clone(),
                of,
            }),
            None => {
                read.push(path.clone());
                return true;
            }
        }
        false
    };
    named.retain(|(_, path)| is_first(path));
    files.retain(is_first);
    repeats
}

/// Whether two paths lead to the same file, or to files with the same bytes. Of streams it is not known.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(first), Ok(second)) = (one.metadata(), other.metadata()) else {
        return false;
    };
    if !first.is_file() || !second.is_file() || first.len() != second.len() {
        return false;
    }
    let is_same_file = (first.dev(), first.ino()) == (second.dev(), second.ino());
    is_same_file || first.len() >= COPY_MIN && has_same_bytes(one, other).unwrap_or(false)
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

/// Returns the shortest end of a capture's path, in whole parts, that no other capture's path ends with.
pub(super) fn label(path: &Path, all: &[PathBuf]) -> String {
    let end = |path: &Path, parts: usize| {
        let count = path.components().count();
        path.components()
            .skip(count.saturating_sub(parts))
            .collect::<PathBuf>()
    };
    let is_distinct = |parts: &usize| {
        let own = end(path, *parts);
        all.iter()
            .all(|other| other == path || end(other, *parts) != own)
    };
    let parts = (1..=path.components().count()).find(is_distinct);
    let label = parts.map_or_else(|| path.to_owned(), |parts| end(path, parts));
    label.to_string_lossy().into_owned()
}
