//! Verdicts spilled to disk while journald is unavailable or slow: a file of JSON lines, oldest first.
//!
//! The first line has the position of the oldest verdict that was not removed. It is overwritten in
//! place with each removal, so that a process that is killed leaves the file consistent.

mod header;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::verdict::Verdict;
use header::{HEADER, header, position_in, rename_if_foreign};

/// The file is compacted once removed verdicts are this part of its maximum size: each byte that is
/// freed costs a few bytes copied, and hardly any room stays unused.
const COMPACT_PART: u64 = 8;

pub(super) struct Spill {
    path: PathBuf,
    largest: u64,
    file: File,
    /// Bytes in the file.
    length: u64,
    reader: BufReader<File>,
    /// Position of the oldest verdict.
    position: u64,
    /// The oldest verdict, if it was read, and the length of its line.
    next: Option<(Verdict, u64)>,
    damaged: u64,
}

impl Spill {
    /// Opens or creates the file at `path`, which holds at most `largest` bytes. A file of another
    /// version is renamed, with a warning.
    pub(super) fn open(path: &Path, largest: u64) -> io::Result<(Self, Option<String>)> {
        let warning = rename_if_foreign(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(path)?;
        let mut spill = Self {
            path: path.to_owned(),
            largest,
            length: file.metadata()?.len(),
            reader: BufReader::new(File::open(path)?),
            file,
            position: HEADER,
            next: None,
            damaged: 0,
        };
        if spill.length > 0 {
            spill.resume()?;
        }
        if spill.bytes() == 0 {
            spill.clear()?;
        }
        Ok((spill, warning))
    }

    /// Continues the file where it was left.
    fn resume(&mut self) -> io::Result<()> {
        let mut last = [0];
        self.file.read_exact_at(&mut last, self.length - 1)?;
        if last != *b"\n" {
            // A torn line is one damaged line, and not the beginning of another.
            self.file.write_all_at(b"\n", self.length)?;
            self.length += 1;
        }
        let mut header = [0; HEADER as usize];
        self.file.read_exact_at(&mut header, 0)?;
        self.position = position_in(&header).unwrap_or(HEADER).max(HEADER);
        self.reader.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }

    /// Appends a verdict. Returns `false` if there is no room for it.
    pub(super) fn push(&mut self, verdict: &Verdict) -> io::Result<bool> {
        let mut line = serde_json::to_vec(verdict)?;
        line.push(b'\n');
        let more = line.len() as u64;
        if self.length + more > self.largest && self.removed() * COMPACT_PART >= self.largest {
            self.compact()?;
        }
        if self.length + more > self.largest {
            return Ok(false);
        }
        if self.bytes() == 0 {
            self.write_position()?;
        }
        if let Err(error) = self.file.write_all_at(&line, self.length) {
            // Half a line would be read as damage.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += more;
        Ok(true)
    }

    /// Returns the oldest verdict; `None` if there is none.
    pub(super) fn first(&mut self) -> io::Result<Option<&Verdict>> {
        while self.next.is_none() && self.bytes() > 0 {
            let mut line = Vec::new();
            let read = self.reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match serde_json::from_slice(&line) {
                Ok(verdict) => self.next = Some((verdict, read)),
                Err(_) => {
                    self.damaged += 1;
                    self.pass(read)?;
                }
            }
        }
        Ok(self.next.as_ref().map(|(verdict, _)| verdict))
    }

    /// Removes the verdict that [`first`](Self::first) returned, also for a later process unless this
    /// fails.
    pub(super) fn remove_first(&mut self) -> io::Result<()> {
        self.next.take().map_or(Ok(()), |(_, read)| self.pass(read))
    }

    /// Returns, and resets, the number of damaged lines.
    pub(super) fn take_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.damaged)
    }

    /// Returns the size of the verdicts in it, bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.length.saturating_sub(self.position)
    }

    fn removed(&self) -> u64 {
        self.position - HEADER
    }

    fn pass(&mut self, read: u64) -> io::Result<()> {
        self.position += read;
        if self.bytes() == 0 {
            return self.clear();
        }
        self.write_position()
    }

    fn write_position(&self) -> io::Result<()> {
        self.file.write_all_at(header(self.position).as_bytes(), 0)
    }

    /// Empties the file after the last removal. Its first line is written with the next verdict; until
    /// then a position beyond the end marks it as empty.
    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(HEADER.min(self.length))?;
        (self.length, self.position) = (HEADER, HEADER);
        self.reader.seek(SeekFrom::Start(HEADER))?;
        Ok(())
    }

    /// Makes room by leaving out removed verdicts.
    fn compact(&mut self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let copied = self.copy_to(&new);
        if copied.is_err() {
            let _ = fs::remove_file(&new);
        }
        (self.file, self.reader) = copied?;
        self.length = HEADER + self.bytes();
        self.position = HEADER;
        let read_already = self.next.as_ref().map_or(0, |(_, read)| *read);
        self.reader.seek(SeekFrom::Start(HEADER + read_already))?;
        Ok(())
    }

    /// Replaces the file by a copy without removed verdicts.
    fn copy_to(&self, new: &Path) -> io::Result<(File, BufReader<File>)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let mut copy = options.mode(0o600).open(new)?;
        copy.write_all(header(HEADER).as_bytes())?;
        let mut from = &self.file;
        from.seek(SeekFrom::Start(self.position))?;
        io::copy(&mut from, &mut copy)?;
        let reader = BufReader::new(File::open(new)?);
        fs::rename(new, &self.path)?;
        Ok((copy, reader))
    }

    /// Makes reading fail, as on a broken disk.
    #[cfg(test)]
    pub(super) fn break_reader(&mut self) {
        self.reader = BufReader::new(File::open("/").unwrap());
    }
}

#[cfg(test)]
mod tests;
