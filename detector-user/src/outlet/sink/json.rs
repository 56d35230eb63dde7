//! One JSON object a line.

use std::io::Write;

use super::{Sink, SinkError};
use crate::verdict::Verdict;

const NAME: &str = "json";

/// Writes each verdict as one line and flushes it, so that a reader sees it at once.
pub struct JsonLines<W> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write + Send> JsonLines<W> {
    /// Writes to `to`.
    pub const fn new(to: W) -> Self {
        Self {
            to,
            line: Vec::new(),
        }
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        // A line goes out in one piece: half an object would cost the reader the next one too.
        self.line.clear();
        serde_json::to_writer(&mut self.line, verdict).map_err(|error| SinkError::Write {
            output: NAME,
            source: error.into(),
        })?;
        self.line.push(b'\n');
        self.to
            .write_all(&self.line)
            .and_then(|()| self.to.flush())
            .map_err(|error| SinkError::on_stream(NAME, error))
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.to
            .flush()
            .map_err(|error| SinkError::on_stream(NAME, error))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead, BufReader};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::verdict::tests::{EXAMPLE, injected_reset, pinning};

    #[test]
    fn one_object_a_line() {
        let mut out = Vec::new();
        let mut sink = JsonLines::new(&mut out);
        sink.verdict(&pinning()).unwrap();
        sink.verdict(&injected_reset()).unwrap();
        let lines: Vec<_> = out.lines().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], EXAMPLE);
        assert_eq!(
            serde_json::from_str::<Verdict>(&lines[1]).unwrap(),
            injected_reset()
        );
    }

    #[test]
    fn a_reader_sees_each_line_at_once() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut sink = JsonLines::new(io::BufWriter::new(ours));
        sink.verdict(&pinning()).unwrap();
        let mut line = String::new();
        BufReader::new(theirs).read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), EXAMPLE);
    }

    #[test]
    fn a_reader_that_left_is_an_end_not_a_failure() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let error = JsonLines::new(ours).verdict(&pinning()).unwrap_err();
        assert!(
            matches!(error, SinkError::Closed { output: "json" }),
            "{error}"
        );
        assert!(error.is_final());
    }

    #[test]
    fn a_full_disk_is_a_failure() {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let error = JsonLines::new(full).verdict(&pinning()).unwrap_err();
        assert_eq!(error.kind(), "write");
        assert!(!error.is_final());
        assert!(
            error
                .to_string()
                .starts_with("cannot write the json output: "),
            "{error}"
        );
    }
}
