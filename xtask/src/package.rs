//! `cargo xtask package`: a .deb and an .rpm.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::call::{as_tests, cargo, run};
use crate::cross::{self, Cross};
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

/// How the agent in a package is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// As it is shipped: optimized, which takes five minutes on two cores.
    Shipped,
    /// As tests are, with the dependencies that they have built; its files are hardly compressed.
    Tested,
}

/// Makes both packages, having installed the tools, and prints their paths.
///
/// # Errors
/// If something needed is missing or fails.
pub fn make(revision: &str, target: Option<&str>) -> anyhow::Result<()> {
    setup::ensure(&[Group::Packaging])?;
    let cross = match target {
        Some(cross::TARGET) if std::env::consts::ARCH != ARM64 => Some(Cross::prepare()?),
        _ => None,
    };
    let packages = build(revision, cross.as_ref(), Build::Shipped)?;
    println!("{}", packages.deb.display());
    println!("{}", packages.rpm.display());
    Ok(())
}

/// Builds the agent, its man pages and completions, and both packages; for arm64 with a
/// toolchain for it.
///
/// # Errors
/// If a step fails.
pub fn build(revision: &str, cross: Option<&Cross>, build: Build) -> anyhow::Result<Packages> {
    let documents = root().join("target/documents");
    let folder = target().join("packages");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let prepare = |command: &mut Command| {
        if let Some(cross) = cross {
            cross.with(command);
        }
    };
    if build == Build::Shipped {
        let mut agent = cargo("build --quiet --profile dist --package detector-user");
        prepare(&mut agent);
        run(&mut agent, "the agent did not build")?;
    }
    let mut writer = cargo(&as_tests("--quiet --bin tlswhy"));
    run(&mut writer, "the writer of man pages did not build")?;
    let mut writer = Command::new(target().join("debug/examples/documents"));
    writer.arg(&documents);
    run(&mut writer, "man pages and completions were not made")?;
    let (deb_flags, rpm_flags) = match build {
        Build::Shipped => ("--profile dist", "--profile dist"),
        Build::Tested => (
            "--profile dev --strip --fast",
            "--profile dev --payload-compress none",
        ),
    };
    let mut deb = cargo(&format!(
        "deb --quiet --no-build {deb_flags} --package detector-user"
    ));
    prepare(&mut deb);
    deb.args(["--deb-revision", revision]);
    // It prints the path, which the caller does.
    deb.arg("--output").arg(&folder).stdout(Stdio::null());
    run(&mut deb, "the .deb was not made")?;
    let mut rpm = cargo(&format!("generate-rpm {rpm_flags} --package detector-user"));
    prepare(&mut rpm);
    rpm.args(["--set-metadata", &format!("release = \"{revision}\"")]);
    let built = cross.map_or_else(target, |_| cross::folder());
    rpm.arg("--target-dir").arg(built);
    rpm.arg("--output").arg(folder.join(""));
    run(&mut rpm, "the .rpm was not made")?;
    let arch = cross.map_or(std::env::consts::ARCH, |_| ARM64);
    let debian_arch = debian_name(arch)?;
    Ok(Packages {
        deb: folder.join(format!("tlswhy_{VERSION}-{revision}_{debian_arch}.deb")),
        rpm: folder.join(format!("tlswhy-{VERSION}-{revision}.{arch}.rpm")),
    })
}

/// All packages of the workspace share it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The kind of machine that is cross-built for.
const ARM64: &str = "aarch64";

/// Returns Debian's name of an architecture.
fn debian_name(arch: &str) -> anyhow::Result<&'static str> {
    match arch {
        "x86_64" => Ok("amd64"),
        ARM64 => Ok("arm64"),
        other => bail!("packages are made for x86_64 and aarch64, not for {other}"),
    }
}
