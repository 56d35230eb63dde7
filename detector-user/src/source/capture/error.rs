//! Errors of reading a capture.

use std::io;

use thiserror::Error;

/// The reason why a capture, or the rest of one, cannot be read.
///
/// Every message has the file's name, the place of the damage and its meaning. Offsets count bytes
/// from the start of the capture, after decompression where it is compressed. All frames that end
/// before the offset have been read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file could not be opened at all.
    #[error("cannot open {file}: {error}")]
    Open {
        /// The file's name as the user gave it.
        file: String,
        /// The operating system's error.
        error: io::Error,
    },

    /// A folder.
    #[error("cannot read {file}: it is a directory; name the captures in it")]
    Directory {
        /// Its name as the user gave it.
        file: String,
    },

    /// The operating system refused a read; the capture itself may be whole.
    #[error("cannot read {file} beyond byte {offset}: {error}")]
    Io {
        /// The file's name as the user gave it.
        file: String,
        /// Bytes read until then.
        offset: u64,
        /// The operating system's error.
        error: io::Error,
    },

    /// Not a single byte.
    #[error(
        "cannot read {file}: the file is empty; capture with `tcpdump -U`, which writes each packet at \
         once, or wait until the capture has ended"
    )]
    Empty {
        /// The file's name as the user gave it.
        file: String,
    },

    /// The file begins like nothing that can be read here.
    #[error("cannot read {file}: unsupported capture format: {detail}")]
    NotACapture {
        /// The file's name as the user gave it.
        file: String,
        /// Its likely format and the fix.
        detail: String,
    },

    /// The capture ends within a record.
    #[error(
        "{file} ends within the record at byte {offset} ({present} of at least {needed} bytes); wait if \
         it is still being written"
    )]
    Truncated {
        /// The file's name as the user gave it.
        file: String,
        /// Offset of the incomplete record (file header, packet record or block).
        offset: u64,
        /// Bytes the record needs, as far as that is known.
        needed: u64,
        /// Bytes of it that are there.
        present: u64,
    },

    /// A record contradicts itself or the format; the bytes after it cannot be trusted.
    #[error("{file} is corrupt at byte {offset}: {detail}")]
    Corrupt {
        /// The file's name as the user gave it.
        file: String,
        /// Offset of the damaged record.
        offset: u64,
        /// Its fault.
        detail: String,
    },

    /// The compressed stream round the capture ends early, fails its checksum or makes no sense.
    #[error(
        "{file} is a damaged {compression} stream: it can be decompressed up to byte {offset}: \
         {detail}"
    )]
    Compression {
        /// The file's name as the user gave it.
        file: String,
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// Bytes of the capture that could be decompressed.
        offset: u64,
        /// The decompressor's error.
        detail: String,
    },
}
