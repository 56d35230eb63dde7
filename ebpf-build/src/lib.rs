//! Builds eBPF objects from a build script, with an eBPF toolchain found on the machine.
//!
//! Suitable is a compiler with a precompiled core library for `bpfel-unknown-none` (Debian's and
//! Ubuntu's `libstd-rust-web-dev-bpf`), or one with `rust-src`, from which core is built. Both need
//! `bpf-linker`. The system's compiler is tried first, then rustup's toolchains, nightly first.
#![forbid(unsafe_code)]

mod elf;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const INSTALL: &str = "run `cargo xtask setup` (as root, on Debian or Ubuntu), or \
    `rustup toolchain install nightly --component rust-src && cargo install bpf-linker`";

/// Builds the binary `object` of detector-ebpf and sets the environment variable `variable` to its
/// path for the crate being built. For build scripts of this workspace; fails with an error message
/// for cargo.
pub fn embed(object: &str, variable: &str) -> ExitCode {
    match build(object) {
        Ok(path) => {
            println!("cargo::rustc-env={variable}={}", path.display());
            ExitCode::SUCCESS
        }
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

/// A compiler for the eBPF target.
struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    build_std: bool,
}

fn build(object: &str) -> Result<PathBuf, String> {
    let manifest = required("CARGO_MANIFEST_DIR")?;
    let workspace = manifest.parent().ok_or("the crate is not in a workspace")?;
    for source in [
        "detector-ebpf",
        "detector-common",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    for variable in ["PATH", "RUSTUP_HOME"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let target = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    find_linker()?;
    let toolchain = candidates()
        .into_iter()
        .find_map(|(cargo, rustc)| usable(cargo, rustc, target))
        .ok_or_else(|| format!("no Rust compiler here can build eBPF: {INSTALL}"))?;
    let out = required("OUT_DIR")?;
    let built = compile(
        &toolchain,
        workspace,
        target,
        object,
        &shared(workspace, &out),
    )?;
    let whole = std::fs::read(&built)
        .map_err(|error| format!("cannot read {}: {error}", built.display()))?;
    let own = out.join(object);
    // In big-endian order it stays whole.
    std::fs::write(&own, elf::without_debug(&whole).unwrap_or(whole))
        .map_err(|error| format!("cannot write {}: {error}", own.display()))?;
    Ok(own)
}

/// Returns the folder in which eBPF is built for all crates, profiles and targets: the object is the same
/// for all, and its dependencies take hundreds of megabytes.
///
/// That is `bpf` in cargo's target folder; in the outermost one where one lies within another in the
/// workspace, as that for other targets does.
fn shared(workspace: &Path, out: &Path) -> PathBuf {
    let targets: Vec<&Path> = out
        .ancestors()
        .filter(|folder| folder.join("CACHEDIR.TAG").exists())
        .collect();
    let outermost = targets.iter().rfind(|folder| folder.starts_with(workspace));
    let target = outermost.or(targets.first());
    target.map_or(out, |target| *target).join("bpf")
}

fn required(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{variable} is not set"))
}

fn find_linker() -> Result<(), String> {
    let works = Command::new("bpf-linker")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    match works {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("bpf-linker is not on PATH: {INSTALL}")),
    }
}

/// Returns pairs of cargo and rustc to try: the system's, then each of rustup's.
fn candidates() -> Vec<(PathBuf, PathBuf)> {
    let mut pairs = vec![(
        PathBuf::from("/usr/bin/cargo"),
        PathBuf::from("/usr/bin/rustc"),
    )];
    let rustup = env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME")?;
        Some(Path::new(&home).join(".rustup"))
    });
    let Some(toolchains) = rustup.map(|home| home.join("toolchains")) else {
        return pairs;
    };
    let Ok(entries) = std::fs::read_dir(toolchains) else {
        return pairs;
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    // Nightly first: it supports building core.
    found.sort_by_key(|path| !path.to_string_lossy().contains("nightly"));
    pairs.extend(
        found
            .into_iter()
            .map(|path| (path.join("bin/cargo"), path.join("bin/rustc"))),
    );
    pairs
}

/// Returns the toolchain if it has a core library for the target, or the source of one.
fn usable(cargo: PathBuf, rustc: PathBuf, target: &str) -> Option<Toolchain> {
    if !cargo.exists() {
        return None;
    }
    let libraries = print(&rustc, &["--target", target, "--print", "target-libdir"])?;
    let precompiled = std::fs::read_dir(libraries).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
    });
    if precompiled {
        return Some(Toolchain {
            cargo,
            rustc,
            build_std: false,
        });
    }
    let sysroot = print(&rustc, &["--print", "sysroot"])?;
    let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    source.exists().then_some(Toolchain {
        cargo,
        rustc,
        build_std: true,
    })
}

