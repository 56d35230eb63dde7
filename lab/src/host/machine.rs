//! A clean Debian that runs systemd, in a container of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;

use super::command::{output, run, words};
use super::{Namespace, Process};
use xtask::left_behind::TEST_RUN;
use xtask::target;

/// The release that is installed.
const RELEASE: &str = "bookworm";
/// Packages beyond Debian's minimal base.
const INCLUDED: &str = "systemd,systemd-sysv,dbus,iproute2,curl";
/// The longest that a boot may take, on a busy machine.
const BOOT: Duration = Duration::from_secs(180);

/// A Debian whose systemd is up; changes to it are gone when it is dropped.
pub struct Machine {
    container: Process,
    /// The container's init, as seen from here.
    init: String,
    bpffs: BpfFs,
}

impl Machine {
    /// Boots a clean Debian in a network namespace. It sees `shared` as `/shared`.
    ///
    /// # Errors
    /// If it cannot be installed, or does not come up.
    pub fn boot(network: &Namespace, shared: &Path) -> anyhow::Result<Self> {
        let root = clean_root()?;
        let bpffs = BpfFs::mount()?;
        // A PID namespace around the container: its first process is killed with `unshare`, and all in
        // the namespace with that. Killed alone, systemd-nspawn would leave the container running.
        let mut command = words("unshare --pid --fork --kill-child --mount-proc");
        command.args(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]);
        command.arg("--boot");
        command.args(["--volatile=overlay", "--console=pipe", "--settings=no"]);
        // A gateway's systemd has these, and nspawn denies them to containers.
        command.args(["--capability=all", "--system-call-filter=bpf"]);
        command.arg("--machine").arg(network.name());
        command.arg("--directory").arg(root);
        command.arg(format!(
            "--network-namespace-path=/run/netns/{}",
            network.name()
        ));
        command.arg(format!(
            "--bind={}:/sys/fs/bpf",
            bpffs.folder.path().display()
        ));
        command.arg(format!("--bind-ro={}:/shared", shared.display()));
        if let Ok(run) = std::env::var(TEST_RUN) {
            command.arg(format!("--setenv={TEST_RUN}={run}"));
        }
        let container = Process::start(&mut command)?;
        let init = init_of(container.id())?;
        let machine = Self {
            container,
            init,
            bpffs,
        };
        machine.wait_until_up()?;
        Ok(machine)
    }

    /// Returns a command that will run in it.
    pub fn command(&self, line: &str) -> Command {
        let mut command = words("nsenter --mount --uts --ipc --net --pid --target");
        command
            .arg(&self.init)
            .arg("--")
            .args(line.split_whitespace());
        command
    }

    /// Runs a command line in it to its end; no argument may have white space.
    ///
    /// # Errors
    /// If it fails; with what it said.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        run(&mut self.command(line))
    }

    /// Runs a shell's script in it to its end.
    ///
    /// # Errors
    /// If it fails; with what it said.
    pub fn shell(&self, script: &str) -> anyhow::Result<String> {
        run(self.command("sh -ec").arg(script))
    }

    /// Returns the path of its BPF file system, as seen from here.
    pub fn bpffs(&self) -> &Path {
        self.bpffs.folder.path()
    }

    fn wait_until_up(&self) -> anyhow::Result<()> {
        let end = Instant::now() + BOOT;
        loop {
            let said = output(&mut self.command("systemctl is-system-running"))?;
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            match said.trim() {
                "running" => return Ok(()),
                "degraded" if Instant::now() > end => {
                    bail!(
                        "the machine came up with failures:\n{}",
                        self.failed_units()?
                    );
                }
                // Debian's own units, here only for a gateway to be complete, may fail on a busy host.
                "degraded" => {
                    let _ = writeln!(
                        std::io::stderr(),
                        "starting units again that failed at boot:\n{}",
                        self.failed_units()?
                    );
                    self.restart_failed_units()?;
                    std::thread::sleep(Duration::from_secs(1));
                }
                _ if Instant::now() > end => {
                    let lines: Vec<_> = self.container.lines().collect();
                    bail!("the machine did not come up:\n{}", lines.join("\n"));
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Returns the failed units, each with its end in the journal.
    fn failed_units(&self) -> anyhow::Result<String> {
        self.shell(
            "systemctl --failed --plain --no-legend --no-pager | while read -r unit _; do
                 systemctl status --no-pager --full --lines=20 \"$unit\" || true
             done",
        )
    }

    fn restart_failed_units(&self) -> anyhow::Result<()> {
        self.shell(
            "systemctl --failed --plain --no-legend --no-pager | while read -r unit _; do
                 systemctl reset-failed \"$unit\"
                 systemctl start \"$unit\" || true
             done",
        )?;
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing in it is worth an orderly end.
        let _ = self.container.stop(Signal::SIGKILL);
        // Its file systems are in use until its init is gone.
        let init = format!("/proc/{}", self.init);
        let end = Instant::now() + BOOT;
        while Path::new(&init).exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A BPF file system as systemd mounts it: for root alone.
struct BpfFs {
    folder: tempfile::TempDir,
}

impl BpfFs {
    fn mount() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let none = MsFlags::empty();
        mount(
            Some("bpf"),
            folder.path(),
            Some("bpf"),
            none,
            Some("mode=700"),
        )
        .context("cannot mount a BPF file system")?;
        Ok(Self { folder })
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
    }
}

/// Returns a clean Debian's files, which are made when they are not there: that takes a minute or
/// two.
fn clean_root() -> anyhow::Result<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let root = target().join(format!("debian-{RELEASE}"));
    if root.exists() {
        return Ok(root);
    }
    let unfinished = root.with_extension("unfinished");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).context("cannot remove what was left unfinished")?;
    }
    let mut command = words("debootstrap --variant=minbase");
    command.arg(format!("--include={INCLUDED}"));
    command.arg(RELEASE).arg(&unfinished);
    // Past the tests' capture of their output: it is silent otherwise.
    let _ = writeln!(
        std::io::stderr(),
        "installing a clean Debian into {} (a minute or two, 300 MB)",
        root.display()
    );
    run(&mut command).context("cannot install a clean Debian")?;
    std::fs::rename(&unfinished, &root).context("cannot keep the clean Debian")?;
    Ok(root)
}

/// Returns the container's init among the descendants of a process; it is not there at once.
fn init_of(process: u32) -> anyhow::Result<String> {
    let end = Instant::now() + BOOT;
    loop {
        let mut pending = children(&process.to_string());
        while let Some(next) = pending.pop() {
            let name = std::fs::read_to_string(format!("/proc/{next}/comm")).unwrap_or_default();
            // Before the container's init there are short-lived helpers.
            if name.trim() == "systemd" {
                return Ok(next);
            }
            pending.extend(children(&next));
        }
        if Instant::now() > end {
            bail!("the container's init did not start");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn children(process: &str) -> Vec<String> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}
