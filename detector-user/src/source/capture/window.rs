//! A window on a capture's bytes: a buffer on a stream, or the file itself in memory.
#![expect(unsafe_code, reason = "mapped files, and a hint to the processor")]

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap, MmapOptions, UncheckedAdvice};

use super::decompression::Compression;
use super::pieces::Piece;
use super::scout::REACH;
use super::source::{Source, Stream};

/// Bytes that are asked for at once.
const READ_SIZE: usize = 256 * 1024;
/// Bytes of a mapped file that are given back at once when they were read, and fetched ahead.
const STRIDE: usize = 1 << 20;
/// Bytes that the kernel maps for one fault, by default (`fault_around_bytes`). That is three times as fast as
/// `MADV_POPULATE_READ`, which maps page by page.
const FAULT: usize = 64 * 1024;

/// The unread part of a capture that is in memory, in one piece.
pub(super) struct Window {
    bytes: Bytes,
    /// The unread bytes lie from here to `end`.
    start: usize,
    end: usize,
    /// Offset of `start` in the capture.
    offset: u64,
    /// Up to here records were [looked for ahead](mod@super::scout).
    scouted: usize,
}

enum Bytes {
    /// The buffer grows only as bytes arrive, so a length field alone costs no memory.
    Stream { source: Source, buffer: Vec<u8> },
    /// Nothing is copied, and unused parts of frames are not even read.
    Map(Mapped),
}

/// A file in memory.
struct Mapped {
    map: Mmap,
    /// Up to here its pages were given back.
    released: usize,
    /// Up to here they were asked for.
    fetched: usize,
}

impl Window {
    pub(super) fn new(source: Source) -> Self {
        Self {
            bytes: Bytes::Stream {
                source,
                buffer: Vec::new(),
            },
            start: 0,
            end: 0,
            offset: 0,
            // Bytes that were read or decompressed just now are in a near cache.
            scouted: usize::MAX,
        }
    }

    /// Maps a regular file that isn't compressed; `None` where it has to be read as a stream.
    pub(super) fn map(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() == 0 {
            return None;
        }
        // SAFETY: the map is read only. A capture that somebody truncates while it is read would
        // end the reader, as it does other readers of mapped captures; it loses nothing else.
        let map = unsafe { MmapOptions::new().map(file) }.ok()?;
        if Compression::of(&map).is_some() {
            return None;
        }
        // Advice changes only the speed, so that a refusal does not matter.
        let _ = map.advise(Advice::Sequential);
        let mut mapped = Mapped {
            map,
            released: 0,
            fetched: 0,
        };
        mapped.advise(0);
        Some(Self {
            end: mapped.map.len(),
            bytes: Bytes::Map(mapped),
            start: 0,
            offset: 0,
            scouted: 0,
        })
    }

