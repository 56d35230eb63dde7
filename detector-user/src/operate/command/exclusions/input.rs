//! Verdicts in files: JSON lines, JSON arrays and indented JSON, also compressed and with a byte order mark.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::outlet::exclusions::Sighting;
use crate::source::capture::decompressed;

/// Longest line that is read, bytes: a verdict has some hundreds.
const LINE_MAX: u64 = 1 << 20;
/// Bytes from which the form of a file is known.
const HEAD: u64 = 512;
/// Maximum messages about a file's verdicts that cannot be read; the others are counted.
const MISTAKES_MAX: u64 = 5;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The content of an input.
pub(super) enum Input {
    /// One verdict or journal entry on each line.
    Lines(Box<dyn BufRead>),
    /// Arrays of verdicts or journal entries, or such over several lines each.
    Json(Box<dyn BufRead>),
    /// No verdicts: a capture, for all that is known.
    Other,
}

impl Input {
    /// Opens a file, or standard input for `-`, which is never a capture.
    ///
    /// # Errors
    /// If it cannot be read or decompressed, or is UTF-16, as PowerShell writes it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let is_stream = path.as_os_str() == "-";
        let mut bytes = if is_stream {
            decompressed(io::stdin())?
        } else {
            decompressed(File::open(path)?)?
        };
        let mut head = Vec::new();
        match bytes.by_ref().take(HEAD).read_to_end(&mut head) {
            // The reader of captures says what of a damaged one is lost.
            Err(_) if !is_stream && !is_json(&head) => return Ok(Self::Other),
            result => result?,
        };
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is UTF-16; convert it: iconv -f UTF-16 -t UTF-8",
            ));
        }
        if head.starts_with(BYTE_ORDER_MARK) {
            head.drain(..BYTE_ORDER_MARK.len());
        }
        let text = head.trim_ascii_start();
        let is_indented = |rest: &[u8]| {
            let end = rest.iter().position(|byte| *byte == b'\n');
            end.is_some_and(|end| rest[..end].trim_ascii().is_empty())
        };
        let is_array = text.starts_with(b"[") || text.strip_prefix(b"{").is_some_and(is_indented);
        let is_lines = is_stream || is_json(&head);
        let whole = Box::new(BufReader::new(Cursor::new(head).chain(bytes)));
        Ok(if is_array {
            Self::Json(whole)
        } else if is_lines {
            Self::Lines(whole)
        } else {
            Self::Other
        })
    }

    /// Passes on all sightings, and names what is no verdict on standard error. Returns whether all were
    /// read.
    pub(super) fn read(self, path: &Path, mut record: impl FnMut(Sighting)) -> bool {
        let mut mistakes = Mistakes { path, count: 0 };
        let read = match self {
            Self::Lines(lines) => read_lines(lines, &mut record, &mut mistakes),
            Self::Json(json) => read_json(json, &mut record, &mut mistakes),
            Self::Other => Ok(()),
        };
        if let Err(error) = &read {
            complain!("tlswhy: {}: {error}", super::reading(path));
        }
        mistakes.finish() && read.is_ok()
    }
}

fn is_json(head: &[u8]) -> bool {
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    matches!(head.trim_ascii_start().first(), None | Some(b'{' | b'['))
}

/// Places of a file that are no verdicts.
struct Mistakes<'p> {
    path: &'p Path,
    count: u64,
}

impl Mistakes<'_> {
    fn record(&mut self, place: impl fmt::Display, error: impl fmt::Display) {
        self.count += 1;
        if self.count <= MISTAKES_MAX {
            complain!("tlswhy: {}{place}: {error}", self.path.display());
        }
    }

    /// Returns whether there were none.
    fn finish(self) -> bool {
        let path = self.path.display();
        match self.count.checked_sub(MISTAKES_MAX) {
            Some(more) if more > 0 => complain!("tlswhy: {path}: {more} more are no verdicts"),
            _ => {}
        }
        self.count == 0
    }
}

