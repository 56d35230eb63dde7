//! tlswhy's development commands.
//!
//! In: a command line of `cargo xtask` ([`commands`]). Out: an installed machine ([`setup`]),
//! packages ([`package`], for arm64 with [`cross`]), runs
//! of the fuzz targets ([`fuzz`]) or of tests that count lines ([`coverage`]), or a call of the crate that does the work ([`call`]).
//!
//! Not here: anything that reads captures, runs the agent or needs another crate of the workspace.
#![forbid(unsafe_code)]

pub mod call;
pub mod commands;
pub mod coverage;
pub mod cross;
pub mod fuzz;
pub mod left_behind;
pub mod package;
pub mod revision;
pub mod setup;

use std::path::{Path, PathBuf};

/// Returns the repository's root.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The manifest lies one folder below the root, wherever the repository was cloned to.
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Returns cargo's target folder.
pub fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    target.map_or_else(|| root().join("target"), PathBuf::from)
}

/// Returns whether this process runs as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // A process's folder in /proc belongs to its effective user (proc(5)).
    std::fs::metadata("/proc/self").is_ok_and(|folder| folder.uid() == 0)
}
