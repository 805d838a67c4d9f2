//! Buffers for compiled code, and how much memory there is.

use crate::format::abi::ALIGNMENT;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Zeroed words at an aligned address.
pub struct Buffer {
    pointer: *mut u32,
    words: usize,
}

// SAFETY: a buffer owns its memory, as a vector does.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of so many words, all zero.
    pub fn new(words: usize) -> Self {
        let layout = Self::layout(words);
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) }.cast::<u32>();
        if pointer.is_null() {
            handle_alloc_error(layout);
        }
        Self { pointer, words }
    }

    fn layout(words: usize) -> Layout {
        let bytes = words.max(1).saturating_mul(4).next_multiple_of(ALIGNMENT);
        // A size beyond isize cannot be allocated; the allocator reports it as any other failure.
        Layout::from_size_align(bytes, ALIGNMENT).unwrap_or(Layout::new::<[u8; ALIGNMENT]>())
    }

    /// Its words.
    pub fn words(&self) -> &[u32] {
        // SAFETY: the buffer owns `words` initialised words.
        unsafe { std::slice::from_raw_parts(self.pointer, self.words) }
    }

    /// Its words, to change.
    pub fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: the buffer owns `words` initialised words, and is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.words) }
    }

    /// Its address.
    pub fn address(&self) -> *const u32 {
        self.pointer
    }

    /// Its address, to write through.
    pub fn address_mut(&mut self) -> *mut u32 {
        self.pointer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.pointer.cast(), Self::layout(self.words)) }
    }
}

/// Bytes of memory that can be had without swapping; `None` where the system does not say.
pub fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}
