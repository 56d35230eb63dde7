//! Decompression on a thread of its own: pieces of a capture's bytes, and their buffers back.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::decompression::Decoder;

/// Bytes of a piece at most.
const LEN: usize = 256 * 1024;
/// Room before the bytes of a piece, for the rest of the one before.
const HEADROOM: usize = 32 * 1024;
/// Pieces in transit at most.
const PIECES: usize = 3;

/// Bytes that follow those of the piece before: the buffer's from [`Piece::START`] to `end`.
pub(super) struct Piece {
    pub(super) buffer: Vec<u8>,
    pub(super) end: usize,
}

impl Piece {
    /// Offset in the buffer of the first byte; the bytes before are the receiver's.
    pub(super) const START: usize = HEADROOM;
}

/// The pieces of a stream, in order.
pub(super) struct Pieces {
    full: Receiver<io::Result<Option<Piece>>>,
    empty: SyncSender<Vec<u8>>,
    is_over: bool,
}

impl Pieces {
    /// Begins to decompress.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn begin(decoder: Decoder) -> io::Result<Self> {
        let (to, full) = sync_channel(PIECES);
        let (empty, back) = sync_channel(PIECES + 1);
        thread::Builder::new()
            .name("decompress".to_owned())
            .spawn(move || decompress(decoder, &to, &back))?;
        Ok(Self {
            full,
            empty,
            is_over: false,
        })
    }

    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    /// If the stream is damaged or cannot be read, behind the pieces so far.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.is_over {
            return Ok(None);
        }
        let ended = || Err(io::Error::other("the thread that decompresses ended"));
        let next = self.full.recv().unwrap_or_else(|_| ended());
        self.is_over = !matches!(next, Ok(Some(_)));
        next
    }

    /// Gives a buffer back.
    pub(super) fn reuse(&self, buffer: Vec<u8>) {
        // One of another size is that of a long record.
        if buffer.len() == HEADROOM + LEN {
            let _ = self.empty.try_send(buffer);
        }
    }
}

fn decompress(
    mut decoder: Decoder,
    to: &SyncSender<io::Result<Option<Piece>>>,
    back: &Receiver<Vec<u8>>,
) {
    loop {
        let recycled = back.try_recv();
        let mut buffer = recycled.unwrap_or_else(|_| vec![0; HEADROOM + LEN]);
        let (end, outcome) = fill(&mut decoder, &mut buffer);
        let piece = Piece { buffer, end };
        // Nobody receives once the capture turned out to be damaged.
        if end > Piece::START && to.send(Ok(Some(piece))).is_err() {
            return;
        }
        match outcome {
            Ok(true) => {}
            Ok(false) => return drop(to.send(Ok(None))),
            Err(error) => return drop(to.send(Err(error))),
        }
    }
}

/// Fills a piece, or as much as there is without waiting for compressed bytes, so that a live pipe is followed at
/// once. Returns its end, and `false` at the end of the stream.
fn fill(decoder: &mut Decoder, buffer: &mut [u8]) -> (usize, io::Result<bool>) {
    let mut end = Piece::START;
    while let Some(room) = buffer.get_mut(end..).filter(|room| !room.is_empty()) {
        if end > Piece::START && decoder.may_wait() {
            break;
        }
        match decoder.read(room) {
            Ok(0) => return (end, Ok(false)),
            Ok(read) => end += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (end, Err(error)),
        }
    }
    (end, Ok(true))
}
