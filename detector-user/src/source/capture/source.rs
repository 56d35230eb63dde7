//! Bytes of a capture: from a file or a pipe, decompressed where needed.

use std::io::{self, Cursor, Read};

use super::decompression::{Compression, is_from_system};
use super::pieces::Pieces;

/// Enough of a file to know every signature by.
const SIGNATURE: usize = 8;

/// A stream of capture bytes, and the compression that is undone.
pub(super) struct Source {
    pub(super) stream: Stream,
    compression: Option<Compression>,
}

/// The bytes of a source.
pub(super) enum Stream {
    /// As they are.
    Plain(Box<dyn Read + Send>),
    /// Decompressed, on a thread of its own but for the beginning.
    Pieces(Pieces),
}

impl Source {
    /// Detects a compression by the first bytes of `reader`, and begins to undo it.
    pub(super) fn new(reader: impl Read + Send + 'static) -> io::Result<Self> {
        let (compression, whole) = detect(reader)?;
        let stream = match compression {
            Some(compression) => Stream::Pieces(Pieces::new(compression.decoder(whole)?)),
            None => Stream::Plain(Box::new(whole)),
        };
        Ok(Self {
            stream,
            compression,
        })
    }

    /// Returns the compression where `error` came from the decompressor and not from the system.
    pub(super) fn blames_compression(&self, error: &io::Error) -> Option<Compression> {
        self.compression.filter(|_| !is_from_system(error))
    }
}

/// Returns the compression of a stream, and the whole stream.
fn detect<R: Read + Send + 'static>(
    mut reader: R,
) -> io::Result<(Option<Compression>, impl Read + Send + 'static)> {
    let mut head = Vec::with_capacity(SIGNATURE);
    reader
        .by_ref()
        .take(SIGNATURE as u64)
        .read_to_end(&mut head)?;
    Ok((Compression::of(&head), Cursor::new(head).chain(reader)))
}

/// Returns the bytes of `reader`, decompressed if they are compressed with gzip or zstd.
///
/// # Errors
/// If its first bytes cannot be read.
pub fn decompressed(reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let (compression, whole) = detect(reader)?;
    Ok(match compression {
        Some(compression) => Box::new(compression.decoder(whole)?),
        None => Box::new(whole),
    })
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
