//! The history on disk, so that a restart or a reboot does not begin from nothing.
//!
//! `history.jsonl` has a line for each fact that was news, or was seen for the first time on a day;
//! client addresses stand in it as they are, names only as hashes. A thread of its own writes: a disk
//! that is slow or full delays nothing.

mod line;
mod read;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::host::privileges::give_up_all;
use read::{keep_latest, read};
use write::{FILE, OLDER, Writer};

pub(super) use line::Line;
pub(super) use read::Kept;

/// Lines that may wait for the disk.
const WAITING: usize = 16_384;
/// Longest wait for the disk at the end.
const PATIENCE: Duration = Duration::from_secs(3);

/// The history cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the history to {}: {source}; it will be lost at the next restart", .path.display())]
pub(super) struct StoreError {
    path: PathBuf,
    source: io::Error,
}

/// The history's file, and the thread that writes it.
pub(super) struct Store {
    /// `None` once it ends.
    to_writer: Option<SyncSender<Line>>,
    is_done: Receiver<()>,
    lost: Arc<AtomicU64>,
}

impl Store {
    /// Reads the lines in `directory` that are no older than `retention`, and begins to write there.
    /// Lines that could be read are returned even if none can be written.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be written there.
    pub(super) fn open(
        directory: &Path,
        retention: Duration,
        now_s: u64,
    ) -> (Result<Self, StoreError>, Kept) {
        let since_s = now_s.saturating_sub(retention.as_secs());
        let mut kept = Kept::default();
        for name in [OLDER, FILE] {
            read(&directory.join(name), since_s, &mut kept);
        }
        keep_latest(&mut kept.lines);
        let store = Self::begin(directory, &kept.lines).map_err(|source| StoreError {
            path: directory.join(FILE),
            source,
        });
        (store, kept)
    }

    /// Replaces the file's contents by `lines`, and starts the thread that appends.
    fn begin(directory: &Path, lines: &[Line]) -> io::Result<Self> {
        let mut writer = Writer::new(directory);
        writer.rewrite(lines)?;
        let (to_writer, waiting) = sync_channel(WAITING);
        let (done, is_done) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let lost_here = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                give_up_all();
                writer.write_all(&waiting, &lost_here);
                let _ = done.send(());
            })?;
        Ok(Self {
            to_writer: Some(to_writer),
            is_done,
            lost,
        })
    }

    /// Queues a line for writing, or counts it as lost if too many wait.
    pub(super) fn push(&self, line: Line) {
        let taken = self
            .to_writer
            .as_ref()
            .is_some_and(|writer| writer.try_send(line).is_ok());
        if !taken {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of facts that did not get to the disk.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.to_writer = None;
        let _ = self.is_done.recv_timeout(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::BufWriter;

    use super::*;
    use crate::cause::history::facts::tests::fact;
    use crate::cause::interception::Mark;

    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    const NOW: u64 = 1_800_000_000;

    fn line(client: u8, time_s: u64) -> Line {
        Line::Fact {
            fact: fact(client, time_s),
            intercepted: true,
        }
    }

    fn open(directory: &Path) -> (Store, Kept) {
        let (store, kept) = Store::open(directory, WEEK, NOW);
        (store.unwrap(), kept)
    }

    #[test]
    fn what_was_noted_is_remembered_once_and_while_it_is_young() {
        let directory = tempfile::tempdir().unwrap();
        let (store, kept) = open(directory.path());
        assert!(kept.lines.is_empty() && kept.warnings.is_empty());
        let recognized = Line::Recognized {
            mark: Mark::of_number(7),
            time_s: NOW - 3,
        };
        for line in [
            line(1, NOW - 20),
            line(2, NOW - 8 * 86_400),
            line(1, NOW - 10),
            recognized,
        ] {
            store.push(line);
        }
        drop(store);
        for _ in 0..2 {
            let (store, kept) = open(directory.path());
            assert_eq!(kept.lines, [line(1, NOW - 10), recognized]);
            assert!(kept.warnings.is_empty());
            drop(store);
        }
    }

    #[test]
    fn damage_costs_what_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let (store, _) = open(directory.path());
        store.push(line(1, NOW - 2));
        store.push(line(2, NOW - 1));
        drop(store);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let (store, kept) = open(directory.path());
        assert_eq!(kept.lines, [line(1, NOW - 2)]);
        assert!(kept.warnings[0].ends_with("1 damaged line left out"));
        drop(store);
        assert!(open(directory.path()).1.warnings.is_empty(), "said once");
    }

    #[test]
    fn another_versions_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, "{\"tlswhy_history\":99,\"hash\":1}\n{}\n").unwrap();
        let (_store, kept) = open(directory.path());
        assert!(kept.lines.is_empty());
        assert!(kept.warnings[0].contains("of another version: set aside as"));
        assert!(directory.path().join("history.jsonl.unreadable").exists());
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let (store, _) = Store::open(Path::new("/nonexistent"), WEEK, NOW);
        let error = store.err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("cannot write the history to /nonexistent/history.jsonl: "),
            "{error}"
        );
    }

    #[test]
    fn what_can_be_read_is_kept_where_nothing_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = open(directory.path());
        store.push(line(1, NOW - 1));
        drop(store);
        // A directory is in the way of the file that is written first.
        fs::create_dir(directory.path().join("history.jsonl.new")).unwrap();
        let (store, kept) = Store::open(directory.path(), WEEK, NOW);
        assert!(store.is_err());
        assert_eq!(kept.lines, [line(1, NOW - 1)]);
    }

    #[test]
    fn a_full_disk_is_counted_and_stops_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer {
            directory: directory.path().to_owned(),
            to: Some(BufWriter::with_capacity(
                8,
                OpenOptions::new().write(true).open("/dev/full").unwrap(),
            )),
            length: 0,
        };
        let (sender, receiver) = sync_channel(8);
        let lost = AtomicU64::new(0);
        for client in 1..=3 {
            sender.send(line(client, NOW)).unwrap();
        }
        drop(sender);
        writer.write_all(&receiver, &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 3);
    }
}