fn print(rustc: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(rustc)
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn compile(
    toolchain: &Toolchain,
    workspace: &Path,
    target: &str,
    object: &str,
    target_dir: &Path,
) -> Result<PathBuf, String> {
    let mut command = Command::new(&toolchain.cargo);
    command
        .current_dir(workspace)
        .args([
            "build",
            "--package",
            "detector-ebpf",
            "--bin",
            object,
            "--profile",
            "bpf",
        ])
        .args(["--target", target, "--target-dir"])
        .arg(target_dir);
    if toolchain.build_std {
        command.arg("-Zbuild-std=core");
    }
    for inherited in [
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
    ] {
        command.env_remove(inherited);
    }
    let output = command
        .env("RUSTC", &toolchain.rustc)
        // Inline assembly for this target is unstable even if its core library is precompiled.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace).join("\x1f"))
        .env("LD_LIBRARY_PATH", linker_libraries())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", toolchain.cargo.display()))?;
    if !output.status.success() {
        let details = String::from_utf8_lossy(&output.stderr);
        // Cargo shows a build script's output if it fails; the error itself is one line.
        eprintln!("{details}");
        let first = details
            .lines()
            .find(|line| line.starts_with("error"))
            .unwrap_or("see above");
        return Err(format!("the eBPF object did not build: {first}"));
    }
    Ok(target_dir.join(target).join("bpf").join(object))
}

fn flags(workspace: &Path) -> Vec<String> {
    let mut flags = [
        "-Clinker=bpf-linker",
        "-Clink-arg=--btf",
        "-Cdebuginfo=2",
        // Header fields are read as words instead of byte by byte.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
    ]
    .map(str::to_owned)
    .to_vec();
    // BTF names source files: the object is the same in whatever folder it is built.
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME")?;
        Some(Path::new(&home).join(".cargo"))
    });
    for (folder, name) in [
        (Some(workspace.to_owned()), "/tlswhy"),
        (cargo_home, "/cargo"),
    ] {
        if let Some(folder) = folder {
            flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
        }
    }
    flags
}

/// Returns the library path with the compiler's LLVM, which bpf-linker needs.
fn linker_libraries() -> OsString {
    let mut paths: Vec<PathBuf> = env::var_os("LD_LIBRARY_PATH")
        .map(|old| env::split_paths(&old).collect())
        .unwrap_or_default();
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if let Some(sysroot) = print(Path::new(&rustc), &["--print", "sysroot"]) {
        paths.push(Path::new(&sysroot).join("lib"));
    }
    env::join_paths(paths).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Makes folders, those named `target` as cargo marks its own, and returns the last one.
    fn made(root: &Path, folders: &[&str]) -> PathBuf {
        let mut path = root.to_owned();
        for folder in folders {
            path.push(folder);
            fs::create_dir_all(&path).unwrap();
            if ["target", "cross"].contains(folder) {
                fs::write(path.join("CACHEDIR.TAG"), "").unwrap();
            }
        }
        path
    }

    #[test]
    fn all_builds_of_a_workspace_share_one_folder() {
        let root = env::temp_dir().join(format!("ebpf-build-{}", std::process::id()));
        let clone = made(&root, &["target", "clone"]);
        let out = made(&clone, &["target", "debug", "build", "agent-1", "out"]);
        assert_eq!(shared(&clone, &out), clone.join("target/bpf"));
        let out = made(
            &clone,
            &["target", "cross", "debug", "build", "agent-2", "out"],
        );
        assert_eq!(shared(&clone, &out), clone.join("target/bpf"));
        let elsewhere = made(&root, &["x", "target"]);
        let out = made(&elsewhere, &["debug", "build", "agent-3", "out"]);
        assert_eq!(shared(&clone, &out), elsewhere.join("bpf"));
        let out = made(&root, &["unmarked", "out"]);
        let nothing = shared(&clone, &out);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(nothing, out.join("bpf"));
    }
}
