//! Buffers for compiled code, and how much memory there is.

use crate::format::abi::ALIGNMENT;
use memmap2::{Advice, MmapMut};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Buffers of at least this many bytes are mapped, on huge pages where the system has them: programs read dozens of
/// limbs side by side and permute words of whole limbs, which is too much for the cache of addresses of small pages.
const MAPPED: usize = 2 << 20;

/// Zeroed words at an aligned address. Memory is taken when it is first written.
pub struct Buffer {
    pointer: *mut u32,
    words: usize,
    /// Owns the memory; without it the allocator does.
    mapping: Option<MmapMut>,
}

// SAFETY: a buffer owns its memory, as a vector does.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of so many words, all zero.
    pub fn new(words: usize) -> Self {
        let layout = Self::layout(words);
        if layout.size() >= MAPPED {
            let Ok(mut mapping) = MmapMut::map_anon(layout.size()) else { handle_alloc_error(layout) };
            // Where the advice is not taken, pages are small.
            let _ = mapping.advise(Advice::HugePage);
            return Self { pointer: mapping.as_mut_ptr().cast(), words, mapping: Some(mapping) };
        }
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) }.cast::<u32>();
        if pointer.is_null() {
            handle_alloc_error(layout);
        }
        Self { pointer, words, mapping: None }
    }

    /// Takes the buffer's memory now, so that runs do not wait for it.
    pub fn populate(&self) {
        if let Some(mapping) = &self.mapping {
            // Where the advice is not known, memory is taken when it is first written.
            let _ = mapping.advise(Advice::PopulateWrite);
        }
    }

    fn layout(words: usize) -> Layout {
        let bytes = words.max(1).saturating_mul(4);
        let bytes = bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(bytes);
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
        if self.mapping.is_none() {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(self.pointer.cast(), Self::layout(self.words)) }
        }
    }
}

/// Bytes of memory that can be had without swapping; `None` where the system does not say.
pub fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}
