//! `cargo xtask bench`: builds and runs the benches.

use std::process::Command;

use anyhow::{Context, bail};

use crate::{build_agent, need_root, root};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Under 50 seconds: fewer rounds, a smaller capture
    #[arg(long)]
    quick: bool,
}

/// Builds the agent and the benches in release mode and runs them.
///
/// # Errors
/// If one does not build or run.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    need_root("bench")?;
    let agent = build_agent()?;
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root())
        .args(["run", "--quiet", "--release", "--package", "bench", "--"]);
    command.arg("--agent").arg(agent);
    if arguments.quick {
        command.arg("--quick");
    }
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the bench did not run to its end");
    }
    Ok(())
}
