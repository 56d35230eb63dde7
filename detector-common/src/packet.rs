//! Where a frame's bytes come from: kernel memory, a capture file, a test.

/// The bytes of one frame, starting at its link-layer header.
pub trait Packet {
    /// The `N` bytes at `offset`, if they can be read in place.
    ///
    /// `None` where the frame ends before them, or where the host keeps them out of direct reach
    /// (in the kernel: behind the linear part of the buffer).
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;

    /// `count` (1 to 7) bytes at `offset`, the first in the highest byte and zeros behind them,
    /// wherever the host keeps them.
    ///
    /// Payload is read this way: in the kernel it may lie in fragments beyond the linear part.
    fn head(&self, offset: usize, count: u32) -> Option<u64>;

    /// Copies the `len` bytes at `offset` to the beginning of `to`, wherever the host keeps them;
    /// `false` if they are not all there, or do not fit.
    fn copy<const ROOM: usize>(&self, offset: usize, to: &mut [u8; ROOM], len: usize) -> bool;

    /// Bytes of the whole frame on the wire, including those that were not captured.
    fn frame_len(&self) -> usize;

    /// The same value, which the eBPF verifier knows nothing of.
    ///
    /// The verifier follows every path with all it knows; paths that differ only in a value it
    /// need not know are verified once if it forgets the value where they meet.
    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        value
    }

    /// The innermost-known VLAN tag that the hardware or the stack took out of the frame's bytes.
    fn offloaded_vlan(&self) -> Option<u16> {
        None
    }
}

/// The first `count` (1 to 7) bytes of a head, zeros behind them.
#[inline(always)]
pub fn first_bytes(head: u64, count: u32) -> u64 {
    head & !(u64::MAX >> ((count & 7) * 8))
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
