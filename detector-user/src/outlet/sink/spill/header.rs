//! The first line of a spill file: its version, and where the oldest verdict begins.

use crate::verdict::counted;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

const BEFORE_POSITION: &str = "{\"tlswhy_spilled_verdicts\":2,\"position\":\"";
/// Wide enough for any position, so that the line never changes its length.
const DIGITS: usize = 20;
const AFTER_POSITION: &str = "\"}\n";
/// Bytes of the line.
pub(super) const HEADER: u64 = (BEFORE_POSITION.len() + DIGITS + AFTER_POSITION.len()) as u64;
/// Writes the line for a position.
pub(super) fn header(position: u64) -> String {
    format!("{BEFORE_POSITION}{position:0DIGITS$}{AFTER_POSITION}")
}

/// Returns the position in a file's first line; `None` if it is of another version.
pub(super) fn position_in(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(BEFORE_POSITION.as_bytes())?;
    let digits = digits.strip_suffix(AFTER_POSITION.as_bytes())?;
    let digits = std::str::from_utf8(digits).ok()?;
    (digits.len() == DIGITS).then(|| digits.parse().ok())?
}

/// Renames a file of another version. Returns a warning if it did.
pub(super) fn rename_if_foreign(path: &Path) -> io::Result<Option<String>> {
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
        "{} is damaged or of another version; renamed to {} ({})",
        path.display(),
        Path::new(&aside).display(),
        counted(lines, "line", "lines")
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
