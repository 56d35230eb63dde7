//! Directories under a BPF file system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Lists a directory; empty if it does not exist.
pub(super) fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// Removes a directory with all its entries, links first: maps and programs stay as long as programs are
/// attached.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    let links = path.join("links");
    if links.is_dir() {
        fs::remove_dir_all(&links)?;
    }
    for entry in entries(path)? {
        if entry.is_dir() {
            remove_all(&entry)?;
        } else {
            fs::remove_file(&entry)?;
        }
    }
    fs::remove_dir(path)
}
