//! Looks ahead in a mapped capture: asks for the cache lines of records that come next.
//!
//! A record's place follows from the header of the one before it, so that a reader waits for memory once a record.
//! Several cursors that walk parts of what comes next wait together. Each finds a record in its part by the form
//! of headers; one that is misled costs nothing but its own time.

use super::Format;
use super::window::prefetch;

/// Bytes that one cursor walks.
const PART: usize = 32 * 1024;
/// Cursors.
const CURSORS: usize = 8;
/// Bytes that are looked ahead at once.
pub(super) const REACH: usize = PART * CURSORS;
/// Maximum bytes within which a cursor finds a record.
const SEARCHED: usize = 4 * 1024;

/// A cursor's place, and where it stops.
#[derive(Clone, Copy, Default)]
struct Cursor {
    at: usize,
    end: usize,
}

/// Asks for the headers of the records in `bytes`, which begin with one.
pub(super) fn scout(format: &Format, bytes: &[u8]) {
    let mut cursors = [Cursor::default(); CURSORS];
    let mut live = 0;
    for part in 0..CURSORS {
        let (start, end) = (part * PART, bytes.len().min((part + 1) * PART));
        let place = if part == 0 {
            Some(0)
        } else {
            let searched = bytes.get(start..end.min(start + SEARCHED));
            searched.and_then(|searched| Some(start + format.find_header(bytes, searched)?))
        };
        if let (Some(at), Some(cursor)) = (place, cursors.get_mut(live)) {
            *cursor = Cursor { at, end };
            live += 1;
        }
    }
    while live > 0 {
        let mut number = 0;
        while number < live {
            let Some(cursor) = cursors.get_mut(number) else {
                break;
            };
            let next = bytes
                .get(cursor.at..)
                .and_then(|record| Some(cursor.at + format.record_len(record)?))
                .filter(|next| *next < cursor.end);
            if let Some(next) = next {
                cursor.at = next;
                prefetch(bytes.get(next..).unwrap_or_default());
                number += 1;
            } else {
                live -= 1;
                cursors.swap(number, live);
            }
        }
    }
}
