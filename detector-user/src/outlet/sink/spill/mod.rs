//! Verdicts that wait on disk while journald is away or behind: a file of JSON lines, oldest first.
//!
//! The first line holds where the oldest verdict that was not taken begins. It is written over in
//! place with each one taken, so that a process that is killed leaves the file as it stands.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::verdict::Verdict;

const BEFORE_POSITION: &str = "{\"tlswhy_spilled_verdicts\":2,\"position\":\"";
/// Wide enough for any position, so that the line never changes its length.
const DIGITS: usize = 20;
const AFTER_POSITION: &str = "\"}\n";
const HEADER: u64 = (BEFORE_POSITION.len() + DIGITS + AFTER_POSITION.len()) as u64;
/// The file is copied without what was taken once that is such a part of what it may hold: each
/// byte given back costs a few bytes copied, and hardly any room stays unused.
const COMPACT_PART: u64 = 8;

pub(super) struct Spill {
    path: PathBuf,
    largest: u64,
    file: File,
    /// Bytes in the file.
    length: u64,
    reader: BufReader<File>,
    /// Where the next verdict to be taken begins.
    position: u64,
    /// The next verdict, read already, and how long its line is.
    next: Option<(Verdict, u64)>,
    damaged: u64,
}

impl Spill {
    /// Opens or makes the file at `path`, which holds at most `largest` bytes. A file of another
    /// version is set aside; the warning says so.
    pub(super) fn open(path: &Path, largest: u64) -> io::Result<(Self, Option<String>)> {
        let warning = set_aside_if_foreign(path)?;
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

    /// Goes on where the file was left.
    fn resume(&mut self) -> io::Result<()> {
        let mut last = [0];
        self.file.read_exact_at(&mut last, self.length - 1)?;
        if last != *b"\n" {
            // What was torn is one damaged line, and not the beginning of another.
            self.file.write_all_at(b"\n", self.length)?;
            self.length += 1;
        }
        let mut header = [0; HEADER as usize];
        self.file.read_exact_at(&mut header, 0)?;
        self.position = position_in(&header).unwrap_or(HEADER).max(HEADER);
        self.reader.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }

    /// Adds a verdict behind the others; `false` if there is no room for it.
    pub(super) fn push(&mut self, verdict: &Verdict) -> io::Result<bool> {
        let mut line = serde_json::to_vec(verdict)?;
        line.push(b'\n');
        let more = line.len() as u64;
        if self.length + more > self.largest && self.taken() * COMPACT_PART >= self.largest {
            self.compact()?;
        }
        if self.length + more > self.largest {
            return Ok(false);
        }
        if self.bytes() == 0 {
            self.write_position()?;
        }
        if let Err(error) = self.file.write_all_at(&line, self.length) {
            // Half a line would be taken for damage.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += more;
        Ok(true)
    }

    /// The oldest verdict that was not taken; `None` if there is none.
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

    /// Takes the verdict that [`first`](Self::first) gave, for good: whoever opens the file later
    /// does not see it either, unless this fails.
    pub(super) fn take(&mut self) -> io::Result<()> {
        self.next.take().map_or(Ok(()), |(_, read)| self.pass(read))
    }

    /// Lines that could not be read, since this was asked last.
    pub(super) fn take_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.damaged)
    }

    /// Bytes of verdicts that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.length.saturating_sub(self.position)
    }

    fn taken(&self) -> u64 {
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

    /// Everything was taken: the file begins anew. Its first line is written with the next verdict; a
    /// position beyond the end says until then that nothing waits.
    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(HEADER.min(self.length))?;
        (self.length, self.position) = (HEADER, HEADER);
        self.reader.seek(SeekFrom::Start(HEADER))?;
        Ok(())
    }

    /// Makes room by leaving out what was taken.
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

    /// Puts a copy without what was taken in the file's place.
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

    /// From here on reading fails, as from a disk that is broken.
    #[cfg(test)]
    pub(super) fn break_reader(&mut self) {
        self.reader = BufReader::new(File::open("/").unwrap());
    }
}

fn header(position: u64) -> String {
    format!("{BEFORE_POSITION}{position:0DIGITS$}{AFTER_POSITION}")
}

/// The position in a file's first line; `None` if that is not ours.
fn position_in(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(BEFORE_POSITION.as_bytes())?;
    let digits = digits.strip_suffix(AFTER_POSITION.as_bytes())?;
    let digits = std::str::from_utf8(digits).ok()?;
    (digits.len() == DIGITS).then(|| digits.parse().ok())?
}

