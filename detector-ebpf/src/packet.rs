//! Frames in kernel memory: the only code with packet pointers.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};
use detector_common::packet::{Packet, first_bytes};

/// The verifier refuses packet offsets that it cannot bound by this.
const OFFSET_MAX: usize = 0xffff - 128;

/// Hides a value's origin from the compiler, so that the register used is the one whose check the
/// verifier saw.
#[inline(always)]
fn opaque(mut value: usize) -> usize {
    // A move to itself rather than nothing: BTF line information needs an instruction.
    // SAFETY: the register keeps its value; nothing else is read or written.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads the 32-bit field of a context at an offset, in one instruction: the verifier takes no pointer to the
/// middle of a context, which the compiler would make for several reads.
///
/// # Safety
/// `context` is the one the program was called with, and `OFFSET` that of such a field.
#[inline(always)]
unsafe fn context_word<const OFFSET: usize, T>(context: *const T) -> usize {
    let word: usize;
    // SAFETY: the caller's contract; nothing is written.
    unsafe {
        asm!(
            "{word} = *(u32 *)({context} + {offset})",
            word = out(reg) word,
            context = in(reg) context,
            offset = const OFFSET,
            options(nostack, preserves_flags),
        );
    }
    word
}

/// A number that is always zero, unknown to compiler and verifier because it lies in a writable map.
#[repr(transparent)]
struct Zero(UnsafeCell<u64>);

// SAFETY: nothing writes it.
unsafe impl Sync for Zero {}

static ZERO: Zero = Zero(UnsafeCell::new(0));

#[inline(always)]
fn black_box(value: u32) -> u32 {
    // SAFETY: half of a valid, aligned number that nothing writes.
    value ^ unsafe { ZERO.0.get().cast::<u32>().read_volatile() }
}

#[inline(always)]
fn black_box_wide(value: u64) -> u64 {
    // SAFETY: a valid, aligned number that nothing writes.
    value ^ unsafe { ZERO.0.get().read_volatile() }
}

/// A program's context, which leads to its frame. The two kinds differ in their helpers.
///
/// # Safety
/// [`Context::bounds`] returns the bounds of the frame's linear part, which stays mapped, and is not
/// written, while the context is borrowed.
pub(crate) unsafe trait Context {
    /// See [`Packet::SPLITS_HEADERS`].
    const SPLITS_HEADERS: bool;

    /// Returns the addresses of the linear part's first byte and after its last.
    ///
    /// Read from the context for each window: the verifier would track a stored pointer, and split
    /// paths by its bounds.
    fn bounds(&self) -> (usize, usize);

    /// Copies `len` bytes at `offset` to `to` by the kernel's helper, which also reaches into
    /// fragments; 0 if they are all there.
    ///
    /// # Safety
    /// `to` is valid for writes of `len` bytes.
    unsafe fn load(&self, offset: u32, to: *mut u8, len: u32) -> i64;

    /// Returns the length of the whole frame in bytes, with its fragments.
    fn frame_len(&self) -> usize;

    /// Returns the VLAN tag that is not in the frame's bytes.
    fn offloaded_vlan(&self) -> Option<u16>;
}

/// A frame in kernel memory.
pub(crate) struct Frame<'a, C>(pub(crate) &'a C);

/// Returns `N` bytes at `offset` of the frame's linear part.
#[inline(always)]
fn linear_window<C: Context, const N: usize>(context: &C, offset: usize) -> Option<&[u8; N]> {
    let (data, end) = context.bounds();
    if offset > OFFSET_MAX {
        return None;
    }
    let start = opaque(data + offset);
    if start + N > end {
        return None;
    }
    // SAFETY: start..start + N lies in the linear part, as just checked and as the verifier proves
    // again; u8 has no alignment.
    Some(unsafe { &*(start as *const [u8; N]) })
}

/// Returns the number if it is 1 to `MAX`, checked on the register that a helper gets.
///
/// Older verifiers (such as Linux 6.1) lose bounds over copies, and derive none from a comparison
/// with 0: the number minus one is compared, and one is added again.
#[inline(always)]
pub(crate) fn bounded<const MAX: usize>(number: usize) -> Option<usize> {
    let less = opaque(number.wrapping_sub(1));
    (less < MAX).then_some(less + 1)
}

/// Returns `count` (1 to 8) bytes as `load` writes them, as a big-endian word padded with zeros.
/// `load` gets a pointer that is valid for writes of the number of bytes it gets.
#[inline(always)]
fn load_head(count: u32, load: impl FnOnce(*mut u8, u32) -> i64) -> Option<u64> {
    let mut head = [0u8; 8];
    let count = bounded::<8>(count as usize)?;
    (load(head.as_mut_ptr(), count as u32) == 0).then(|| u64::from_be_bytes(head))
}

