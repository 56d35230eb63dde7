//! Verdicts that wait on disk while journald is away: a file of JSON lines, oldest first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::verdict::Verdict;

const HEADER: &str = "{\"tlswhy_spilled_verdicts\":1}\n";

pub(super) struct Spill {
    path: PathBuf,
    largest: u64,
    file: File,
    /// Bytes in the file.
    length: u64,
    reader: BufReader<File>,
    /// Where the next verdict to be taken begins.
    position: u64,
    /// The next verdict, read already, and where the one after it begins.
    next: Option<(Verdict, u64)>,
    damaged: u64,
}

impl Spill {
    /// Opens or makes the file at `path`, which holds at most `largest` bytes. A file of another
    /// version is set aside; the warning says so.
    pub(super) fn open(path: &Path, largest: u64) -> io::Result<(Self, Option<String>)> {
        let warning = set_aside_if_foreign(path)?;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(path)?;
        let length = file.metadata()?.len();
        if length == 0 {
            file.write_all(HEADER.as_bytes())?;
        } else if !ends_with_newline(&file)? {
            // What was torn is one damaged line, and not the beginning of another.
            file.write_all(b"\n")?;
        }
        let mut reader = BufReader::new(File::open(path)?);
        let position = HEADER.len() as u64;
        reader.seek(SeekFrom::Start(position))?;
        let spill = Self {
            path: path.to_owned(),
            largest,
            length: file.metadata()?.len(),
            file,
            reader,
            position,
            next: None,
            damaged: 0,
        };
        Ok((spill, warning))
    }

    /// Adds a verdict behind the others; `false` if there is no room for it.
    pub(super) fn push(&mut self, verdict: &Verdict) -> io::Result<bool> {
        let mut line = serde_json::to_vec(verdict)?;
        line.push(b'\n');
        if self.length + line.len() as u64 > self.largest {
            return Ok(false);
        }
        if let Err(error) = self.file.write_all(&line) {
            // Half a line would be taken for damage.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(true)
    }

    /// The oldest verdict that was not taken; `None` if there is none.
    pub(super) fn first(&mut self) -> io::Result<Option<&Verdict>> {
        while self.next.is_none() && self.position < self.length {
            let mut line = Vec::new();
            let read = self.reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(verdict) => self.next = Some((verdict, self.position + read)),
                Err(_) => {
                    self.position += read;
                    self.damaged += 1;
                }
            }
        }
        if self.next.is_none() {
            self.clear()?;
        }
        Ok(self.next.as_ref().map(|(verdict, _)| verdict))
    }

    /// Takes the verdict that [`first`](Self::first) gave.
    pub(super) fn take(&mut self) {
        if let Some((_, after)) = self.next.take() {
            self.position = after;
        }
    }

    /// Lines that could not be read, since this was asked last.
    pub(super) fn take_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.damaged)
    }

    /// Bytes of verdicts that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.length.saturating_sub(self.position)
    }

    /// Everything was taken: the file begins anew.
    fn clear(&mut self) -> io::Result<()> {
        let header = HEADER.len() as u64;
        if self.length > header {
            self.file.set_len(header)?;
            self.length = header;
            self.position = header;
            self.reader.seek(SeekFrom::Start(header))?;
        }
        Ok(())
    }

    /// Leaves in the file what was not taken.
    pub(super) fn close(mut self) -> io::Result<()> {
        if self.bytes() == 0 || self.position <= HEADER.len() as u64 {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        let mut rest = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        rest.write_all(HEADER.as_bytes())?;
        self.reader.seek(SeekFrom::Start(self.position))?;
        io::copy(&mut self.reader, &mut rest)?;
        fs::rename(&new, &self.path)
    }
}

fn set_aside_if_foreign(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut first = String::new();
    // Not text, or not ours: both are foreign.
    let _ = BufReader::new(file).read_line(&mut first);
    if first == HEADER || first.is_empty() {
        return Ok(None);
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".unreadable");
    fs::rename(path, &aside)?;
    Ok(Some(format!(
        "{} is damaged or of another version: set aside as {}",
        path.display(),
        Path::new(&aside).display()
    )))
}

fn ends_with_newline(mut file: &File) -> io::Result<bool> {
    use std::io::Read;
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
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

    fn all(spill: &mut Spill) -> Vec<u16> {
        let mut ports = Vec::new();
        while let Some(verdict) = spill.first().unwrap() {
            ports.push(verdict.client.port);
            spill.take();
        }
        ports
    }

    #[test]
    fn what_was_put_comes_out_in_order_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        let (mut spill, warning) = Spill::open(&path, 1 << 20).unwrap();
        assert_eq!(warning, None);
        for number in 1..=5 {
            assert!(spill.push(&numbered(number)).unwrap());
        }
        assert_eq!(spill.first().unwrap().unwrap().client.port, 1);
        spill.take();
        spill.push(&numbered(6)).unwrap();
        spill.close().unwrap();
        let (mut spill, _) = Spill::open(&path, 1 << 20).unwrap();
        assert_eq!(all(&mut spill), [2, 3, 4, 5, 6]);
        assert_eq!(spill.bytes(), 0);
        spill.push(&numbered(7)).unwrap();
        assert_eq!(all(&mut spill), [7]);
        assert!(spill.first().unwrap().is_none());
        assert_eq!(fs::metadata(&path).unwrap().len(), HEADER.len() as u64);
    }

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        let (mut spill, _) = Spill::open(&path, 1 << 20).unwrap();
        spill.push(&numbered(1)).unwrap();
        spill.push(&numbered(2)).unwrap();
        drop(spill);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
        let (mut spill, _) = Spill::open(&path, 1 << 20).unwrap();
        spill.push(&numbered(3)).unwrap();
        assert_eq!(all(&mut spill), [1, 3]);
        assert_eq!((spill.take_damaged(), spill.take_damaged()), (1, 0));
    }

    #[test]
    fn another_versions_file_is_set_aside_and_a_full_one_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        fs::write(&path, "{\"tlswhy_spilled_verdicts\":9}\n\u{0}").unwrap();
        let (mut spill, warning) = Spill::open(&path, 2000).unwrap();
        assert!(warning.unwrap().contains("set aside as"));
        let mut taken = 0;
        while spill.push(&numbered(taken)).unwrap() {
            taken += 1;
        }
        assert!(taken > 0 && fs::metadata(&path).unwrap().len() <= 2000);
        assert_eq!(all(&mut spill).len(), usize::from(taken));
        assert!(spill.push(&numbered(1)).unwrap(), "there is room again");
    }
}
