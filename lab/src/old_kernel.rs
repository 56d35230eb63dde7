//! `cargo xtask vmtest`: the taps' tests on the kernel of Debian 12 (6.1), which has no TCX and
//! another verifier, in an emulated machine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::host::{run as run_command, words};
use xtask::root;

use crate::build::{Profile, build_agent};

/// The package that always depends on the newest kernel of the release.
const KERNEL: &str = "linux-image-cloud-amd64";
/// Test programs that run there. Others build the agent, for which there is no compiler.
const TESTS: [&str; 3] = ["kernel", "taps", "differential"];
/// Programs that the tests call.
const PROGRAMS: [&str; 7] = [
    "ip", "tc", "bpftool", "sysctl", "tcpdump", "ethtool", "setpriv",
];
/// In the order in which they need one another; some are built in, in some kernels.
const MODULES: [&str; 9] = [
    "net/llc/llc.ko",
    "net/802/stp.ko",
    "net/802/garp.ko",
    "net/bridge/bridge.ko",
    "drivers/net/veth.ko",
    "drivers/net/tun.ko",
    "drivers/net/macvlan.ko",
    "net/sched/sch_ingress.ko",
    "net/sched/cls_bpf.ko",
];
/// Seconds the machine may run: without hardware support it is slow.
const PATIENCE: &str = "3600";
/// The word that the machine prints before a test program's name and exit code.
const RESULT: &str = "RESULT ";

const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /sbin /usr/bin /usr/sbin
/bin/busybox --install -s /bin
# Only these are the tests' own.
rm -f /bin/ip /bin/tc /bin/sysctl /bin/setpriv
export PATH=/usr/sbin:/usr/bin:/sbin:/bin RUST_BACKTRACE=0 TLSWHY_AGENT=/tests/tlswhy
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
for module in $(cat /modules/order); do insmod /modules/$module; done
[ -e /dev/net/tun ] || { mkdir -p /dev/net; mknod /dev/net/tun c 10 200; }
ip link set lo up
echo "Linux $(uname -r)"
for test in $(cat /tests/order); do
    /tests/$test --test-threads=1
    echo "RESULT $test $?"
done
ip link add lan0 type veth peer name lan1
ip link set lan1 up
ip link set lan0 up
timeout -s TERM 20 /tests/tlswhy run --interface lan0
# 124 or the signal's number is timeout's own; the agent's last line says how it ended.
poweroff -f
"#;

/// Boots the older kernel and runs the tests there.
///
/// # Errors
/// If one fails, or something needed is missing.
pub fn run() -> anyhow::Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the older kernel is one for x86_64: this machine cannot run its programs there");
    }
    let folder = root().join("target/old-kernel");
    fs::create_dir_all(&folder)?;
    let kernel = unpack(&folder)?;
    let machine = tempfile::tempdir_in(&folder)?;
    furnish(machine.path(), &folder, &kernel)?;
    let image = folder.join("initramfs.gz");
    let script = format!(
        "set -o pipefail; cd '{}' && find . | '{}' cpio -o -H newc | gzip -1 > '{}'",
        machine.path().display(),
        folder.join("bin/busybox").display(),
        image.display()
    );
    run_command(Command::new("bash").arg("-c").arg(script))?;
    boot(&kernel.image, &image)
}

/// An unpacked kernel.
struct Kernel {
    image: PathBuf,
    modules: PathBuf,
}

/// Gets the kernel's package and a shell for it, and unpacks them; an earlier run's are kept.
fn unpack(folder: &Path) -> anyhow::Result<Kernel> {
    let depends = run_command(&mut words(&format!("apt-cache depends {KERNEL}")))?;
    let package = depends
        .split_whitespace()
        .find(|word| word.starts_with("linux-image-") && *word != KERNEL)
        .with_context(|| format!("{KERNEL} is in no package list: run apt-get update"))?;
    let version = package.trim_start_matches("linux-image-");
    let kernel = Kernel {
        image: folder.join(format!("boot/vmlinuz-{version}")),
        modules: folder.join(format!("lib/modules/{version}/kernel")),
    };
    if kernel.image.exists() && folder.join("bin/busybox").exists() {
        return Ok(kernel);
    }
    let packages = tempfile::tempdir_in(folder)?;
    let mut download = words("apt-get -q download");
    run_command(
        download
            .args([package, "busybox-static"])
            .current_dir(packages.path()),
    )?;
    for entry in fs::read_dir(packages.path())? {
        run_command(
            Command::new("dpkg")
                .arg("-x")
                .arg(entry?.path())
                .arg(folder),
        )?;
    }
    Ok(kernel)
}

