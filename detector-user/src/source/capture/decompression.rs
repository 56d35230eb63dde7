//! Decompression of gzip and zstd. Damage loses nothing that was decompressed before it.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

/// Compressed bytes that are read at once.
const INPUT: usize = 128 * 1024;
/// Base-2 logarithm of gzip's largest window.
const WINDOW_BITS: u8 = 15;

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

    /// Returns a reader that undoes it.
    pub(super) fn decoder(self, compressed: impl Read + Send + 'static) -> io::Result<Decoder> {
        let codec: Box<dyn Codec + Send> = match self {
            Self::Gzip => Box::new(Gzip(Decompress::new_gzip(WINDOW_BITS))),
            Self::Zstd => Box::new(Zstd {
                decoder: ZstdDecoder::new()?,
                wanted: ZSTD_HEADERS,
                may_hold: false,
            }),
        };
        Ok(Decoder {
            input: Input::new(Box::new(compressed)),
            codec,
            is_between: true,
            error: None,
        })
    }
}

/// A decompressor of one stream after another.
trait Codec {
    /// Decompresses some of `input` to the beginning of `room`.
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Progress;
}

/// The result of decompressing some bytes.
struct Progress {
    consumed: usize,
    written: usize,
    /// Whether a stream ended; another may follow.
    ended: io::Result<bool>,
}

struct Gzip(Decompress);

impl Codec for Gzip {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Progress {
        let (consumed, written) = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(input, room, FlushDecompress::None);
        let progress = Progress {
            consumed: (self.0.total_in() - consumed) as usize,
            written: (self.0.total_out() - written) as usize,
            ended: status
                .map(|status| status == Status::StreamEnd)
                .map_err(io::Error::from),
        };
        if matches!(progress.ended, Ok(true)) {
            self.0.reset(true);
        }
        progress
    }
}

/// Bytes of a zstd frame's header at most, and of its first block's.
const ZSTD_HEADERS: usize = 18 + 3;

/// zstd loses the output of a step in which it finds damage. So each step is of one block, which need not be
/// copied then, or of what was left for want of room.
struct Zstd {
    decoder: ZstdDecoder<'static>,
    /// Compressed bytes up to the end of the next block.
    wanted: usize,
    /// The last step filled its room.
    may_hold: bool,
}

impl Codec for Zstd {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Progress {
        let wanted = if self.may_hold { 0 } else { self.wanted };
        let mut from = InBuffer::around(input.get(..wanted).unwrap_or(input));
        let (len, mut to) = (room.len(), OutBuffer::around(room));
        let hint = self.decoder.run(&mut from, &mut to);
        let is_over = matches!(hint, Ok(0));
        if !self.may_hold || is_over {
            self.wanted = match hint {
                Ok(wanted @ 1..) => wanted,
                _ => ZSTD_HEADERS,
            };
        }
        let progress = Progress {
            consumed: from.pos(),
            written: to.pos(),
            ended: hint.map(|_| is_over),
        };
        let held = std::mem::replace(&mut self.may_hold, progress.written == len);
        if held && progress.written == 0 && progress.ended.is_ok() {
            return self.step(input, room);
        }
        progress
    }
}

/// The bytes of a compressed stream.
pub(super) struct Decoder {
    input: Input,
    codec: Box<dyn Codec + Send>,
    /// Nothing of the next stream was read.
    is_between: bool,
    /// Damage behind the bytes that were returned last.
    error: Option<io::Error>,
}

impl Decoder {
    /// Whether reading on may have to wait for compressed bytes.
    pub(super) fn may_wait(&self) -> bool {
        self.input.0.buffer().is_empty()
    }
}

impl Read for Decoder {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if room.is_empty() {
            return Ok(0);
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        loop {
            let input = self.input.fill()?;
            let is_end = input.is_empty();
            if is_end && self.is_between {
                return Ok(0);
            }
            let progress = self.codec.step(input, room);
            self.input.0.consume(progress.consumed);
            self.is_between = matches!(progress.ended, Ok(true));
            match progress.ended {
                Ok(_) if progress.written > 0 => return Ok(progress.written),
                Ok(true) => {}
                Ok(false) if progress.consumed > 0 => {}
                Ok(false) if is_end => return Err(unexpected_end()),
                Ok(false) => return Err(io::Error::other("nothing follows from its bytes")),
                Err(error) if progress.written > 0 => {
                    self.error = Some(error);
                    return Ok(progress.written);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn unexpected_end() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "it ends too early")
}

/// Compressed bytes, with the system's own errors marked.
struct Input(BufReader<Box<dyn Read + Send>>);

impl Input {
    fn new(inner: Box<dyn Read + Send>) -> Self {
        Self(BufReader::with_capacity(INPUT, inner))
    }

    fn fill(&mut self) -> io::Result<&[u8]> {
        while let Err(error) = self.0.fill_buf() {
            if error.kind() != ErrorKind::Interrupted {
                return Err(io::Error::new(error.kind(), SystemError(error)));
            }
        }
        Ok(self.0.buffer())
    }
}

/// An error of the operating system, on its way through a decompressor.
#[derive(Debug)]
struct SystemError(io::Error);

/// Whether an error came from the operating system, and not from a decompressor.
pub(super) fn is_from_system(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<SystemError>())
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SystemError {}
