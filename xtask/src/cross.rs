//! Building for arm64 on a machine of another kind: compiler, linker and standard library for cargo.
//!
//! In: a command of cargo. Out: the command with the environment that it needs. The eBPF object is the
//! same for both: it is built as always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::call::{as_tests, cargo, run};
use crate::setup::{self, Group};
use crate::{root, target};

/// The target that is built for.
pub const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The prefix of its variables of cargo.
const VARIABLE: &str = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU";
/// The compiler of C, which links, too.
const COMPILER: &str = "aarch64-linux-gnu-gcc";
/// The emulator, and where it finds the C library.
const EMULATOR: [&str; 3] = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"];
/// The captures that are judged in the emulator: gzip, TLS 1.2, certificates, a group whose verdicts are revised.
const GROUP: &str = "pin-java-sslsplit-1.2.";
/// Debian's name of it.
const DEBIAN_ARCH: &str = "arm64";
/// Debian's package of the standard library, of the version of its compiler.
const LIBRARY: &str = "libstd-rust-web-dev";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Unit tests of what the emulator cannot do: ethtool's ioctl, bpf(2), and programs started by one of
/// several threads, which hang in it now and then.
const NOT_EMULATED: [&str; 3] = [
    "host::ethtool::",
    "xdp_features::",
    "packet_filter::tests::",
];

/// A toolchain for the target.
#[derive(Clone, Debug)]
pub struct Cross {
    /// Debian's compiler and the folder of its standard library for the target; `None` where the usual
    /// compiler has one.
    debian: Option<PathBuf>,
}

impl Cross {
    /// Installs what is missing, and finds a standard library.
    ///
    /// # Errors
    /// If there is none, or something cannot be installed.
    pub fn prepare() -> anyhow::Result<Self> {
        setup::ensure(&[Group::Cross])?;
        if has_library(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned())) {
            return Ok(Self { debian: None });
        }
        let library = debian_library().with_context(|| {
            format!(
                "no standard library for {TARGET} here; `rustup target add {TARGET}`, where that can be \
                 downloaded"
            )
        })?;
        Ok(Self {
            debian: Some(library),
        })
    }

    /// Adds to a command of cargo the environment for the target. Host programs of the build are kept apart
    /// from those of the usual compiler.
    pub fn with(&self, command: &mut Command) {
        command
            .args(["--target", TARGET])
            .env("CARGO_TARGET_DIR", folder())
            .env(format!("{VARIABLE}_LINKER"), COMPILER)
            .env(format!("{VARIABLE}_RUNNER"), EMULATOR.join(" "))
            // SQLite, zstd and others are C.
            .env("CC_aarch64_unknown_linux_gnu", COMPILER)
            .env("AR_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-ar");
        if let Some(sysroot) = &self.debian {
            let flags = format!("--sysroot {}", sysroot.display());
            command
                .env("RUSTC", DEBIAN_RUSTC)
                .env(format!("{VARIABLE}_RUSTFLAGS"), flags);
        }
    }
}

/// Returns cargo's target folder for the target.
#[must_use]
pub fn folder() -> PathBuf {
    target().join("cross")
}

/// Builds the unit tests of the engine and of the agent for the target, and runs them in an emulator.
///
/// # Errors
/// If one fails.
pub fn test() -> anyhow::Result<()> {
    let cross = Cross::prepare()?;
    let mut tests = cargo("test --package detector-common --package detector-user --lib");
    cross.with(&mut tests);
    tests.arg("--");
    for test in NOT_EMULATED {
        tests.args(["--skip", test]);
    }
    run(&mut tests, "unit tests for arm64 failed")
}