/// Puts into `machine` the files it boots with.
fn furnish(machine: &Path, folder: &Path, kernel: &Kernel) -> anyhow::Result<()> {
    for place in ["bin", "tests", "modules"] {
        fs::create_dir_all(machine.join(place))?;
    }
    fs::copy(folder.join("bin/busybox"), machine.join("bin/busybox"))?;
    let mut programs = Vec::new();
    for (name, path) in test_programs()? {
        programs.push((path, machine.join("tests").join(name)));
    }
    programs.push((build_agent(Profile::Debug)?, machine.join("tests/tlswhy")));
    for (from, to) in &programs {
        run_command(Command::new("strip").arg("-o").arg(to).arg(from))?;
        copy_libraries(from, machine)?;
    }
    for name in PROGRAMS {
        let path = run_command(
            Command::new("sh")
                .arg("-c")
                .arg(format!("command -v {name}")),
        )?;
        let path = Path::new(path.trim());
        copy_into(path, machine)?;
        copy_libraries(path, machine)?;
    }
    let mut order = Vec::new();
    for module in MODULES {
        let path = kernel.modules.join(module);
        if let (true, Some(name)) = (path.exists(), path.file_name()) {
            fs::copy(&path, machine.join("modules").join(name))?;
            order.push(name.to_string_lossy().into_owned());
        }
    }
    fs::write(machine.join("modules/order"), order.join("\n"))?;
    fs::write(machine.join("tests/order"), TESTS.join("\n"))?;
    fs::create_dir_all(machine.join("etc"))?;
    fs::write(machine.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n")?;
    fs::write(machine.join("init"), INIT)?;
    fs::set_permissions(machine.join("init"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Builds the test programs; their names and where they are.
fn test_programs() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command.args([
        "test",
        "--package",
        "tests",
        "--no-run",
        "--message-format",
        "json",
    ]);
    for test in TESTS {
        command.args(["--test", test]);
    }
    let said = run_command(&mut command)?;
    let built = |line: &str| -> Option<(String, PathBuf)> {
        let message: Value = serde_json::from_str(line).ok()?;
        let name = message.get("target")?.get("name")?.as_str()?.to_owned();
        let path = PathBuf::from(message.get("executable")?.as_str()?);
        TESTS.contains(&name.as_str()).then_some((name, path))
    };
    Ok(said.lines().filter_map(built).collect())
}

/// Copies the libraries that a program is linked with.
fn copy_libraries(program: &Path, machine: &Path) -> anyhow::Result<()> {
    let said = run_command(Command::new("ldd").arg(program))?;
    for library in said.split_whitespace().filter(|word| word.starts_with('/')) {
        copy_into(Path::new(library), machine)?;
    }
    Ok(())
}

/// Copies a file to the same place in the machine.
fn copy_into(file: &Path, machine: &Path) -> anyhow::Result<()> {
    let to = machine.join(file.strip_prefix("/")?);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(file, to).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// Boots, shows the machine's output, and fails unless every test program passed and the agent
/// ended in order.
fn boot(kernel: &Path, image: &Path) -> anyhow::Result<()> {
    let mut command = words(&format!("timeout {PATIENCE} qemu-system-x86_64"));
    command.args("-nographic -no-reboot -m 2048 -smp 2 -cpu max".split(' '));
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
    command.args(["-append", "console=ttyS0 panic=-1 quiet"]);
    let mut machine = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run qemu-system-x86_64")?;
    let mut said = String::new();
    let console = machine.stdout.take().context("the machine is silent")?;
    for line in BufReader::new(console).lines() {
        // The firmware's and the tests' lines alike; they may hold anything.
        let line = line.unwrap_or_default();
        println!("{line}");
        said.push_str(&line);
        said.push('\n');
    }
    machine.wait()?;
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    for test in TESTS {
        if !lines.contains(&format!("{RESULT}{test} 0").as_str()) {
            bail!("{test} did not pass on the older kernel");
        }
    }
    let attached = lines.contains(&"tap lan0: ingress clsact, egress clsact");
    if !attached || !lines.contains(&"lost: nothing") {
        bail!("the agent did not run on the older kernel");
    }
    Ok(())
}
