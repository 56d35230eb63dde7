//! Traces of a test run on this machine: processes, namespaces, mounts, links and pins.
//!
//! In: nothing but the machine. Out: a list of the traces that were not there before. Not here:
//! removing them, which the guards of tests do.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;

/// The environment variable that marks all processes of a test run.
pub const TEST_RUN: &str = "TLSWHY_TEST_RUN";
/// Time that the kernel may take to end killed processes and deleted namespaces.
const PATIENCE: Duration = Duration::from_secs(60);

/// The machine as it was before the tests.
pub struct Before {
    /// The value of [`TEST_RUN`].
    mark: String,
    traces: BTreeSet<String>,
}

impl Before {
    /// Records the state of this machine.
    #[must_use]
    pub fn record() -> Self {
        Self {
            mark: std::process::id().to_string(),
            traces: traces(),
        }
    }

    /// Returns the value of [`TEST_RUN`] for the tests.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Checks that the tests left nothing behind; waits for the end of the last processes.
    ///
    /// # Errors
    /// The list of traces.
    pub fn check(&self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = self.left();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("the tests left behind:\n  {}", left.join("\n  "));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left = processes(&format!("{TEST_RUN}={}", self.mark));
        let now = traces();
        left.extend(now.difference(&self.traces).cloned());
        left
    }
}

/// Returns the processes whose environment has a variable.
fn processes(variable: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for id in names(Path::new("/proc")) {
        if id == own || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        if variables.any(|it| it == variable.as_bytes()) {
            let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(format!("process {id}: {}", command.trim()));
        }
    }
    found
}

fn traces() -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    let mut insert = |kind: &str, names: Vec<String>| {
        traces.extend(names.into_iter().map(|name| format!("{kind} {name}")));
    };
    insert("network namespace", names(Path::new("/run/netns")));
    insert("link", names(Path::new("/sys/class/net")));
    insert("mount", mounts());
    let mut pins = Vec::new();
    collect(Path::new("/sys/fs/bpf"), &mut pins);
    insert("pin", pins);
    traces
}

/// Returns the mount points; the fifth field of a line (proc_pid_mountinfo(5)).
fn mounts() -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(str::to_owned).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<String>) {
    for name in names(folder) {
        let path = folder.join(name);
        paths.push(path.display().to_string());
        if path.is_dir() && !path.is_symlink() {
            collect(&path, paths);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_runs_on_is_listed_until_it_ends() {
        let before = Before {
            mark: format!("of a test {}", std::process::id()),
            traces: traces(),
        };
        let mut process = Command::new("sleep")
            .arg("600")
            .env(TEST_RUN, before.mark())
            .spawn()
            .unwrap();
        let wanted = format!("process {}: sleep 600", process.id());
        // Between fork and exec it has the environment of this process.
        let end = Instant::now() + PATIENCE;
        while !before.left().contains(&wanted) {
            assert!(Instant::now() < end, "{:?}", before.left());
            std::thread::sleep(Duration::from_millis(20));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(!before.left().contains(&wanted));
    }

    #[test]
    fn a_trace_that_was_there_before_is_not_listed() {
        let mut before = Before {
            mark: "of no process".into(),
            traces: traces(),
        };
        assert!(before.traces.contains("link lo"));
        before.traces.remove("link lo");
        assert!(before.left().contains(&"link lo".to_owned()));
    }
}
