//! Reassembly of a direction's bytes.

/// Default capacity of one direction in bytes.
pub const CAPACITY: usize = 16 * 1024;

/// Bytes of one direction from its first on. Where bytes come twice, those that came first count
/// (RFC 9293 §3.10.7.4: bytes received already are trimmed off a segment).
#[derive(Clone, Debug)]
pub struct HandshakeStream {
    bytes: Vec<u8>,
    /// Bytes without a hole, from the first on.
    contiguous: usize,
    /// Ranges beyond the first hole, in order, apart from each other.
    islands: Vec<(usize, usize)>,
    /// Bytes before these, which were read and are no longer held.
    skipped: usize,
    capacity: usize,
    full: bool,
}

impl Default for HandshakeStream {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl HandshakeStream {
    /// Creates a stream of at most `capacity` bytes. Memory is taken as bytes come.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::new(),
            contiguous: 0,
            islands: Vec::new(),
            skipped: 0,
            capacity,
            full: false,
        }
    }

    /// Inserts bytes at `offset`; those beyond the capacity are left out.
    pub fn feed(&mut self, offset: u32, bytes: &[u8]) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let wanted = start.saturating_add(bytes.len());
        let end = wanted.min(self.capacity);
        self.full |= wanted > end && !bytes.is_empty();
        let known = self.skipped.saturating_sub(start);
        let kept = end.checked_sub(start);
        let kept = kept.and_then(|len| bytes.get(known..len));
        let Some(bytes) = kept.filter(|kept| !kept.is_empty()) else {
            return;
        };
        let start = start.max(self.skipped) - self.skipped;
        let end = end - self.skipped;
        if start == self.bytes.len() && self.islands.is_empty() {
            self.bytes.extend_from_slice(bytes);
            self.contiguous = self.bytes.len();
        } else if end > self.contiguous {
            self.feed_out_of_order(start, end, bytes);
        }
    }

    fn feed_out_of_order(&mut self, start: usize, end: usize, bytes: &[u8]) {
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let mut at = start.max(self.contiguous);
        for index in 0..=self.islands.len() {
            let island = self.islands.get(index).copied();
            let (from, to) = island.unwrap_or((end, end));
            let gap = at..from.min(end);
            let source = bytes.get(gap.start.saturating_sub(start)..gap.end.saturating_sub(start));
            if let (Some(source), Some(target)) = (source, self.bytes.get_mut(gap)) {
                target.copy_from_slice(source);
            }
            at = at.max(to);
            if at >= end {
                break;
            }
        }
        self.insert_range(start.max(self.contiguous), end);
    }

    /// Joins a range with the contiguous bytes and islands that it touches.
    fn insert_range(&mut self, mut start: usize, mut end: usize) {
        let first = self.islands.partition_point(|&(_, to)| to < start);
        let last = self.islands.partition_point(|&(from, _)| from <= end);
        if let Some(touched) = self.islands.get(first..last) {
            for &(from, to) in touched {
                start = start.min(from);
                end = end.max(to);
            }
        }
        if start <= self.contiguous {
            self.contiguous = end;
            self.islands.drain(first..last);
        } else {
            self.islands.splice(first..last, [(start, end)]);
        }
    }

    /// Skips the bytes up to the first hole: they were read. None may lie behind it.
    pub(super) fn skip_read(&mut self) {
        self.skipped += self.contiguous;
        self.bytes.clear();
        self.contiguous = 0;
    }

    /// Returns the number of bytes that were skipped.
    pub(super) const fn skipped(&self) -> usize {
        self.skipped
    }

    /// Skips so many bytes that were read elsewhere, before any comes.
    pub(super) fn skip(&mut self, len: usize) {
        self.restart();
        self.skipped = len;
    }

    /// Returns all bytes up to the first hole, from the first on that was not skipped.
    pub fn contiguous(&self) -> &[u8] {
        self.bytes.get(..self.contiguous).unwrap_or_default()
    }

    /// Returns all bytes that were not skipped, with their places: those up to the first hole, then those behind it.
    pub fn pieces(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let first = (self.contiguous > 0).then_some((0, self.contiguous));
        let ranges = first.into_iter().chain(self.islands.iter().copied());
        ranges.filter_map(|(from, to)| {
            let place = u32::try_from(self.skipped + from).ok()?;
            Some((place, self.bytes.get(from..to)?))
        })
    }

    /// Whether bytes are missing before bytes that have come.
    pub fn has_hole(&self) -> bool {
        !self.islands.is_empty()
    }

    /// Whether bytes were left out because they lie beyond the capacity.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Returns the bytes of memory held.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.islands.capacity() * size_of::<(usize, usize)>()
    }

    /// Removes all bytes, and keeps the capacity.
    pub fn restart(&mut self) {
        self.bytes.clear();
        self.islands.clear();
        self.contiguous = 0;
        self.skipped = 0;
        self.full = false;
    }

    /// Removes all bytes, and frees their memory.
    pub fn clear(&mut self) {
        *self = Self::with_capacity(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case::later_overlap(&[(2, "cd"), (0, "abXXe")], "abcde")]
    #[case::retransmission(&[(0, "abc"), (0, "XYZ"), (3, "d")], "abcd")]
    #[case::over_several_islands(&[(1, "b"), (3, "d"), (5, "f"), (0, "aXcXeXg")], "abcdefg")]
    #[case::within_an_island(&[(2, "cdef"), (3, "XX"), (0, "ab")], "abcdef")]
    #[case::touching_islands(&[(4, "ef"), (2, "cd"), (0, "ab")], "abcdef")]
    #[case::nothing(&[(0, ""), (9, "")], "")]
    fn what_came_first_counts(#[case] pieces: &[(u32, &str)], #[case] expected: &str) {
        let mut stream = HandshakeStream::default();
        for (offset, bytes) in pieces {
            stream.feed(*offset, bytes.as_bytes());
        }
        assert_eq!(stream.contiguous(), expected.as_bytes());
        assert!(!stream.has_hole() && !stream.is_full());
    }

    #[test]
    fn a_hole_is_said() {
        let mut stream = HandshakeStream::default();
        stream.feed(0, b"ab");
        stream.feed(4, b"ef");
        assert_eq!(stream.contiguous(), b"ab");
        assert!(stream.has_hole());
        stream.feed(1, b"XcdX");
        assert_eq!(stream.contiguous(), b"abcdef");
        assert!(!stream.has_hole());
    }

    #[test]
    fn a_full_stream_is_said() {
        let mut stream = HandshakeStream::with_capacity(4);
        stream.feed(0, b"abcd");
        assert!(!stream.is_full());
        stream.feed(2, b"XXe");
        stream.feed(u32::MAX, b"z");
        assert!(stream.is_full() && !stream.has_hole());
        assert_eq!(stream.contiguous(), b"abcd");
    }

    #[test]
    fn bytes_that_begin_at_the_capacity_leave_no_hole() {
        let mut stream = HandshakeStream::with_capacity(4);
        stream.feed(4, b"e");
        assert!(stream.is_full() && !stream.has_hole());
        assert_eq!(stream.memory(), 0);
    }

    #[test]
    fn memory_is_taken_as_bytes_come_and_given_back() {
        let mut stream = HandshakeStream::default();
        assert_eq!(stream.memory(), 0);
        stream.feed(0, &[1; 300]);
        assert!((300..1000).contains(&stream.memory()));
        stream.clear();
        assert_eq!(stream.memory(), 0);
    }

    proptest! {
        /// Beside a model: each byte is the first that came for its place.
        #[test]
        fn agrees_with_the_first_byte_of_each_place(
            pieces in proptest::collection::vec(
                (0usize..130, proptest::collection::vec(any::<u8>(), 0..40)), 0..40),
        ) {
            let mut stream = HandshakeStream::with_capacity(128);
            let mut model = [None; 128];
            for (offset, bytes) in &pieces {
                stream.feed(*offset as u32, bytes);
                for (place, byte) in model.iter_mut().skip(*offset).zip(bytes) {
                    place.get_or_insert(*byte);
                }
            }
            let prefix: Vec<u8> = model.iter().map_while(|byte| *byte).collect();
            let hole = model.iter().skip(prefix.len()).any(Option::is_some);
            prop_assert_eq!(stream.contiguous(), prefix.as_slice());
            prop_assert_eq!(stream.has_hole(), hole);
            let full = pieces.iter().any(|(o, b)| !b.is_empty() && o + b.len() > 128);
            prop_assert_eq!(stream.is_full(), full);
        }

        /// Bytes that are read in between change none behind them.
        #[test]
        fn skipped_bytes_are_those_that_were_read(
            pieces in proptest::collection::vec(
                (0usize..130, proptest::collection::vec(any::<u8>(), 0..40)), 0..40),
        ) {
            let mut whole = HandshakeStream::with_capacity(128);
            let mut stream = HandshakeStream::with_capacity(128);
            let mut read = Vec::new();
            for (offset, bytes) in &pieces {
                whole.feed(*offset as u32, bytes);
                stream.feed(*offset as u32, bytes);
                if !stream.has_hole() {
                    read.extend_from_slice(stream.contiguous());
                    stream.skip_read();
                }
            }
            read.extend_from_slice(stream.contiguous());
            prop_assert_eq!(read.as_slice(), whole.contiguous());
            prop_assert_eq!(stream.has_hole(), whole.has_hole());
            prop_assert_eq!(stream.is_full(), whole.is_full());
        }

        #[test]
        fn memory_is_bounded(
            pieces in proptest::collection::vec((0u32..40_000, 0usize..3000), 0..50),
        ) {
            let mut stream = HandshakeStream::default();
            for (offset, len) in pieces {
                stream.feed(offset, &vec![7; len]);
            }
            prop_assert!(stream.contiguous().len() <= CAPACITY);
            prop_assert!(stream.memory() <= 2 * CAPACITY + 64 * size_of::<(usize, usize)>());
        }
    }
}
