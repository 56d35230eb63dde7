//! JSON, one object per line: the verdict, or an event of EVE with it.

use std::io::Write;

use serde::Serialize;

use super::eve::Event;
use super::fold::Repeats;
use super::folding::WriteRepeats;
use super::{Sink, SinkError, stream};
use crate::verdict::Verdict;
use crate::verdict::named::named;

named! {
    /// The shape of a line.
    pub enum JsonShape {
        /// The verdict.
        Json = "json",
        /// An event of Suricata's EVE, with the verdict in it.
        Eve = "eve",
    }
}

impl JsonShape {
    /// Returns the shape of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Replaces `line` by a verdict and a newline; `whole` is the verdict, or more than it.
    ///
    /// # Errors
    /// [`SinkError::Write`] for the sink called `output`.
    pub(super) fn encode(
        self,
        line: &mut Vec<u8>,
        verdict: &Verdict,
        whole: &impl Serialize,
        output: &'static str,
    ) -> Result<(), SinkError> {
        match self {
            Self::Json => encode(line, whole, output),
            Self::Eve => encode(line, &Event::new(verdict, whole), output),
        }
    }
}

/// Writes each verdict as one line and flushes it, so that a reader sees it at once.
pub struct JsonLines<W> {
    to: W,
    shape: JsonShape,
    line: Vec<u8>,
}

impl<W: Write + Send> JsonLines<W> {
    /// Writes verdicts to `to`.
    pub const fn new(to: W) -> Self {
        Self::in_shape(to, JsonShape::Json)
    }

    /// Writes lines of a shape to `to`.
    pub const fn in_shape(to: W, shape: JsonShape) -> Self {
        Self {
            to,
            shape,
            line: Vec::new(),
        }
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {
    fn name(&self) -> &'static str {
        self.shape.name()
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        // A line goes out in one piece: half an object would cost the reader the next one too.
        let name = self.shape.name();
        self.shape.encode(&mut self.line, verdict, verdict, name)?;
        stream::write(&mut self.to, &self.line, name)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        stream::flush(&mut self.to, self.shape.name())
    }
}

/// The last of a verdict's repeats, and their number.
#[derive(Serialize)]
struct Repeated<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    repeats: u64,
    first_time: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    also_supersedes: &'a [String],
}

impl<W: Write + Send> WriteRepeats for JsonLines<W> {
    fn write_repeats(&mut self, repeats: &Repeats) -> Result<(), SinkError> {
        let repeated = Repeated {
            verdict: &repeats.verdict,
            repeats: repeats.count,
            first_time: format!("{:.9}", repeats.first),
            also_supersedes: &repeats.superseded,
        };
        let name = self.shape.name();
        let verdict = &repeats.verdict;
        self.shape
            .encode(&mut self.line, verdict, &repeated, name)?;
        stream::write(&mut self.to, &self.line, name)
    }
}

fn encode(
    line: &mut Vec<u8>,
    object: &impl Serialize,
    output: &'static str,
) -> Result<(), SinkError> {
    line.clear();
    serde_json::to_writer(&mut *line, object).map_err(|error| SinkError::Write {
        output,
        source: error.into(),
    })?;
    line.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod schema;
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
        sink.write(&pinning()).unwrap();
        sink.write(&injected_reset()).unwrap();
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
        sink.write(&pinning()).unwrap();
        let mut line = String::new();
        BufReader::new(theirs).read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), EXAMPLE);
    }

    #[test]
    fn a_reader_that_left_is_an_end_not_a_failure() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let error = JsonLines::new(ours).write(&pinning()).unwrap_err();
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
        let error = JsonLines::new(full).write(&pinning()).unwrap_err();
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
