//! A window on a stream: one buffer that records are lent from.

use std::io;

use super::source::Source;

/// How many bytes are asked for at once.
const READ_SIZE: usize = 256 * 1024;

/// The unread part of a stream that is in memory, in one piece.
///
/// The buffer grows only as bytes arrive, so a length field alone costs no memory.
pub(super) struct Window {
    source: Source,
    buffer: Vec<u8>,
    /// The unread bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Stream offset of `start`.
    offset: u64,
}

impl Window {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            buffer: vec![0; READ_SIZE],
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// The unread bytes that are in memory.
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Stream offset of the first unread byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Lends the next `len` bytes, at most the unread ones in memory, and counts them as read.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> &[u8] {
        let from = self.start;
        self.start = (from + len).min(self.end);
        self.offset += (self.start - from) as u64;
        self.buffer.get(from..self.start).unwrap_or_default()
    }

    /// Reads until at least `needed` unread bytes are in memory; `false` where the stream ends
    /// before. It does not wait for more than is needed, so a live pipe is followed at once.
    pub(super) fn fill(&mut self, needed: usize) -> io::Result<bool> {
        while self.end - self.start < needed {
            self.make_room();
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.source.read(room) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}
