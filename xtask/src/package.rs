//! `cargo xtask package`: a .deb and an .rpm.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::call::{cargo, run};
use crate::setup::{self, Group};
use crate::{root, target};

/// The packages made.
#[derive(Clone, Debug)]
pub struct Packages {
    /// For Debian and its descendants.
    pub deb: PathBuf,
    /// For Fedora, RHEL and their descendants.
    pub rpm: PathBuf,
}

/// Makes both packages, having installed the tools, and prints their paths.
///
/// # Errors
/// If something needed is missing or fails.
pub fn make(revision: &str) -> anyhow::Result<()> {
    setup::ensure(&[Group::Packaging])?;
    let packages = build(revision)?;
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
    run(
        &mut cargo("build --quiet --profile dist --package detector-user"),
        "the agent did not build",
    )?;
    let mut writer = cargo("run --quiet --package detector-user --example documents --");
    writer.arg(&documents);
    run(&mut writer, "man pages and completions were not made")?;
    let mut deb = cargo("deb --quiet --no-build --profile dist --package detector-user");
    deb.args(["--deb-revision", revision]);
    deb.arg("--output").arg(&folder);
    run(&mut deb, "the .deb was not made")?;
    let mut rpm = cargo("generate-rpm --profile dist --package detector-user");
    rpm.args(["--set-metadata", &format!("release = \"{revision}\"")]);
    rpm.arg("--target-dir").arg(target());
    rpm.arg("--output").arg(folder.join(""));
    run(&mut rpm, "the .rpm was not made")?;
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

/// Returns Debian's name of this architecture.
fn debian_name() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("packages are made for x86_64 and aarch64, not for {other}"),
    }
}
