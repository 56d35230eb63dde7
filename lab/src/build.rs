//! Builds the programs that the laboratory and the tests run.

use std::path::PathBuf;

use anyhow::Context as _;
use xtask::{call, target};

/// The profile a program is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As tests are.
    Debug,
    /// As it ships.
    Release,
}

/// Builds the agent and returns its path.
///
/// # Errors
/// If it does not build.
pub fn build_agent(profile: Profile) -> anyhow::Result<PathBuf> {
    match profile {
        Profile::Debug => build(&call::as_tests("--bin tlswhy"), "debug/tlswhy"),
        // Beside the laboratory, as `xtask` builds that.
        Profile::Release => build(
            "build --release --package lab --package detector-user --bin tlswhy",
            "release/tlswhy",
        ),
    }
}

/// Builds the laboratory's own binary as tests are built, and returns its path.
///
/// # Errors
/// If it does not build.
pub fn build_lab() -> anyhow::Result<PathBuf> {
    build(&call::as_tests("--bin lab"), "debug/lab")
}

fn build(line: &str, path: &'static str) -> anyhow::Result<PathBuf> {
    call::run(&mut call::cargo(line), "it did not build")
        .with_context(|| format!("cannot make target/{path}"))?;
    Ok(target().join(path))
}