fn read_lines(
    mut lines: Box<dyn BufRead>,
    record: &mut impl FnMut(Sighting),
    mistakes: &mut Mistakes<'_>,
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let mut limited = (&mut lines).take(LINE_MAX);
        if limited.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        match Sighting::parse(text.trim()) {
            Ok(sighting) => sighting.into_iter().for_each(&mut *record),
            Err(error) => mistakes.record(format_args!(":{number}"), error),
        }
    }
    Ok(())
}

fn read_json(
    json: Box<dyn BufRead>,
    record: &mut impl FnMut(Sighting),
    mistakes: &mut Mistakes<'_>,
) -> io::Result<()> {
    let mut number = 0_u64;
    let mut json = serde_json::Deserializer::from_reader(json);
    while json.end().is_err() {
        let each = Each(|value: Value| {
            number += 1;
            match Sighting::parse(&value.to_string()) {
                Ok(sighting) => sighting.into_iter().for_each(&mut *record),
                Err(error) => mistakes.record(format_args!(": element {number}"), error),
            }
        });
        each.deserialize(&mut json)?;
    }
    Ok(())
}

/// Calls a function with each object of a value: of an array as they are read, so that it may be of any size.
struct Each<F>(F);

impl<'de, F: FnMut(Value)> DeserializeSeed<'de> for Each<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Value)> Visitor<'de> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a verdict or an array of verdicts")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        while let Some(value) = array.next_element()? {
            (self.0)(value);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        (self.0)(Value::deserialize(MapAccessDeserializer::new(map))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use rstest::rstest;

    use super::*;
    use crate::verdict::tests::EXAMPLE;

    /// Returns the number of sightings, and whether all was read.
    fn read(bytes: &[u8]) -> (usize, bool) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut sightings = 0;
        let input = Input::open(file.path()).unwrap();
        assert!(!matches!(input, Input::Other));
        let is_whole = input.read(file.path(), |_| sightings += 1);
        (sightings, is_whole)
    }

    fn indented() -> String {
        let value: Value = serde_json::from_str(EXAMPLE).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    }

    #[rstest]
    #[case::lines(format!("{EXAMPLE}\n\n{EXAMPLE}\r\n"), (2, true))]
    #[case::byte_order_mark(format!("\u{feff}{EXAMPLE}\n"), (1, true))]
    #[case::array(format!("\u{feff} [{EXAMPLE},\n{EXAMPLE}]\n"), (2, true))]
    #[case::two_arrays(format!("[{EXAMPLE}][{EXAMPLE}]"), (2, true))]
    #[case::indented(format!("{}\n{}\n", indented(), indented()), (2, true))]
    #[case::empty_array("[]".to_owned(), (0, true))]
    #[case::nothing(String::new(), (0, true))]
    #[case::a_line_that_is_none(format!("{EXAMPLE}\n{{}}\n{EXAMPLE}"), (2, false))]
    #[case::an_element_that_is_none(format!("[{EXAMPLE},3,{EXAMPLE}]"), (2, false))]
    #[case::cut_array(format!("[{EXAMPLE},{EXAMPLE}"), (2, false))]
    #[case::cut_object(format!("{}\n{{\n\"time\":", indented()), (1, false))]
    fn verdicts_are_read_in_any_form(#[case] text: String, #[case] expected: (usize, bool)) {
        assert_eq!(read(text.as_bytes()), expected);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        assert_eq!(read(&gzip.finish().unwrap()), expected);
        assert_eq!(
            read(&zstd::encode_all(text.as_bytes(), 0).unwrap()),
            expected
        );
    }

    #[test]
    fn a_damaged_file_is_not_whole() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
        gzip.write_all(format!("{EXAMPLE}\n").repeat(100).as_bytes())
            .unwrap();
        let bytes = gzip.finish().unwrap();
        let (sightings, is_whole) = read(&bytes[..bytes.len() / 2]);
        assert!(sightings > 10 && !is_whole);
    }

    #[rstest]
    #[case::utf16(b"\xff\xfe{\0}\0", true)]
    #[case::capture(b"\xd4\xc3\xb2\xa1\x02\0\x04\0", false)]
    fn other_files_are_no_verdicts(#[case] bytes: &[u8], #[case] is_error: bool) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let input = Input::open(file.path());
        assert_eq!(input.is_err(), is_error);
        assert!(input.is_err() || matches!(input, Ok(Input::Other)));
    }
}