fn set_aside_if_foreign(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut first = Vec::new();
    (&mut reader).take(HEADER).read_to_end(&mut first)?;
    if first.is_empty() || position_in(&first).is_some() {
        return Ok(None);
    }
    let lines = lines(&first) + count_lines(reader)?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(".unreadable");
    fs::rename(path, &aside)?;
    Ok(Some(format!(
        "{} is damaged or of another version: set aside as {}, with {lines} lines",
        path.display(),
        Path::new(&aside).display()
    )))
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn count_lines(mut reader: impl BufRead) -> io::Result<usize> {
    let mut number = 0;
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(number);
        }
        number += lines(bytes);
        let read = bytes.len();
        reader.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::pinning;

    fn numbered(number: u16) -> Verdict {
        let mut verdict = pinning();
        verdict.client.port = number;
        verdict
    }

    fn open(path: &Path, largest: u64) -> Spill {
        let (spill, warning) = Spill::open(path, largest).unwrap();
        assert_eq!(warning, None);
        spill
    }

    fn some(spill: &mut Spill, number: usize) -> Vec<u16> {
        let mut ports = Vec::new();
        while ports.len() < number
            && let Some(verdict) = spill.first().unwrap()
        {
            ports.push(verdict.client.port);
            spill.take().unwrap();
        }
        ports
    }

    fn all(spill: &mut Spill) -> Vec<u16> {
        some(spill, usize::MAX)
    }

    fn size(path: &Path) -> u64 {
        fs::metadata(path).unwrap().len()
    }

    fn fill(spill: &mut Spill, numbers: impl IntoIterator<Item = u16>) -> Vec<u16> {
        let fits = |number: &u16| spill.push(&numbered(*number)).unwrap();
        numbers.into_iter().take_while(fits).collect()
    }

    #[test]
    fn what_was_put_comes_out_in_order_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        let mut spill = open(&path, 1 << 20);
        fill(&mut spill, 1..=5);
        assert_eq!(some(&mut spill, 1), [1]);
        fill(&mut spill, [6]);
        // Dropped as a process that is killed would.
        drop(spill);
        let mut spill = open(&path, 1 << 20);
        assert_eq!(some(&mut spill, 2), [2, 3]);
        assert_eq!(spill.first().unwrap().unwrap().client.port, 4);
        drop(spill);
        let mut spill = open(&path, 1 << 20);
        assert_eq!(all(&mut spill), [4, 5, 6], "seen, but not taken");
        assert_eq!(spill.bytes(), 0);
        fill(&mut spill, [7]);
        assert_eq!(all(&mut spill), [7]);
        assert!(spill.first().unwrap().is_none());
    }

    #[test]
    fn the_file_is_empty_as_soon_as_all_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        let mut spill = open(&path, 1 << 20);
        fill(&mut spill, 1..=5);
        assert_eq!(all(&mut spill).len(), 5);
        assert_eq!(size(&path), HEADER);
        drop(spill);
        assert!(all(&mut open(&path, 1 << 20)).is_empty());
    }

    /// Killed after the file was cut and before its first line said so.
    #[test]
    fn a_position_beyond_the_end_means_that_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        fs::write(&path, header(9999)).unwrap();
        let mut spill = open(&path, 1 << 20);
        assert_eq!(spill.bytes(), 0);
        fill(&mut spill, [1]);
        drop(spill);
        assert_eq!(all(&mut open(&path, 1 << 20)), [1]);
    }

    #[test]
    fn what_was_taken_makes_room_while_others_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        let mut spill = open(&path, 20_000);
        let mut waiting = fill(&mut spill, 0..1000);
        let mut next = waiting.len() as u16;
        assert!(next > 10, "{next} fit");
        for _ in 0..20 {
            let half = waiting.len() / 2;
            assert_eq!(some(&mut spill, half), waiting[..half]);
            // One was read already when the others move.
            spill.first().unwrap();
            let more = fill(&mut spill, next..next + half as u16);
            assert_eq!(more.len(), half, "as many as were taken");
            assert!(size(&path) <= 20_000);
            next += half as u16;
            waiting = [&waiting[half..], &more].concat();
        }
        drop(spill);
        assert_eq!(all(&mut open(&path, 20_000)), waiting);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        fill(&mut open(&path, 1 << 20), 1..=2);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
        let mut spill = open(&path, 1 << 20);
        fill(&mut spill, [3]);
        assert_eq!(all(&mut spill), [1, 3]);
        assert_eq!((spill.take_damaged(), spill.take_damaged()), (1, 0));
    }

    #[test]
    fn a_foreign_file_is_set_aside_with_its_number_of_lines() {
        let version_1 = b"{\"tlswhy_spilled_verdicts\":1}\n{}\n{}\n".to_vec();
        let version_9 = header(HEADER).replace(":2,", ":9,").into_bytes();
        let no_text = [&[0xff; 200][..], b"\n"].concat();
        let no_number = header(HEADER).replace("0000", "zero").into_bytes();
        for (bytes, lines) in [(version_1, 3), (version_9, 1), (no_text, 1), (no_number, 1)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("spilled");
            fs::write(&path, &bytes).unwrap();
            let (mut spill, warning) = Spill::open(&path, 1 << 20).unwrap();
            let warning = warning.unwrap();
            let words = format!("set aside as {}.unreadable, with {lines} ", path.display());
            assert!(warning.contains(&words), "{warning}");
            assert_eq!(fs::read(path.with_extension("unreadable")).unwrap(), bytes);
            fill(&mut spill, [1]);
            assert_eq!(all(&mut spill), [1]);
        }
    }

    #[test]
    fn a_full_one_takes_no_more_until_something_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        let mut spill = open(&path, 2000);
        let taken = fill(&mut spill, 0..1000);
        assert!(!taken.is_empty() && size(&path) <= 2000);
        for _ in 0..3 {
            assert!(!spill.push(&numbered(1)).unwrap());
            assert_eq!(all(&mut spill).len(), taken.len());
            assert_eq!(fill(&mut spill, 0..1000).len(), taken.len());
        }
    }

    #[test]
    fn a_file_that_is_cut_behind_our_back_is_an_error_and_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        let mut spill = open(&path, 1 << 20);
        fill(&mut spill, 1..=2);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        assert!(spill.first().is_err());
    }
}
