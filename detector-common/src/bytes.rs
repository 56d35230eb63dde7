//! Big-endian fields of fixed windows of bytes, without a panicking path: the kernel has none.

/// Returns `M` bytes at `at` of a window of `N`; zeros if they exceed it.
///
/// Offsets are constants at every call, so the check is decided by the compiler.
#[inline(always)]
pub fn field<const N: usize, const M: usize>(window: &[u8; N], at: usize) -> [u8; M] {
    match window.get(at..).and_then(|rest| rest.first_chunk::<M>()) {
        Some(bytes) => *bytes,
        None => [0; M],
    }
}

/// Returns the byte at `at`.
#[inline(always)]
pub fn u8_at<const N: usize>(window: &[u8; N], at: usize) -> u8 {
    u8::from_be_bytes(field(window, at))
}

/// Returns the big-endian 16-bit number at `at`.
#[inline(always)]
pub fn be16<const N: usize>(window: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes(field(window, at))
}

/// Returns the big-endian 32-bit number at `at`.
#[inline(always)]
pub fn be32<const N: usize>(window: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes(field(window, at))
}

/// Returns the big-endian 48-bit number at `at`.
#[inline(always)]
pub fn be48<const N: usize>(window: &[u8; N], at: usize) -> u64 {
    (u64::from(be32(window, at)) << 16) | u64::from(be16(window, at + 4))
}

/// Returns the big-endian 64-bit number at `at`.
#[inline(always)]
pub fn be64<const N: usize>(window: &[u8; N], at: usize) -> u64 {
    u64::from_be_bytes(field(window, at))
}
