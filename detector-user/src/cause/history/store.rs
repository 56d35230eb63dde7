//! What was learned, on disk, so that a restart or a reboot does not begin from nothing.
//!
//! `history.jsonl` has a line for each fact that was news, or was seen for the first time on a day;
//! client addresses stand in it as they are, names only as hashes. A thread of its own writes: a disk
//! that is slow or full delays nothing.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::Fact;
use crate::cause::hash::hash;
use crate::cause::interception::Mark;
use crate::host::privileges::give_up_all;

const FILE: &str = "history.jsonl";
/// The file before this one, kept when this one has grown too large.
const OLDER: &str = "history.jsonl.1";
/// A file this large makes room for another. Two of them hold some 200,000 facts.
const LARGEST: u64 = 16 << 20;
/// Lines that may wait for the disk.
const WAITING: usize = 16_384;
/// How long a line waits for others before it is pushed out.
const IDLE: Duration = Duration::from_secs(1);
/// How long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(3);
const VERSION: u32 = 1;

/// Why nothing is remembered.
#[derive(Debug, thiserror::Error)]
#[error("what is learned is not kept: {}: {source}", .path.display())]
pub(super) struct StoreError {
    path: PathBuf,
    source: io::Error,
}

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Note {
    /// What one connection showed, and whether it was surely intercepted.
    Fact {
        #[serde(flatten)]
        fact: Fact,
        intercepted: bool,
    },
    /// A mark is an interceptor's.
    Recognized { mark: Mark, time_s: u64 },
}

impl Note {
    fn time_s(&self) -> u64 {
        match self {
            Self::Fact { fact, .. } => fact.time_s(),
            Self::Recognized { time_s, .. } => *time_s,
        }
    }
}

/// The first line: whoever reads must hash names as the writer did.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    tlswhy_history: u32,
    hash: u64,
}

impl Header {
    fn ours() -> Self {
        Self {
            tlswhy_history: VERSION,
            hash: hash(&"tlswhy"),
        }
    }
}

/// What was read at the start.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pub(super) notes: Vec<Note>,
    /// What to tell the operator.
    pub(super) warnings: Vec<String>,
}

/// Takes notes and has them written.
pub(super) struct Store {
    /// `None` once it is over.
    to_writer: Option<SyncSender<Note>>,
    is_done: Receiver<()>,
    lost: Arc<AtomicU64>,
}

impl Store {
    /// Reads what `directory` has that is no older than `retention`, and begins to write there. What
    /// could be read is given even if nothing can be written.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be written there.
    pub(super) fn open(
        directory: &Path,
        retention: Duration,
        now_s: u64,
    ) -> (Result<Self, StoreError>, Remembered) {
        let since_s = now_s.saturating_sub(retention.as_secs());
        let mut remembered = Remembered::default();
        for name in [OLDER, FILE] {
            read(&directory.join(name), since_s, &mut remembered);
        }
        latest_only(&mut remembered.notes);
        let store = Self::begin(directory, &remembered.notes).map_err(|source| StoreError {
            path: directory.join(FILE),
            source,
        });
        (store, remembered)
    }

    /// Writes `notes` in place of what is there, and starts the thread that writes what follows.
    fn begin(directory: &Path, notes: &[Note]) -> io::Result<Self> {
        let mut file = Lines {
            directory: directory.to_owned(),
            to: None,
            length: 0,
        };
        file.rewrite(notes)?;
        let (to_writer, waiting) = sync_channel(WAITING);
        let (done, is_done) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let lost_here = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                give_up_all();
                file.write_all(&waiting, &lost_here);
                let _ = done.send(());
            })?;
        Ok(Self {
            to_writer: Some(to_writer),
            is_done,
            lost,
        })
    }

    pub(super) fn note(&self, note: Note) {
        let taken = self
            .to_writer
            .as_ref()
            .is_some_and(|writer| writer.try_send(note).is_ok());
        if !taken {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Facts that did not get to the disk.
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

/// Reads one file. What is damaged is left out, and what another version wrote is set aside.
fn read(path: &Path, since_s: u64, remembered: &mut Remembered) {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            let warning = format!("cannot read {}: {error}", path.display());
            remembered.warnings.push(warning);
            return;
        }
    };
    let mut lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
    let is_ours = lines.next().is_some_and(|line| {
        serde_json::from_slice::<Header>(&line).is_ok_and(|header| header == Header::ours())
    });
    if !is_ours {
        set_aside(path, remembered);
        return;
    }
    let mut damaged = 0;
    for line in lines {
        match serde_json::from_slice::<Note>(&line) {
            Ok(note) if note.time_s() >= since_s => remembered.notes.push(note),
            Ok(_) => {}
            Err(_) => damaged += 1,
        }
    }
    if damaged > 0 {
        let warning = format!("{}: {damaged} damaged lines left out", path.display());
        remembered.warnings.push(warning);
    }
}

fn set_aside(path: &Path, remembered: &mut Remembered) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".unreadable");
    let aside = PathBuf::from(aside);
    let what = match fs::rename(path, &aside) {
        Ok(()) => format!("set aside as {}", aside.display()),
        Err(error) => format!("cannot be set aside: {error}"),
    };
    let warning = format!(
        "{} is damaged or of another version: {what}; it is learned anew",
        path.display()
    );
    remembered.warnings.push(warning);
}

