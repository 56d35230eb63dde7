//! tlswhy's own tools, and the lab that its tests share with the demo.

pub mod bench;
pub mod corpus;
pub mod demo;
pub mod inject;
pub mod lab;
pub mod old_kernel;
pub mod package;
pub mod score;
pub mod setup;
pub mod test;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The repository's root.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The manifest lies one folder below the root, wherever the repository was cloned to.
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    target.map_or_else(|| root().join("target"), PathBuf::from)
}

/// Fails with what to do unless this process is root.
///
/// # Errors
/// If it is not.
pub fn need_root(command: &str) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "`cargo xtask {command}` makes network namespaces and loads eBPF programs: run it as root, for instance with `sudo -E env PATH=\"$PATH\" cargo xtask {command}`"
        );
    }
    Ok(())
}

/// How the agent is built.
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
        // With the workspace's features, so that what `cargo test` built is used again.
        Profile::Debug => build("tlswhy", &["--workspace"], "debug"),
        Profile::Release => build(
            "tlswhy",
            &["--release", "--package", "detector-user"],
            "release",
        ),
    }
}

/// Builds these tools as tests are built, and returns their path.
///
/// # Errors
/// If they do not build.
pub fn build_tools() -> anyhow::Result<PathBuf> {
    build("xtask", &["--workspace"], "debug")
}

fn build(binary: &str, arguments: &[&str], folder: &str) -> anyhow::Result<PathBuf> {
    let status = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "--bin", binary])
        .args(arguments)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("{binary} did not build");
    }
    Ok(target().join(folder).join(binary))
}
