//! A window on a capture's bytes: a buffer on a stream, or the file itself in memory.
#![expect(unsafe_code, reason = "mapped files, and a hint to the processor")]

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap, MmapOptions, UncheckedAdvice};

use super::source::{Compression, Source};

/// Bytes that are asked for at once.
const READ_SIZE: usize = 256 * 1024;
/// Bytes of a mapped file that are given back at once when they were read, and fetched ahead.
const STRIDE: usize = 8 << 20;

/// The unread part of a capture that is in memory, in one piece.
pub(super) struct Window {
    bytes: Bytes,
    /// The unread bytes lie from here to `end`.
    start: usize,
    end: usize,
    /// Offset of `start` in the capture.
    offset: u64,
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
                buffer: vec![0; READ_SIZE],
            },
            start: 0,
            end: 0,
            offset: 0,
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
            if let Some(next) = mapped.map.get(self.start..) {
                prefetch(next);
            }
        }
        self.bytes.all().get(from..self.start).unwrap_or_default()
    }

    /// Reads until at least `needed` unread bytes are in memory; `false` where the capture ends
    /// before. It does not wait for more than is needed, so a live pipe is followed at once.
    pub(super) fn fill(&mut self, needed: usize) -> io::Result<bool> {
        let Bytes::Stream { source, buffer } = &mut self.bytes else {
            return Ok(self.end - self.start >= needed);
        };
        while self.end - self.start < needed {
            if self.start > 0 {
                buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.end == buffer.len() {
                buffer.resize(buffer.len() * 2, 0);
            }
            let room = buffer.get_mut(self.end..).unwrap_or_default();
            match source.read(room) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        match &self.bytes {
            Bytes::Stream { buffer, .. } => buffer.capacity(),
            Bytes::Map(_) => 0,
        }
    }
}

/// Asks for the next record's header and the frame's own, which lie in the first 128 bytes, while
/// this frame is looked at: to wait for them is much of what reading a mapped capture costs.
#[inline]
fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; it reads nothing and faults on no address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().cast());
            _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(64).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(bytes.first().copied());
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
            let len = STRIDE.min(self.map.len() - self.fetched);
            let _ = self
                .map
                .advise_range(Advice::PopulateRead, self.fetched, len);
            self.fetched += len;
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
