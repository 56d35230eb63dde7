//! The directory that has the pins of one agent at a time.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::source::tap::error::TapError;
use crate::source::tap::pins::directory::entries;
use crate::source::tap::pins::generation;

/// A directory for pins, locked by this process.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    #[expect(dead_code, reason = "held for the lock")]
    lock: Flock<OwnedFd>,
}

impl Root {
    /// Locks the directory for this process; creates it if it does not exist.
    ///
    /// # Errors
    /// [`TapError`]: it is not on a BPF file system, another agent has locked it, or permission is denied.
    pub fn lock(path: &Path) -> Result<Self, TapError> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(TapError::pins(path, "cannot be made", &error));
            }
            _ => {}
        }
        Self::lock_existing(path)
    }

    fn lock_existing(path: &Path) -> Result<Self, TapError> {
        let failed = |what: &str, error: io::Error| TapError::pins(path, what, &error);
        let directory: OwnedFd = fs::File::open(path)
            .map_err(|error| failed("cannot be opened", error))?
            .into();
        // Nothing is ever removed on another file system, whichever directory was given.
        let on_bpffs = nix::sys::statfs::fstatfs(&directory)
            .is_ok_and(|about| about.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC);
        if !on_bpffs {
            return Err(TapError::PinsElsewhere {
                directory: path.to_owned(),
            });
        }
        let lock =
            Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, code)| {
                if code == nix::errno::Errno::EWOULDBLOCK {
                    TapError::PinsTaken {
                        directory: path.to_owned(),
                    }
                } else {
                    failed("cannot be locked", code.into())
                }
            })?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes all generations and the directory; returns the number of links.
    ///
    /// # Errors
    /// [`TapError::Pins`].
    pub fn remove_all(self) -> Result<usize, TapError> {
        let mut links = 0;
        for path in generation::list(&self.path)? {
            links += entries(&path.join("links"))
                .map_err(|error| TapError::pins(&path, "cannot be read", &error))?
                .len();
            generation::remove(&path)?;
        }
        // It may belong to another program, or have other entries.
        let _ = fs::remove_dir(&self.path);
        Ok(links)
    }
}

/// Locks the directory for pins if it exists.
///
/// # Errors
/// As [`Root::lock`].
pub fn lock_if_there(path: &Path) -> Result<Option<Root>, TapError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TapError::pins(path, "cannot be inspected", &error)),
        Ok(_) => Root::lock_existing(path).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_bpf_file_system_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = Root::lock(directory.path()).unwrap_err();
        assert!(matches!(error, TapError::PinsElsewhere { .. }), "{error}");
        let error = lock_if_there(directory.path()).unwrap_err();
        assert!(matches!(error, TapError::PinsElsewhere { .. }), "{error}");
        assert!(directory.path().exists());
        let missing = lock_if_there(&directory.path().join("x"));
        assert!(missing.unwrap().is_none());
    }
}
