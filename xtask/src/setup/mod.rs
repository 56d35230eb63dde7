//! Installs missing packages, having printed which.
//!
//! In: groups of [`PACKAGES`]. Out: an installed machine, or an error with the command that installs.

mod packages;

pub use packages::{Group, PACKAGES, Package, package_of};

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::is_root;

/// Makes sure that groups of packages and the eBPF toolchain are installed.
///
/// # Errors
/// If something is missing and cannot be installed: what, and the command that installs it.
pub fn ensure(groups: &[Group]) -> anyhow::Result<()> {
    let wanted = |package: &Package| groups.contains(&package.group) && !is_installed(package);
    let missing = PACKAGES.iter().copied().filter(wanted);
    let (crates, mut missing): (Vec<_>, Vec<_>) = missing.partition(Package::is_crate);
    if !has_ebpf_compiler() {
        missing.extend(of(Group::EbpfCompiler));
    }
    if !missing.is_empty() {
        install(&missing)?;
    }
    if !is_there("bpf-linker") {
        install_linker()?;
    }
    crates.iter().try_for_each(install_crate)
}

fn of(group: Group) -> impl Iterator<Item = Package> {
    let all = PACKAGES.iter().copied();
    all.filter(move |package| package.group == group)
}

fn is_installed(package: &Package) -> bool {
    package.probes.iter().all(|probe| is_there(probe))
}

/// Returns whether a path exists, or a program of this name is on PATH.
pub fn is_there(probe: &str) -> bool {
    if probe.starts_with('/') {
        return Path::new(probe).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(probe).is_file())
}

/// Whether some compiler here has a core library for eBPF, or rust-src to build it from.
fn has_ebpf_compiler() -> bool {
    let libraries = Path::new("/usr/lib/rustlib/bpfel-unknown-none/lib");
    let precompiled =
        std::fs::read_dir(libraries).is_ok_and(|mut entries| entries.next().is_some());
    precompiled && is_there("/usr/bin/cargo") || has_rust_src()
}

fn has_rust_src() -> bool {
    let Some(home) = std::env::var_os("HOME") else {
        return false;
    };
    let toolchains = Path::new(&home).join(".rustup/toolchains");
    std::fs::read_dir(toolchains).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            entry
                .path()
                .join("lib/rustlib/src/rust/library/core/Cargo.toml")
                .exists()
        })
    })
}

fn install(missing: &[Package]) -> anyhow::Result<()> {
    println!("to be installed with apt-get (all groups take 5 minutes and 3 GB of disk):");
    for package in missing {
        println!("  {:28} {}", package.name, package.purpose);
    }
    let packages: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let command = format!("apt-get install {}", packages.join(" "));
    if !is_there("apt-get") {
        bail!(
            "this machine has no apt-get; install what these packages bring: {}",
            packages.join(" ")
        );
    }
    if !is_root() {
        bail!("installing needs root: run `sudo {command}` first");
    }
    run(Command::new("apt-get").args(["-qq", "-o", "DPkg::Lock::Timeout=300", "update"]))?;
    // Downloading and unpacking take minutes: each package is shown.
    call(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args([
                "-q",
                "-y",
                "-o",
                "DPkg::Lock::Timeout=300",
                "install",
                "--no-install-recommends",
            ])
            .args(&packages),
    )
    .with_context(|| format!("`{command}` failed"))?;
    for package in ["prometheus", "nats-server"] {
        if packages.contains(&package) && is_there("/run/systemd/system") {
            // The program is wanted, not the service that Debian starts by itself.
            let service = format!("{package}.service");
            let _ = run(Command::new("systemctl").args(["disable", "--now", &service]));
        }
    }
    Ok(())
}

fn install_crate(package: &Package) -> anyhow::Result<()> {
    let name = package.name;
    println!(
        "to be installed with cargo: {name} ({}; some minutes)",
        package.purpose
    );
    run(cargo_install().args(["--locked", name]))
        .with_context(|| format!("`cargo install --locked {name}` failed"))
}

fn cargo_install() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.arg("install");
    // They run for seconds: optimizing them fully takes longer than it saves.
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    command
}

/// Installs the linker that uses rustup's own LLVM; where that does not build, the one for Debian's.
fn install_linker() -> anyhow::Result<()> {
    println!("to be installed with cargo: bpf-linker (about a minute)");
    let first = run(cargo_install().args(["--locked", "bpf-linker@0.10.3"]));
    let Err(first) = first else {
        return Ok(());
    };
    println!("bpf-linker 0.10.3 did not build ({first}); trying one on Debian's LLVM");
    install(&of(Group::EbpfLinker).collect::<Vec<_>>())?;
    run(cargo_install()
        .env("LLVM_PREFIX", "/usr/lib/llvm-22")
        .arg("bpf-linker@0.13.0")
        .args(["--no-default-features", "--features", "llvm-22"]))
    .context("bpf-linker does not build; get a release of it and put it on PATH")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    call(command.stdout(Stdio::null()))
}

/// Runs a command as [`run`] does, and returns its output.
fn call(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(())
}
