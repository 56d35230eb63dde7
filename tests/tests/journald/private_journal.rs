//! A journald of a test's own.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use detector_user::outlet::sink::DEFAULT_SOCKET;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

const JOURNALD: &str = "/lib/systemd/systemd-journald";

pub(super) const DIRECTORY: &str = "/run/log/journal";

const CONFIG: &str = "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nReadKMsg=no\nAudit=no\n";

/// The longest that a test waits before it calls an entry lost; nothing is measured by it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A journald that this thread and its children see in place of the machine's own.
pub(super) struct PrivateJournal {
    pub(super) journald: Child,
}

impl PrivateJournal {
    pub(super) fn start() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root: run it with sudo"
        );
        assert!(
            Path::new(JOURNALD).exists(),
            "{JOURNALD} is missing: apt-get install systemd"
        );
        assert!(
            std::fs::read_to_string("/etc/machine-id").is_ok_and(|id| id.trim().len() == 32),
            "journald needs /etc/machine-id: run systemd-machine-id-setup"
        );
        // Of this thread only: other tests keep the machine's view.
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        let none = MsFlags::empty();
        mount(Some("tmpfs"), "/run", Some("tmpfs"), none, None::<&str>).expect("tmpfs on /run");
        std::fs::create_dir_all("/run/systemd/journal").unwrap();
        std::fs::create_dir_all("/run/systemd/journald.conf.d").unwrap();
        std::fs::write("/run/systemd/journald.conf.d/99-test.conf", CONFIG).unwrap();
        Self {
            journald: start_journald(),
        }
    }

    pub(super) fn stop(&mut self) {
        self.journald.kill().unwrap();
        self.journald.wait().unwrap();
        let _ = std::fs::remove_file(DEFAULT_SOCKET);
    }

    pub(super) fn restart(&mut self) {
        self.journald = start_journald();
    }

    /// The entries the agent wrote, once there are `count`.
    pub(super) fn entries(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let entries = read_journal();
            if entries.len() >= count {
                assert_eq!(entries.len(), count, "{entries:#?}");
                return entries;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {count} entries arrived",
                entries.len()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for PrivateJournal {
    fn drop(&mut self) {
        let _ = self.journald.kill();
        let _ = self.journald.wait();
    }
}

fn start_journald() -> Child {
    let journald = Command::new(JOURNALD)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("systemd-journald starts");
    let deadline = Instant::now() + PATIENCE;
    let probe = UnixDatagram::unbound().unwrap();
    while probe.connect(DEFAULT_SOCKET).is_err() {
        assert!(
            Instant::now() < deadline,
            "journald never listened on {DEFAULT_SOCKET}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    journald
}

fn read_journal() -> Vec<Value> {
    let output = Command::new("journalctl")
        .args([
            "--directory",
            DIRECTORY,
            "--output=json",
            "--all",
            "--quiet",
            "-t",
            "tlswhy",
        ])
        .output()
        .expect("journalctl runs");
    // Before the first entry there may be no journal file to read.
    let text = String::from_utf8(output.stdout).expect("journalctl writes UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect()
}
