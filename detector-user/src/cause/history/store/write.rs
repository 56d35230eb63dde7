//! Writing the history's file, in a thread of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::line::{Header, Line};

pub(super) const FILE: &str = "history.jsonl";
/// The file before this one, kept when this one has grown too large.
pub(super) const OLDER: &str = "history.jsonl.1";
/// From this size in bytes on another file is begun. Two of them hold some 200,000 facts.
const LARGEST: u64 = 16 << 20;
/// Idle time after which lines are flushed.
const IDLE: Duration = Duration::from_secs(1);

/// The history's file, and the one before it.
pub(super) struct Writer {
    pub(super) directory: PathBuf,
    pub(super) to: Option<BufWriter<File>>,
    /// Bytes of the file.
    pub(super) length: u64,
}

impl Writer {
    /// Creates a writer into `directory` that has no file yet.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            to: None,
            length: 0,
        }
    }

    /// Writes all lines to a new file in place of the old ones. A crash leaves the old ones or the
    /// new one, whole.
    pub(super) fn rewrite(&mut self, lines: &[Line]) -> io::Result<()> {
        let new = self.directory.join("history.jsonl.new");
        let (file, length) = begin(&new)?;
        (self.to, self.length) = (Some(file), length);
        for line in lines {
            self.write(line)?;
        }
        self.flush()?;
        fs::rename(&new, self.directory.join(FILE))?;
        match fs::remove_file(self.directory.join(OLDER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes lines until their sender is gone, and counts those that could not be written.
    pub(super) fn write_all(&mut self, lines: &Receiver<Line>, lost: &AtomicU64) {
        let mut is_flushed = false;
        loop {
            // With nothing left to flush there is nothing to wake up for.
            let received = if is_flushed {
                lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                lines.recv_timeout(IDLE)
            };
            let flushes = matches!(received, Err(RecvTimeoutError::Timeout));
            let written = match received {
                Ok(line) => self.append(&line),
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.flush();
                    return;
                }
            };
            is_flushed = flushes && written.is_ok();
            if written.is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes a line, to a new file if this one is large.
    fn append(&mut self, line: &Line) -> io::Result<()> {
        if self.length >= LARGEST {
            self.flush()?;
            fs::rename(self.directory.join(FILE), self.directory.join(OLDER))?;
            let (file, length) = begin(&self.directory.join(FILE))?;
            (self.to, self.length) = (Some(file), length);
        }
        self.write(line)
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.length += bytes.len() as u64;
        match &mut self.to {
            Some(file) => file.write_all(&bytes),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Creates a file with its first line; returns it with its length in bytes.
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
