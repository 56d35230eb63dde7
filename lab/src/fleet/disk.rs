//! A small disk of a server, which can be filled.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Bytes written at a time.
const AT_ONCE: usize = 1 << 16;

/// A file system in memory, until it is dropped.
pub(super) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one of so many megabytes.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub(super) fn mount(path: &Path, megabytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(path).context("cannot make a folder for a disk")?;
        let size = format!("size={megabytes}m");
        mount(
            Some("tmpfs"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(size.as_str()),
        )
        .context("cannot mount a disk")?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Fills what is left of it.
    ///
    /// # Errors
    /// If anything but its size ends that.
    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::create(self.filler()).context("cannot begin to fill a disk")?;
        let mut piece = AT_ONCE;
        while piece > 0 {
            match file.write_all(&vec![1; piece]) {
                Ok(()) => {}
                // The last pages take less than a whole piece.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => piece /= 2,
                Err(error) => return Err(error).context("cannot fill a disk"),
            }
        }
        Ok(())
    }

    /// Frees it again.
    ///
    /// # Errors
    /// If it was not filled.
    pub(super) fn free(&self) -> anyhow::Result<()> {
        fs::remove_file(self.filler()).context("cannot free a disk")
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process that still uses it keeps it until its own end.
        if let Err(error) = umount2(&self.path, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.path.display());
        }
    }
}
