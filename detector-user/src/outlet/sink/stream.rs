//! Writing to a stream such as standard output.

use std::io::{self, Write};

use super::SinkError;

/// Writes `bytes` in one piece and flushes, so that a reader sees all of them at once.
///
/// # Errors
/// [`SinkError::Closed`] if the reader is gone, [`SinkError::Write`] otherwise.
pub(super) fn write(
    to: &mut impl Write,
    bytes: &[u8],
    output: &'static str,
) -> Result<(), SinkError> {
    to.write_all(bytes)
        .and_then(|()| to.flush())
        .map_err(|error| failure(error, output))
}

/// Flushes the stream.
///
/// # Errors
/// As [`write()`].
pub(super) fn flush(to: &mut impl Write, output: &'static str) -> Result<(), SinkError> {
    to.flush().map_err(|error| failure(error, output))
}

/// Converts an error: a broken pipe is an end, not a failure.
fn failure(source: io::Error, output: &'static str) -> SinkError {
    if source.kind() == io::ErrorKind::BrokenPipe {
        SinkError::Closed { output }
    } else {
        SinkError::Write { output, source }
    }
}
