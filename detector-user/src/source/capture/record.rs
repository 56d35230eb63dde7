//! Common to both formats: byte order, limits, and the result of one parsing step.

use std::ops::Range;

use super::LinkType;

/// The longest frame that is believed, in bytes: libpcap's and Wireshark's own limit, whatever
/// snapshot length the file claims.
pub(super) const MAX_FRAME: u32 = 256 * 1024;

/// The longest pcapng block that is believed, in bytes. It bounds the memory that a damaged length
/// can cost; libpcap and Wireshark stop at 16 MiB.
pub(super) const MAX_BLOCK: u32 = 64 * 1024 * 1024;

/// Result of parsing the bytes at the start of the next record.
///
/// Parsers see a slice and know nothing of reading, so the bytes may as well be a mapped file.
#[derive(Debug)]
pub(super) enum Step {
    /// The record can only be parsed with at least this many of its bytes.
    Need(usize),
    /// A whole record of this length that holds no frame.
    Skip(usize),
    /// A whole record with a frame in it.
    Frame(FrameRecord),
    /// The record contradicts itself or the format.
    Corrupt(String),
}

/// A record with a frame: the frame's place in it, and its other fields.
#[derive(Debug)]
pub(super) struct FrameRecord {
    /// The whole record's length.
    pub(super) len: usize,
    /// The captured bytes, within the record.
    pub(super) captured: Range<usize>,
    pub(super) time_ns: u64,
    pub(super) interface: u32,
    pub(super) link_type: LinkType,
    pub(super) original_len: u32,
}

/// The byte order of a capture file or of a pcapng section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) fn i64(self, bytes: [u8; 8]) -> i64 {
        match self {
            Self::Little => i64::from_le_bytes(bytes),
            Self::Big => i64::from_be_bytes(bytes),
        }
    }

    /// Returns the first `N` 32-bit words, if there are as many.
    #[inline]
    pub(super) fn words<const N: usize>(self, bytes: &[u8]) -> Option<[u32; N]> {
        let words: &[[u8; 4]; N] = bytes.as_chunks::<4>().0.first_chunk()?;
        Some(words.map(|word| self.u32(word)))
    }

    /// Returns the first `N` 16-bit halves of words, if there are as many.
    #[inline]
    pub(super) fn halves<const N: usize>(self, bytes: &[u8]) -> Option<[u16; N]> {
        let halves: &[[u8; 2]; N] = bytes.as_chunks::<2>().0.first_chunk()?;
        Some(halves.map(|half| self.u16(half)))
    }
}
