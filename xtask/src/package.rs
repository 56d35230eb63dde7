//! `cargo xtask package`: a .deb and an .rpm.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::{root, setup, target};

/// Arguments of `cargo xtask package`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Debian's revision, and the RPM's release
    #[arg(long, value_name = "N", default_value = "1")]
    revision: String,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Packages {
    /// For Debian and what descends from it.
    pub deb: PathBuf,
    /// For Fedora, RHEL and what descends from them.
    pub rpm: PathBuf,
}

/// Makes both packages and says where they are.
///
/// # Errors
/// If something needed is missing or fails.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    setup::ensure(setup::PACKAGES)?;
    let packages = build(&arguments.revision)?;
    println!("{}", packages.deb.display());
    println!("{}", packages.rpm.display());
    Ok(())
}

/// Builds the agent as it is shipped, its man pages and completions, and both packages.
///
/// # Errors
/// If a step fails.
pub fn build(revision: &str) -> anyhow::Result<Packages> {
    let documents = root().join("target/documents");
    let folder = target().join("packages");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    step(
        cargo("build --quiet --profile dist --package detector-user"),
        "the agent did not build",
    )?;
    let mut writer = cargo("run --quiet --package detector-user --example documents --");
    writer.arg(&documents);
    step(writer, "man pages and completions were not made")?;
    let mut deb = cargo("deb --quiet --no-build --profile dist --package detector-user");
    deb.args(["--deb-revision", revision]);
    deb.arg("--output").arg(&folder);
    step(deb, "the .deb was not made")?;
    let mut rpm = cargo("generate-rpm --profile dist --package detector-user");
    rpm.args(["--set-metadata", &format!("release = \"{revision}\"")]);
    rpm.arg("--target-dir").arg(target());
    rpm.arg("--output").arg(folder.join(""));
    step(rpm, "the .rpm was not made")?;
    Ok(Packages {
        deb: folder.join(format!(
            "tlswhy_{VERSION}-{revision}_{}.deb",
            debian_name()?
        )),
        rpm: folder.join(format!(
            "tlswhy-{VERSION}-{revision}.{}.rpm",
            std::env::consts::ARCH
        )),
    })
}

/// All packages of the workspace share it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What Debian calls this architecture.
fn debian_name() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("packages are made for x86_64 and aarch64, not for {other}"),
    }
}

fn cargo(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(line.split_whitespace());
    command
}

fn step(mut command: Command, failed: &'static str) -> anyhow::Result<()> {
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!(failed);
    }
    Ok(())
}
