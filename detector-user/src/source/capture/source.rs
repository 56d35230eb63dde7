//! Bytes of a capture: from a file or a pipe, decompressed where needed.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

/// Bytes of a compressed stream that a decompressor gets at once.
///
/// Where a stream is damaged, decompressors throw away their output for the last input. Small
/// helpings keep that loss small; larger ones are hardly faster.
const HELPING: usize = 512;

/// Enough of a file to know every signature by.
const SIGNATURE: usize = 8;

type Stream = Box<dyn Read + Send>;

/// A stream of capture bytes, and the compression to undo.
pub(super) struct Source {
    reader: Stream,
    compression: Option<Compression>,
}

/// A compression that is undone on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// Recognises a compression by the first bytes, never by the file's name.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // A zstd frame, or a skippable one before it (RFC 8878 sections 3.1.1 and 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl Source {
    /// Detects a compression by the first bytes of `reader`, and adds its decompressor.
    pub(super) fn new(mut reader: impl Read + Send + 'static) -> io::Result<Self> {
        let mut head = Vec::with_capacity(SIGNATURE);
        reader
            .by_ref()
            .take(SIGNATURE as u64)
            .read_to_end(&mut head)?;
        let compression = Compression::of(&head);
        let whole = Cursor::new(head).chain(reader);
        let reader: Stream = match compression {
            Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(Helpings::new(whole))),
            Some(Compression::Zstd) => Box::new(zstd::Decoder::with_buffer(Helpings::new(whole))?),
            None => Box::new(whole),
        };
        Ok(Self {
            reader,
            compression,
        })
    }

    /// Reads as [`Read::read`].
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.reader.read(room)
    }

    /// Returns the compression where `error` came from the decompressor and not from the system.
    pub(super) fn blames_compression(&self, error: &io::Error) -> Option<Compression> {
        let from_system = error
            .get_ref()
            .is_some_and(|inner| inner.is::<SystemError>());
        if from_system { None } else { self.compression }
    }
}

/// Returns the bytes of `reader`, decompressed if they are compressed with gzip or zstd.
///
/// # Errors
/// If its first bytes cannot be read.
pub fn decompressed(reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    Ok(Source::new(reader)?.reader)
}

/// Returns the likely format of a file that is not a capture, and how to convert it.
pub(super) fn describe_foreign(head: &[u8]) -> String {
    let (what, advice) = match head {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            ("an xz", "decompress it: xz -dc FILE | tlswhy pcap -")
        }
        [b'B', b'Z', b'h', ..] => ("a bzip2", "decompress it: bzip2 -dc FILE | tlswhy pcap -"),
        [0x04, 0x22, 0x4d, 0x18, ..] => ("an lz4", "decompress it: lz4 -dc FILE | tlswhy pcap -"),
        [b'P', b'K', 3, 4, ..] => ("a zip", "unpack it first"),
        [b'G', b'M', b'B', b'U', ..] | [b'R', b'T', b'S', b'S', ..] => {
            ("a Network Monitor", CONVERT)
        }
        _ => {
            let bytes: Vec<String> = head.iter().map(|byte| format!("{byte:02x}")).collect();
            return format!(
                "it begins with {}; known are pcap, pcapng, snoop and ERF, plain or compressed with gzip or zstd",
                bytes.join(" ")
            );
        }
    };
    format!("it is {what} file; {advice}")
}

const CONVERT: &str = "convert it: editcap -F pcapng FILE NEW";

/// A buffered reader that hands out little at a time and marks the system's own errors.
struct Helpings<R: Read> {
    inner: BufReader<R>,
}

impl<R: Read> Helpings<R> {
    fn new(inner: R) -> Self {
        Self {
            inner: BufReader::with_capacity(128 * 1024, inner),
        }
    }
}

impl<R: Read> BufRead for Helpings<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while let Err(error) = self.inner.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(io::Error::new(error.kind(), SystemError(error)));
            }
        }
        let buffered = self.inner.buffer();
        Ok(buffered.get(..HELPING).unwrap_or(buffered))
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

impl<R: Read> Read for Helpings<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(room)?;
        self.consume(read);
        Ok(read)
    }
}

/// An error of the operating system, on its way through a decompressor.
#[derive(Debug)]
struct SystemError(io::Error);

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SystemError {}
