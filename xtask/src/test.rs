//! `cargo xtask test`: all tests.

use std::process::Command;

use anyhow::{Context, bail};

use crate::{need_root, root, setup};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Passed on to `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Installs what is missing and runs every test of the workspace.
///
/// # Errors
/// If a test fails, or something needed is missing.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    need_root("test")?;
    setup::ensure(setup::ALL)?;
    setup::ensure(setup::CLIENTS)?;
    setup::ensure(setup::ORIGINS)?;
    setup::ensure(setup::PACKAGES)?;
    let status = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["test", "--workspace"])
        .args(&arguments.rest)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}