/// Of notes that say the same at several times, the latest; in the order of their times.
fn latest_only(notes: &mut Vec<Note>) {
    let mut latest: HashMap<String, Note> = HashMap::new();
    for note in notes.drain(..) {
        let what = match &note {
            Note::Fact { fact, intercepted } => format!("{intercepted} {:?}", fact.at(0)),
            Note::Recognized { mark, .. } => format!("{mark:?}"),
        };
        let known = latest.entry(what).or_insert(note);
        if note.time_s() >= known.time_s() {
            *known = note;
        }
    }
    notes.extend(latest.into_values());
    notes.sort_by_key(Note::time_s);
}

/// The file, and the one before it.
struct Lines {
    directory: PathBuf,
    to: Option<BufWriter<File>>,
    length: u64,
}

impl Lines {
    /// Writes all notes to a new file in place of the old ones. A crash leaves the old ones or the
    /// new one, whole.
    fn rewrite(&mut self, notes: &[Note]) -> io::Result<()> {
        let new = self.directory.join("history.jsonl.new");
        let (file, length) = begin(&new)?;
        (self.to, self.length) = (Some(file), length);
        for note in notes {
            self.line(note)?;
        }
        self.flush()?;
        fs::rename(&new, self.directory.join(FILE))?;
        match fs::remove_file(self.directory.join(OLDER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes what comes until nobody sends any more.
    fn write_all(&mut self, notes: &Receiver<Note>, lost: &AtomicU64) {
        loop {
            let written = match notes.recv_timeout(IDLE) {
                Ok(note) => self.write(&note),
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.flush();
                    return;
                }
            };
            if written.is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn write(&mut self, note: &Note) -> io::Result<()> {
        if self.length >= LARGEST {
            self.flush()?;
            fs::rename(self.directory.join(FILE), self.directory.join(OLDER))?;
            let (file, length) = begin(&self.directory.join(FILE))?;
            (self.to, self.length) = (Some(file), length);
        }
        self.line(note)
    }

    fn line(&mut self, note: &Note) -> io::Result<()> {
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        self.length += line.len() as u64;
        match &mut self.to {
            Some(file) => file.write_all(&line),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// A new file with its first line.
fn begin(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let mut file = BufWriter::new(file);
    let mut header = serde_json::to_vec(&Header::ours())?;
    header.push(b'\n');
    file.write_all(&header)?;
    Ok((file, header.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::history::facts::tests::fact;

    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    const NOW: u64 = 1_800_000_000;

    fn note(client: u8, time_s: u64) -> Note {
        Note::Fact {
            fact: fact(client, time_s),
            intercepted: true,
        }
    }

    fn open(directory: &Path) -> (Store, Remembered) {
        let (store, remembered) = Store::open(directory, WEEK, NOW);
        (store.unwrap(), remembered)
    }

    #[test]
    fn what_was_noted_is_remembered_once_and_while_it_is_young() {
        let directory = tempfile::tempdir().unwrap();
        let (store, remembered) = open(directory.path());
        assert!(remembered.notes.is_empty() && remembered.warnings.is_empty());
        let recognized = Note::Recognized {
            mark: Mark::of_number(7),
            time_s: NOW - 3,
        };
        for note in [
            note(1, NOW - 20),
            note(2, NOW - 8 * 86_400),
            note(1, NOW - 10),
            recognized,
        ] {
            store.note(note);
        }
        drop(store);
        for _ in 0..2 {
            let (store, remembered) = open(directory.path());
            assert_eq!(remembered.notes, [note(1, NOW - 10), recognized]);
            assert!(remembered.warnings.is_empty());
            drop(store);
        }
    }

    #[test]
    fn damage_costs_what_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let (store, _) = open(directory.path());
        store.note(note(1, NOW - 2));
        store.note(note(2, NOW - 1));
        drop(store);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let (store, remembered) = open(directory.path());
        assert_eq!(remembered.notes, [note(1, NOW - 2)]);
        assert!(remembered.warnings[0].ends_with("1 damaged lines left out"));
        drop(store);
        assert!(open(directory.path()).1.warnings.is_empty(), "said once");
    }

    #[test]
    fn another_versions_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, "{\"tlswhy_history\":99,\"hash\":1}\n{}\n").unwrap();
        let (_store, remembered) = open(directory.path());
        assert!(remembered.notes.is_empty());
        assert!(remembered.warnings[0].contains("of another version: set aside as"));
        assert!(directory.path().join("history.jsonl.unreadable").exists());
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let (store, _) = Store::open(Path::new("/nonexistent"), WEEK, NOW);
        let error = store.err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("what is learned is not kept: /nonexistent/history.jsonl"),
            "{error}"
        );
    }

    #[test]
    fn what_can_be_read_is_remembered_where_nothing_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = open(directory.path());
        store.note(note(1, NOW - 1));
        drop(store);
        // What would be written first is in the way.
        fs::create_dir(directory.path().join("history.jsonl.new")).unwrap();
        let (store, remembered) = Store::open(directory.path(), WEEK, NOW);
        assert!(store.is_err());
        assert_eq!(remembered.notes, [note(1, NOW - 1)]);
    }

    #[test]
    fn a_full_disk_is_counted_and_stops_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut lines = Lines {
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
            sender.send(note(client, NOW)).unwrap();
        }
        drop(sender);
        lines.write_all(&receiver, &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 3);
    }
}