/// Builds the agent for the target without optimization, runs it in an emulator, and compares its verdicts on
/// captures with those of this machine's agent.
///
/// # Errors
/// If it does not build or run, or writes anything else.
pub fn check() -> anyhow::Result<()> {
    let cross = Cross::prepare()?;
    run(
        &mut cargo(&as_tests("--bin tlswhy")),
        "the agent did not build",
    )?;
    let mut build = cargo("build --package detector-user --bin tlswhy");
    cross.with(&mut build);
    build.env("CARGO_PROFILE_DEV_DEBUG", "false");
    run(&mut build, "the agent for arm64 did not build")?;
    let agent = folder().join(TARGET).join("debug/tlswhy");
    let emulated = || {
        let mut command = Command::new(EMULATOR[0]);
        command.args(&EMULATOR[1..]).arg(&agent);
        command
    };
    println!("{}", output(emulated().arg("--version"))?);
    let captures = captures()?;
    let judged =
        |mut agent: Command| output(agent.args(["pcap", "--output", "json"]).args(&captures));
    let (here, there) = (
        judged(Command::new(target().join("debug/tlswhy")))?,
        judged(emulated())?,
    );
    if here.is_empty() || here != there {
        bail!("the agent for arm64 differs; here:\n{here}\narm64:\n{there}");
    }
    println!(
        "arm64: the same {} verdicts on {} captures",
        there.lines().count(),
        captures.len()
    );
    Ok(())
}

/// Returns the captures of one group of the corpus.
fn captures() -> anyhow::Result<Vec<PathBuf>> {
    let corpus = root().join("tests/captures/corpus");
    let entries =
        fs::read_dir(&corpus).with_context(|| format!("cannot read {}", corpus.display()))?;
    let mut captures = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    captures.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(GROUP))
    });
    captures.sort();
    Ok(captures)
}

/// Whether a compiler has a standard library for the target.
fn has_library(rustc: &str) -> bool {
    let output = Command::new(rustc)
        .args(["--target", TARGET, "--print", "target-libdir"])
        .stderr(Stdio::null())
        .output();
    let folder = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    folder.is_ok_and(|folder| has_core(Path::new(&folder)))
}

fn has_core(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|it| it.file_name().to_string_lossy().starts_with("libcore-"))
        })
    })
}

/// Unpacks Debian's standard library for the target in a folder of its own: the machine's packages and
/// architectures stay as they are. Returns the folder for `--sysroot`.
fn debian_library() -> anyhow::Result<PathBuf> {
    setup::ensure(&[Group::EbpfCompiler])?;
    let version = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", LIBRARY]))
        .with_context(|| {
            format!("{LIBRARY}, the library of Debian's compiler, is not installed")
        })?;
    let folder = self::folder().join(format!("library-{version}"));
    let sysroot = folder.join("usr");
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    if has_core(&libraries) {
        return Ok(sysroot);
    }
    println!("to be downloaded: {LIBRARY}:{DEBIAN_ARCH} {version} (60 MB with package lists)");
    let apt = folder.join("apt");
    for part in ["lists/partial", "cache/archives/partial"] {
        let part = apt.join(part);
        fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    }
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(&apt).args(["-qq", "-o"]);
        command.arg(format!("Dir::State::lists={}", apt.join("lists").display()));
        command.arg("-o");
        command.arg(format!("Dir::Cache={}", apt.join("cache").display()));
        for setting in [
            &format!("APT::Architectures::={}", debian_arch_here()?),
            &format!("APT::Architectures::={DEBIAN_ARCH}"),
            "Acquire::Languages=none",
            // Its own user could not write here.
            "APT::Sandbox::User=root",
        ] {
            command.args(["-o", setting]);
        }
        output(command.args(arguments))
    };
    apt_get(&["update"])?;
    let package = format!("{LIBRARY}:{DEBIAN_ARCH}={version}");
    apt_get(&["download", &package]).with_context(|| format!("no package {package}"))?;
    for entry in fs::read_dir(&apt)? {
        let file = entry?.path();
        if file.extension().is_some_and(|it| it == "deb") {
            output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&folder))?;
        }
    }
    fs::remove_dir_all(&apt).with_context(|| format!("cannot remove {}", apt.display()))?;
    if !has_core(&libraries) {
        bail!("{package} holds no standard library for {TARGET}");
    }
    Ok(sysroot)
}

fn debian_arch_here() -> anyhow::Result<String> {
    output(Command::new("dpkg").arg("--print-architecture"))
}

/// Runs a command to its end and returns its output.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed: {}", error.trim().replace('\n', "; "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
