//! Installing what is missing, having said what that is.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A program, or something else that is needed, and the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// What is looked for: a path, or the name of a program on PATH.
    pub probe: &'static str,
    /// The package; a crate, if it has a version.
    pub package: &'static str,
    /// What it is for.
    pub purpose: &'static str,
}

const fn tool(probe: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool {
        probe,
        package,
        purpose,
    }
}

impl Tool {
    /// Whether cargo brings it: packages of Debian have no version here.
    fn is_crate(&self) -> bool {
        self.package.contains('@')
    }
}

/// What the demo and the tests need besides the eBPF toolchain.
pub const ALL: &[Tool] = &[
    tool("cc", "gcc", "building"),
    tool("ip", "iproute2", "network namespaces"),
    tool(
        "nft",
        "nftables",
        "sending connections into the interceptor",
    ),
    tool("sslsplit", "sslsplit", "the interceptor"),
    tool("openssl", "openssl", "certificates, a server and a client"),
    tool("curl", "curl", "a client"),
    tool(
        "javac",
        "default-jdk-headless",
        "the app that pins its server's key",
    ),
    tool("/lib/systemd/systemd-journald", "systemd", "the journal"),
    tool("journalctl", "systemd", "reading the journal"),
    tool("tcpdump", "tcpdump", "recording packets in tests"),
    tool("setpriv", "util-linux", "dropping privileges in tests"),
    tool("ethtool", "ethtool", "switching offloads in tests"),
    tool(
        "promtool",
        "prometheus",
        "checking metrics and alerts in tests",
    ),
];

/// What the corpus needs besides for its servers.
pub const ORIGINS: &[Tool] = &[tool("nginx", "nginx-light", "an origin")];

/// What the corpus needs besides for its interceptors.
pub const INTERCEPTORS: &[Tool] = &[
    tool("squid", "squid-openssl", "an interceptor"),
    tool("mitmdump", "mitmproxy", "an interceptor"),
];

/// What the clients of the corpus need besides.
pub const CLIENTS: &[Tool] = &[
    tool("gnutls-cli", "gnutls-bin", "a client"),
    tool("wget", "wget", "a client"),
    tool("tstclnt", "libnss3-tools", "a client"),
    tool("certutil", "libnss3-tools", "certificates for NSS"),
    tool("pk12util", "libnss3-tools", "certificates for NSS"),
    tool("chromium", "chromium", "a client"),
    tool("/usr/bin/python3", "python3", "clients"),
    tool(
        "/usr/lib/python3/dist-packages/requests/__init__.py",
        "python3-requests",
        "a client",
    ),
    tool(
        "/usr/lib/python3/dist-packages/urllib3/__init__.py",
        "python3-urllib3",
        "a client",
    ),
    tool("java", "default-jdk-headless", "a client"),
    tool("/usr/share/java/okhttp.jar", "libokhttp-java", "a client"),
    tool("/usr/share/java/okio.jar", "libokio-java", "a client"),
    tool("node", "nodejs", "a client"),
    tool("go", "golang-go", "clients"),
];

/// What making packages, and trying them, needs besides.
pub const PACKAGES: &[Tool] = &[
    tool("dpkg-shlibdeps", "dpkg-dev", "making packages"),
    tool("debootstrap", "debootstrap", "a clean Debian to install on"),
    tool("systemd-nspawn", "systemd-container", "booting it"),
    tool("nsenter", "util-linux", "running programs in it"),
    tool("rpm", "rpm", "reading the .rpm"),
    tool("cargo-deb", "cargo-deb@3.8.0", "making packages"),
    tool(
        "cargo-generate-rpm",
        "cargo-generate-rpm@0.21.1",
        "making packages",
    ),
];

/// The package that brings what is looked for by `probe`.
pub(crate) fn package_of(probe: &str) -> Option<&'static str> {
    ALL.iter()
        .chain(CLIENTS)
        .find(|tool| tool.probe == probe)
        .map(|tool| tool.package)
}

/// The eBPF toolchain of Debian and Ubuntu: a compiler with a precompiled core library.
const EBPF: &[Tool] = &[
    tool("/usr/bin/rustc", "rustc-web", "compiling eBPF"),
    tool("/usr/bin/cargo", "cargo-web", "compiling eBPF"),
];

/// Makes sure that `tools` and the eBPF toolchain are there.
///
/// # Errors
/// If something is missing and cannot be installed: what, and the command that gets it.
pub fn ensure(tools: &[Tool]) -> anyhow::Result<()> {
    let (crates, mut missing): (Vec<Tool>, Vec<Tool>) = tools
        .iter()
        .copied()
        .filter(|tool| !is_there(tool.probe))
        .partition(|tool| tool.is_crate());
    if !has_ebpf_compiler() {
        missing.extend(EBPF);
        missing.push(tool("", "libstd-rust-web-dev-bpf", "compiling eBPF"));
    }
    if !missing.is_empty() {
        install(&missing)?;
    }
    if !is_there("bpf-linker") {
        install_linker()?;
    }
    crates.iter().try_for_each(install_crate)
}

/// Whether a path exists, or a program of this name is on PATH.
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

fn install(missing: &[Tool]) -> anyhow::Result<()> {
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    println!("to be installed with apt-get:");
    for package in &packages {
        let purpose = missing
            .iter()
            .find(|tool| tool.package == *package)
            .map(|tool| tool.purpose);
        println!("  {package:28} {}", purpose.unwrap_or_default());
    }
    let command = format!("apt-get install {}", packages.join(" "));
    if !is_there("apt-get") {
        bail!(
            "this machine has no apt-get; install what these packages bring: {}",
            packages.join(" ")
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("installing needs root: run `sudo {command}` first");
    }
    run(Command::new("apt-get").args(["-qq", "-o", "DPkg::Lock::Timeout=300", "update"]))?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args([
            "-qq",
            "-y",
            "-o",
            "DPkg::Lock::Timeout=300",
            "install",
            "--no-install-recommends",
        ])
        .args(&packages))
    .with_context(|| format!("`{command}` failed"))?;
    if packages.contains(&"prometheus") && is_there("/run/systemd/system") {
        // Its tools are wanted, not the service that Debian starts by itself.
        let _ = run(Command::new("systemctl").args(["disable", "--now", "prometheus.service"]));
    }
    Ok(())
}

fn install_crate(tool: &Tool) -> anyhow::Result<()> {
    println!(
        "to be installed with cargo: {} ({}; some minutes)",
        tool.package, tool.purpose
    );
    let mut command = Command::new(env!("CARGO"));
    run(command.args(["install", "--quiet", "--locked", tool.package]))
        .with_context(|| format!("`cargo install --locked {}` failed", tool.package))
}

/// The linker that uses rustup's own LLVM; where that does not fit, the one for Debian's.
fn install_linker() -> anyhow::Result<()> {
    println!("to be installed with cargo: bpf-linker (about a minute)");
    let cargo = || Command::new(env!("CARGO"));
    let first = run(cargo().args(["install", "--quiet", "--locked", "bpf-linker@0.10.3"]));
    let Err(first) = first else {
        return Ok(());
    };
    println!("bpf-linker 0.10.3 did not build ({first}); trying one on Debian's LLVM");
    install(&[tool("", "llvm-22-dev", "linking eBPF")])?;
    run(cargo()
        .env("LLVM_PREFIX", "/usr/lib/llvm-22")
        .args(["install", "--quiet", "bpf-linker@0.13.0"])
        .args(["--no-default-features", "--features", "llvm-22"]))
    .context("bpf-linker does not build; get a release of it and put it on PATH")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(())
}
