//! tlswhy's own tools, and the lab that its tests share with the demo.

pub mod bench;
pub mod corpus;
pub mod demo;
pub mod inject;
pub mod lab;
pub mod old_kernel;
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
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root())
        .args(["build", "--bin", "tlswhy"]);
    match profile {
        // With the workspace's features, so that what `cargo test` built is used again.
        Profile::Debug => command.arg("--workspace"),
        Profile::Release => command.args(["--release", "--package", "detector-user"]),
    };
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the agent did not build");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root().join("target"), PathBuf::from);
    let folder = if profile == Profile::Release {
        "release"
    } else {
        "debug"
    };
    Ok(target.join(folder).join("tlswhy"))
}
