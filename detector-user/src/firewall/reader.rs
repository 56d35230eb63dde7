//! Reading a log line by line.

use std::io::{self, BufRead};

use super::pan_os::{Header, by_position};
use super::row::{Row, RowError};
use super::{aws, fortigate, ftd};

/// Longest line that is read, bytes.
const LINE_MAX: usize = 64 * 1024;

/// Reads a line as the row of a log that it shows itself to be of; `None` if it is none.
#[must_use]
pub fn read_row(text: &str, line: u64) -> Option<Result<Row, RowError>> {
    by_position(text, line)
        .or_else(|| fortigate::by_keys(text, line))
        .or_else(|| ftd::by_keys(text, line))
        .or_else(|| aws::by_keys(text, line))
}

/// Rows of a log. Each line is of the kind that it shows itself to be.
pub struct LogReader<R> {
    from: R,
    header: Option<Header>,
    line: u64,
    bytes: Vec<u8>,
}

/// A line that is no row.
#[derive(Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its number, from 1.
    pub line: u64,
    /// The reason.
    pub error: RowError,
}

impl<R: BufRead> LogReader<R> {
    /// Reads from `from`.
    pub const fn new(from: R) -> Self {
        Self {
            from,
            header: None,
            line: 0,
            bytes: Vec::new(),
        }
    }

    /// Returns the next row, or the next line that should be one; `None` at the end.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn next_row(&mut self) -> io::Result<Option<Result<Row, Unread>>> {
        while self.next_line()? {
            let text = String::from_utf8_lossy(&self.bytes);
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if let Some(header) = Header::parse(text) {
                self.header = Some(header);
                continue;
            }
            let line = self.line;
            let by_itself = || read_row(text, line);
            // Below a header columns are as that says, but for rows of another log behind the export.
            let row = match &self.header {
                Some(header) => header.row(text, line).or_else(|error| match by_itself() {
                    Some(Ok(row)) => Ok(row),
                    _ => Err(error),
                }),
                None => by_itself().unwrap_or(Err(RowError::Unknown)),
            };
            return Ok(Some(row.map_err(|error| Unread { line, error })));
        }
        Ok(None)
    }

    /// Reads a line; of one that is too long its beginning. Returns whether there was one.
    fn next_line(&mut self) -> io::Result<bool> {
        self.bytes.clear();
        let mut is_any = false;
        loop {
            let available = match self.from.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            if available.is_empty() {
                break;
            }
            is_any = true;
            let end = available.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(available.len(), |end| end + 1);
            let room = LINE_MAX.saturating_sub(self.bytes.len()).min(length);
            self.bytes
                .extend_from_slice(available.get(..room).unwrap_or_default());
            self.from.consume(length);
            if end.is_some() {
                break;
            }
        }
        self.line += u64::from(is_any);
        Ok(is_any)
    }
}
