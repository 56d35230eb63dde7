//! Access to a frame's bytes in kernel memory, a capture file or a test.

/// The bytes of one frame, starting at its link-layer header.
///
/// Implemented for `&[u8]`:
///
/// ```
/// use detector_common::packet::Packet;
///
/// let frame: &[u8] = &[1, 2, 3, 4];
/// assert_eq!(frame.window::<2>(1), Some(&[2, 3]));
/// assert_eq!(frame.window::<2>(3), None);
/// assert_eq!(frame.head(2, 2), Some(0x0304_0000_0000_0000));
/// ```
pub trait Packet {
    /// Whether it is common that [`Packet::window`] reaches no further than the headers: of frames in
    /// buffers of the kernel's stack, whose drivers put the payload elsewhere.
    const SPLITS_HEADERS: bool = false;

    /// Returns the `N` bytes at `offset`, if they can be read in place.
    ///
    /// `None` if the frame ends before them, or if they cannot be addressed directly (in the kernel:
    /// beyond the linear part of the buffer).
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;

    /// As [`Packet::window`], at an offset that bytes of the frame decide, such as one behind options.
    #[inline(always)]
    fn far_window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.window(offset)
    }

    /// Returns `count` (1 to 7) bytes at `offset` as a big-endian word, the first in the highest byte,
    /// padded with zeros.
    ///
    /// Payload is read this way: in the kernel it may lie in fragments beyond the linear part.
    fn head(&self, offset: usize, count: u32) -> Option<u64>;

    /// Returns the byte at `offset`, where [`Packet::window`] does not reach it: in the kernel from
    /// fragments.
    fn far_byte(&self, offset: usize) -> Option<u8>;

    /// Copies the `len` bytes at `offset` to the beginning of `to`, from fragments too; `false` if
    /// the frame has fewer bytes, or if they do not fit.
    fn copy<const ROOM: usize>(&self, offset: usize, to: &mut [u8; ROOM], len: usize) -> bool;

    /// Returns the length of the whole frame on the wire, in bytes, including those not captured.
    fn frame_len(&self) -> usize;

    /// Returns the same value, of which the eBPF verifier knows nothing.
    ///
    /// The verifier follows each path with every value it can derive. Paths that differ only in such
    /// a value are verified once if it is hidden where they meet.
    #[inline(always)]
    fn black_box(&self, value: u32) -> u32 {
        value
    }

    /// Does the same with a wide number.
    #[inline(always)]
    fn black_box_wide(&self, value: u64) -> u64 {
        value
    }

    /// Returns the outermost VLAN tag, if hardware or kernel stripped it from the frame's bytes.
    fn offloaded_vlan(&self) -> Option<u16> {
        None
    }
}

/// Returns the first `count` (1 to 7) bytes of a head, padded with zeros.
#[inline(always)]
pub fn first_bytes(head: u64, count: u32) -> u64 {
    head & !(u64::MAX >> ((count & 7) * 8))
}

/// A frame inside another, which begins at an offset of it.
pub struct Inside<'a, P> {
    /// The outer frame.
    pub outer: &'a P,
    /// Offset of the inner frame's first byte.
    pub offset: usize,
}

impl<P: Packet> Packet for Inside<'_, P> {
    const SPLITS_HEADERS: bool = P::SPLITS_HEADERS;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.outer.window(self.offset + offset)
    }

    #[inline(always)]
    fn head(&self, offset: usize, count: u32) -> Option<u64> {
        self.outer.head(self.offset + offset, count)
    }

    #[inline(always)]
    fn far_byte(&self, offset: usize) -> Option<u8> {
        self.outer.far_byte(self.offset + offset)
    }

    #[inline(always)]
    fn copy<const ROOM: usize>(&self, offset: usize, to: &mut [u8; ROOM], len: usize) -> bool {
        self.outer.copy(self.offset + offset, to, len)
    }

    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.outer.frame_len().wrapping_sub(self.offset)
    }

    #[inline(always)]
    fn black_box(&self, value: u32) -> u32 {
        self.outer.black_box(value)
    }

    #[inline(always)]
    fn black_box_wide(&self, value: u64) -> u64 {
        self.outer.black_box_wide(value)
    }

    #[inline(always)]
    fn offloaded_vlan(&self) -> Option<u16> {
        // That of the outer frame, where this is the outer frame.
        self.outer.offloaded_vlan().filter(|_| self.offset == 0)
    }
}

impl Packet for &[u8] {
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.get(offset..)?.first_chunk::<N>()
    }

    fn head(&self, offset: usize, count: u32) -> Option<u64> {
        if let Some(bytes) = self.window::<8>(offset) {
            return Some(first_bytes(u64::from_be_bytes(*bytes), count));
        }
        let bytes = self.get(offset..offset.checked_add(count as usize)?)?;
        let mut head = [0; 8];
        head.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u64::from_be_bytes(head))
    }

    fn far_byte(&self, offset: usize) -> Option<u8> {
        self.get(offset).copied()
    }

    fn copy<const ROOM: usize>(&self, offset: usize, to: &mut [u8; ROOM], len: usize) -> bool {
        let from = offset
            .checked_add(len)
            .and_then(|end| self.get(offset..end));
        let (Some(from), Some(to)) = (from, to.get_mut(..len)) else {
            return false;
        };
        to.copy_from_slice(from);
        true
    }

    fn frame_len(&self) -> usize {
        self.len()
    }
}