    /// Returns the unread bytes that are in memory.
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes
            .all()
            .get(self.start..self.end)
            .unwrap_or_default()
    }

    /// Whether it is time to look ahead.
    #[inline]
    pub(super) fn is_scouting_due(&self) -> bool {
        self.start >= self.scouted
    }

    /// Returns the bytes in which to look ahead, if that is due.
    pub(super) fn begin_scouting(&mut self) -> Option<&[u8]> {
        if !self.is_scouting_due() {
            return None;
        }
        self.scouted = self.start + REACH;
        self.unread().get(..REACH)
    }

    /// Returns the offset in the capture of the first unread byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the compression that `error` came from, where it did not come from the system.
    pub(super) fn blames_compression(&self, error: &io::Error) -> Option<Compression> {
        match &self.bytes {
            Bytes::Stream { source, .. } => source.blames_compression(error),
            Bytes::Map(_) => None,
        }
    }

    /// Lends the next `len` bytes, at most the unread ones in memory, and counts them as read.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> &[u8] {
        let from = self.start;
        self.start = (from + len).min(self.end);
        self.offset += (self.start - from) as u64;
        if let Bytes::Map(mapped) = &mut self.bytes {
            mapped.advise(from);
        }
        self.bytes.all().get(from..self.start).unwrap_or_default()
    }

    /// Reads until at least `needed` unread bytes are in memory; `false` where the capture ends
    /// before. It does not wait for more than is needed, so a live pipe is followed at once.
    pub(super) fn fill(&mut self, needed: usize) -> io::Result<bool> {
        while self.end - self.start < needed {
            let is_more = match &mut self.bytes {
                Bytes::Map(_) => false,
                Bytes::Stream { source, .. } => match &mut source.stream {
                    Stream::Plain(_) => self.read()?,
                    Stream::Pieces(pieces) => match pieces.next()? {
                        Some(piece) => self.append(piece),
                        None => false,
                    },
                },
            };
            if !is_more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads once behind the unread bytes; `false` at the end.
    fn read(&mut self) -> io::Result<bool> {
        let Bytes::Stream { source, buffer } = &mut self.bytes else {
            return Ok(false);
        };
        let Stream::Plain(reader) = &mut source.stream else {
            return Ok(false);
        };
        if self.start > 0 {
            buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == buffer.len() {
            buffer.resize((buffer.len() * 2).max(READ_SIZE), 0);
        }
        let room = buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match reader.read(room) {
                Ok(read) => {
                    self.end += read;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds a piece behind the unread bytes, which are few in most cases: they are moved before it.
    fn append(&mut self, piece: Piece) -> bool {
        let Bytes::Stream { source, buffer } = &mut self.bytes else {
            return false;
        };
        let Piece {
            buffer: mut next,
            end,
        } = piece;
        let left = buffer.get(self.start..self.end).unwrap_or_default();
        let before = Piece::START.checked_sub(left.len());
        if let Some(room) = before.and_then(|at| next.get_mut(at..Piece::START)) {
            room.copy_from_slice(left);
            self.start = Piece::START - left.len();
            self.end = end;
            std::mem::swap(buffer, &mut next);
        } else {
            buffer.truncate(self.end);
            buffer.drain(..self.start);
            buffer.extend_from_slice(next.get(Piece::START..end).unwrap_or_default());
            self.start = 0;
            self.end = buffer.len();
        }
        if let Stream::Pieces(pieces) = &source.stream {
            pieces.reuse(next);
        }
        true
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        match &self.bytes {
            Bytes::Stream { buffer, .. } => buffer.capacity(),
            Bytes::Map(_) => 0,
        }
    }
}

/// Asks for the first bytes of a record: its own header, and the frame's up to the first byte of payload, which
/// are some 130 bytes.
#[inline]
pub(super) fn prefetch(record: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = record.as_ptr();
        for offset in [0, 64, 96] {
            // SAFETY: a hint; it reads nothing and faults on no address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box((record.first().copied(), record.get(96).copied()));
}

impl Bytes {
    #[inline]
    fn all(&self) -> &[u8] {
        match self {
            Self::Stream { buffer, .. } => buffer,
            Self::Map(mapped) => &mapped.map,
        }
    }
}

impl Mapped {
    /// Fetches ahead and gives back the pages behind `at`, so that memory stays flat whatever the
    /// file's size.
    #[inline]
    fn advise(&mut self, at: usize) {
        if at + STRIDE / 2 >= self.fetched && self.fetched < self.map.len() {
            let end = self.map.len().min(self.fetched + STRIDE);
            let ahead = self.map.get(self.fetched..end).unwrap_or_default();
            for page in ahead.iter().step_by(FAULT) {
                std::hint::black_box(*page);
            }
            self.fetched = end;
        }
        if at >= self.released + 2 * STRIDE {
            // SAFETY: pages of a file that is mapped to be read come back as they were.
            let _ = unsafe {
                let advice = UncheckedAdvice::DontNeed;
                self.map
                    .unchecked_advise_range(advice, self.released, STRIDE)
            };
            self.released += STRIDE;
        }
    }
}
