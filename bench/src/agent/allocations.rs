//! Counts allocations from the heap.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mimalloc::MiMalloc;

/// The agent's allocator, with a count of allocations.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Exact while one thread allocates, as where it is read here; then it costs next to nothing.
static COUNT: AtomicU64 = AtomicU64::new(0);

fn count() {
    COUNT.store(COUNT.load(Relaxed).wrapping_add(1), Relaxed);
}

// SAFETY: every call goes to the agent's allocator unchanged, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's duties are those of the agent's allocator.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: likewise.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: likewise.
        unsafe { MiMalloc.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: likewise.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }
}

/// Allocations so far, growing ones included.
pub(super) fn so_far() -> u64 {
    COUNT.load(Relaxed)
}