/// Copies the `len` bytes at `offset` to the beginning of `to`.
#[inline(always)]
fn load_bytes<C: Context, const ROOM: usize>(
    context: &C,
    offset: usize,
    to: &mut [u8; ROOM],
    len: usize,
) -> bool {
    let Some(len) = bounded::<ROOM>(len) else {
        return false;
    };
    // SAFETY: `len` is `ROOM` at most.
    unsafe { context.load(offset as u32, to.as_mut_ptr(), len as u32) == 0 }
}

impl Frame<'_, TcContext> {
    /// Returns the index of the interface that the frame passes.
    #[inline(always)]
    pub(crate) fn interface(&self) -> u32 {
        // SAFETY: the context is the one the program was called with.
        unsafe { (*self.0.skb.skb).ifindex }
    }
}

impl<C: Context> Packet for Frame<'_, C> {
    const SPLITS_HEADERS: bool = C::SPLITS_HEADERS;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        linear_window(self.0, offset)
    }

    /// One register for the check and the access: Linux 6.1 knows no bound of a copy.
    #[inline(always)]
    fn far_window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        linear_window(self.0, opaque(offset))
    }

    #[inline(always)]
    fn head(&self, offset: usize, count: u32) -> Option<u64> {
        if let Some(bytes) = self.window::<8>(offset) {
            return Some(first_bytes(u64::from_be_bytes(*bytes), count));
        }
        load_head(count, |to, len| {
            // SAFETY: `to` is valid for writes of `len` bytes, see `load_head`.
            unsafe { self.0.load(offset as u32, to, len) }
        })
    }

    #[inline(always)]
    fn far_byte(&self, offset: usize) -> Option<u8> {
        let mut byte = 0;
        // SAFETY: `byte` is valid for writes of one byte.
        (unsafe { self.0.load(offset as u32, &raw mut byte, 1) } == 0).then_some(byte)
    }

    #[inline(always)]
    fn copy<const ROOM: usize>(&self, offset: usize, to: &mut [u8; ROOM], len: usize) -> bool {
        load_bytes(self.0, offset, to, len)
    }

    #[inline(always)]
    fn black_box(&self, value: u32) -> u32 {
        black_box(value)
    }

    #[inline(always)]
    fn black_box_wide(&self, value: u64) -> u64 {
        black_box_wide(value)
    }

    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.0.frame_len()
    }

    #[inline(always)]
    fn offloaded_vlan(&self) -> Option<u16> {
        self.0.offloaded_vlan()
    }
}

// SAFETY: a program gets its context from the kernel, and tlswhy writes no packet.
unsafe impl Context for XdpContext {
    const SPLITS_HEADERS: bool = false;

    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the context is the one the program was called with.
        unsafe {
            (
                (&raw const (*self.ctx).data).read_volatile() as usize,
                (&raw const (*self.ctx).data_end).read_volatile() as usize,
            )
        }
    }

    #[inline(always)]
    unsafe fn load(&self, offset: u32, to: *mut u8, len: u32) -> i64 {
        // SAFETY: the caller's contract.
        unsafe { bpf_xdp_load_bytes(self.ctx, offset, to.cast(), len) }
    }

    #[inline(always)]
    fn frame_len(&self) -> usize {
        // SAFETY: the context is the one the program was called with.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    #[inline(always)]
    fn offloaded_vlan(&self) -> Option<u16> {
        None
    }
}

// SAFETY: a program gets its context from the kernel, and tlswhy writes no packet.
unsafe impl Context for TcContext {
    const SPLITS_HEADERS: bool = true;

    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        let skb = self.skb.skb;
        // SAFETY: the context is the one the program was called with, and the offsets are those of its fields.
        unsafe {
            (
                context_word::<{ offset_of!(__sk_buff, data) }, _>(skb),
                context_word::<{ offset_of!(__sk_buff, data_end) }, _>(skb),
            )
        }
    }

    #[inline(always)]
    unsafe fn load(&self, offset: u32, to: *mut u8, len: u32) -> i64 {
        // SAFETY: the caller's contract.
        unsafe { bpf_skb_load_bytes(self.as_ptr(), offset, to.cast(), len) }
    }

    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.len() as usize
    }

    #[inline(always)]
    fn offloaded_vlan(&self) -> Option<u16> {
        // SAFETY: the context is the one the program was called with.
        let skb = unsafe { &*self.skb.skb };
        (skb.vlan_present != 0).then_some(skb.vlan_tci as u16)
    }
}
