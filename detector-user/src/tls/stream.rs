//! Putting a direction's bytes in order.

/// The most that is kept of one direction.
const CAPACITY: usize = 16 * 1024;

/// Bytes of one direction from its first on. Where bytes come twice, those that came first count
/// (RFC 9293 §3.10.7.4).
#[derive(Clone, Debug, Default)]
pub struct HandshakeStream {
    bytes: Vec<u8>,
    /// Ranges that have come, in order, apart from each other.
    ranges: Vec<(usize, usize)>,
}

impl HandshakeStream {
    /// Takes in bytes at `offset`; those beyond the capacity are left out.
    pub fn feed(&mut self, offset: u32, bytes: &[u8]) {
        let start = (offset as usize).min(CAPACITY);
        let end = start.saturating_add(bytes.len()).min(CAPACITY);
        if end <= start {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        for (from, to) in self.missing(start, end) {
            let source = bytes.get(from - start..to - start);
            if let (Some(source), Some(target)) = (source, self.bytes.get_mut(from..to)) {
                target.copy_from_slice(source);
            }
        }
        self.merge(start, end);
    }

    /// The parts of `start..end` that have not come.
    fn missing(&self, start: usize, end: usize) -> Vec<(usize, usize)> {
        let mut missing = Vec::new();
        let mut at = start;
        for &(from, to) in &self.ranges {
            if to <= at {
                continue;
            }
            if from >= end {
                break;
            }
            if at < from {
                missing.push((at, from));
            }
            at = at.max(to);
        }
        if at < end {
            missing.push((at, end));
        }
        missing
    }

    fn merge(&mut self, mut start: usize, mut end: usize) {
        self.ranges.retain(|&(from, to)| {
            let apart = to < start || from > end;
            if !apart {
                start = start.min(from);
                end = end.max(to);
            }
            apart
        });
        let at = self.ranges.partition_point(|&(from, _)| from < start);
        self.ranges.insert(at, (start, end));
    }

    /// All bytes from the first on up to the first hole.
    pub fn contiguous(&self) -> &[u8] {
        match self.ranges.first() {
            Some(&(0, end)) => self.bytes.get(..end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Whether bytes are missing before bytes that have come.
    pub fn has_hole(&self) -> bool {
        match self.ranges.as_slice() {
            [] => false,
            [(start, _)] => *start > 0,
            _ => true,
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.ranges.capacity() * size_of::<(usize, usize)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_came_first_counts() {
        let mut stream = HandshakeStream::default();
        stream.feed(2, b"cd");
        stream.feed(0, b"abXXe");
        assert_eq!(stream.contiguous(), b"abcde");
        assert!(!stream.has_hole());
    }

    #[test]
    fn a_hole_is_said() {
        let mut stream = HandshakeStream::default();
        stream.feed(0, b"ab");
        stream.feed(4, b"ef");
        assert_eq!(stream.contiguous(), b"ab");
        assert!(stream.has_hole());
    }

    proptest! {
        #[test]
        fn any_order_of_any_pieces_gives_the_whole(
            whole in proptest::collection::vec(any::<u8>(), 1..3000),
            cuts in proptest::collection::vec((any::<u16>(), any::<u16>()), 0..20),
        ) {
            let mut stream = HandshakeStream::default();
            for (start, len) in cuts {
                let start = usize::from(start) % whole.len();
                let end = (start + usize::from(len) % 700).min(whole.len());
                stream.feed(start as u32, &whole[start..end]);
            }
            stream.feed(0, &whole);
            prop_assert_eq!(stream.contiguous(), whole.as_slice());
            prop_assert!(!stream.has_hole());
        }

        #[test]
        fn memory_is_bounded(
            pieces in proptest::collection::vec((any::<u32>(), 0usize..3000), 0..50),
        ) {
            let mut stream = HandshakeStream::default();
            for (offset, len) in pieces {
                stream.feed(offset, &vec![7; len]);
            }
            prop_assert!(stream.contiguous().len() <= CAPACITY);
        }
    }
}
