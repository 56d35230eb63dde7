//! Decompression on a thread of its own: pieces of a capture's bytes, and their buffers back.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::decompression::Decoder;

/// Bytes of a piece at most.
const LEN: usize = 256 * 1024;
/// Room before the bytes of a piece, for the rest of the one before.
const HEADROOM: usize = 32 * 1024;
/// Bytes of a piece at most that is decompressed on the thread that reads, and of all these.
const HERE: usize = 64 * 1024;
const HERE_MAX: usize = 256 * 1024;
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
pub(super) struct Pieces(State);

enum State {
    /// So much was decompressed on this thread: a small capture is read before another one would have begun.
    Here(Box<Decoder>, usize),
    /// The rest comes from a thread of its own.
    Thread {
        full: Receiver<io::Result<Option<Piece>>>,
        empty: SyncSender<Vec<u8>>,
    },
    /// Behind the pieces so far the stream cannot be read.
    Failed(io::Error),
    /// The end, or an error, was returned.
    Over,
}

impl Pieces {
    pub(super) fn new(decoder: Decoder) -> Self {
        Self(State::Here(Box::new(decoder), 0))
    }

    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    /// If the stream is damaged or cannot be read, behind the pieces so far, or if no thread can be started.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        match std::mem::replace(&mut self.0, State::Over) {
            State::Here(decoder, len) if len < HERE_MAX => Ok(self.decompress_here(decoder, len)),
            State::Here(decoder, _) => {
                self.0 = begin(decoder)?;
                self.next()
            }
            State::Thread { full, empty } => {
                let ended = || Err(io::Error::other("the thread that decompresses ended"));
                let next = full.recv().unwrap_or_else(|_| ended())?;
                if next.is_some() {
                    self.0 = State::Thread { full, empty };
                }
                Ok(next)
            }
            State::Failed(error) => Err(error),
            State::Over => Ok(None),
        }
    }

    fn decompress_here(&mut self, mut decoder: Box<Decoder>, len: usize) -> Option<Piece> {
        let mut buffer = vec![0; HEADROOM + HERE];
        let (end, outcome) = fill(&mut decoder, &mut buffer);
        self.0 = match outcome {
            Ok(true) => State::Here(decoder, len + end - Piece::START),
            Ok(false) => State::Over,
            Err(error) => State::Failed(error),
        };
        // Without bytes there is nothing but the end, or an error behind an empty piece.
        let is_end = end == Piece::START && matches!(self.0, State::Over);
        (!is_end).then_some(Piece { buffer, end })
    }

    /// Gives a buffer back.
    pub(super) fn reuse(&self, buffer: Vec<u8>) {
        // One of another size is that of a long record, or of the beginning.
        if let State::Thread { empty, .. } = &self.0
            && buffer.len() == HEADROOM + LEN
        {
            let _ = empty.try_send(buffer);
        }
    }
}

/// Begins to decompress on a thread of its own.
fn begin(decoder: Box<Decoder>) -> io::Result<State> {
    let (to, full) = sync_channel(PIECES);
    let (empty, back) = sync_channel(PIECES + 1);
    thread::Builder::new()
        .name("decompress".to_owned())
        .spawn(move || decompress(*decoder, &to, &back))?;
    Ok(State::Thread { full, empty })
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
