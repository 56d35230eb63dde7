//! A cgroup with a memory limit, as systemd's `MemoryMax=` makes it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bytes that a process may need beyond what it has.
const ROOM: u64 = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// A cgroup of version 2, or of version 1 where that has the memory controller. Dropped, it is removed.
pub struct MemoryGroup {
    folder: PathBuf,
    limit: &'static str,
    usage: &'static str,
    events: &'static str,
}

impl MemoryGroup {
    /// Makes one with a process in it. What the process has already is accounted elsewhere.
    ///
    /// # Panics
    /// If there is no memory controller, or this process is not root.
    #[must_use]
    pub fn with(process: u32) -> Self {
        let name = format!("tlswhy-test-{process}");
        let v1 = PathBuf::from("/sys/fs/cgroup/memory");
        let (parent, [limit, usage, events]) = if v1.is_dir() {
            (
                v1,
                [
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                    "memory.oom_control",
                ],
            )
        } else {
            let root = PathBuf::from("/sys/fs/cgroup");
            // Fails if it is enabled already and processes are there.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
            (root, ["memory.max", "memory.current", "memory.events"])
        };
        let folder = parent.join(name);
        fs::create_dir(&folder).unwrap();
        let group = Self {
            folder,
            limit,
            usage,
            events,
        };
        fs::write(group.folder.join("cgroup.procs"), process.to_string()).unwrap();
        group
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap()
    }

    /// Limits the memory to a little more than is in use: the process reaches it as it goes on.
    ///
    /// # Panics
    /// If no limit can be set.
    pub fn limit(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let usage: u64 = self.read(self.usage).trim().parse().unwrap();
            let set = fs::write(self.folder.join(self.limit), (usage + ROOM).to_string());
            match set {
                Ok(()) => return,
                // It grew meanwhile.
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        }
    }

    /// Returns the number of processes that the kernel ended because of the limit.
    ///
    /// # Panics
    /// If the kernel does not count them.
    #[must_use]
    pub fn kills(&self) -> u64 {
        let events = self.read(self.events);
        let kills = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "));
        kills.unwrap().parse().unwrap()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
