//! A cursor over TLS's presentation language (RFC 8446 §3) whose bytes may end early.

/// Reads numbers and vectors; `None` if the bytes end before them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a length of three bytes.
    pub(super) fn u24(&mut self) -> Option<usize> {
        let [a, b, c] = self.array()?;
        Some(u32::from_be_bytes([0, a, b, c]) as usize)
    }

    pub(super) fn vector8(&mut self) -> Option<Reader<'a>> {
        let length = self.u8()?;
        self.take(usize::from(length)).map(Reader)
    }

    pub(super) fn vector16(&mut self) -> Option<Reader<'a>> {
        let length = self.u16()?;
        self.take(usize::from(length)).map(Reader)
    }

    pub(super) fn vector24(&mut self) -> Option<Reader<'a>> {
        let length = self.u24()?;
        self.take(length).map(Reader)
    }

    /// Reads a vector whose end may be missing; returns also whether it is whole.
    pub(super) fn open_vector16(&mut self) -> Option<(Reader<'a>, bool)> {
        let length = usize::from(self.u16()?);
        let whole = self.0.len() >= length;
        let bytes = self.take(length.min(self.0.len()))?;
        Some((Reader(bytes), whole))
    }

    /// Returns the numbers up to the end; half a number at the end is left out.
    pub(super) fn numbers(self) -> impl Iterator<Item = u16> + use<'a> {
        let (pairs, _) = self.0.as_chunks::<2>();
        pairs.iter().map(|pair| u16::from_be_bytes(*pair))
    }
}
