//! Global memory: allocations of the device, and memory of the host that its code may read.
//!
//! An address of the device is one of the process, so that emulated code can use it as it is. Allocations are apart, so
//! that an index beyond the end of one does not reach the next.

use super::shadow::Shadow;
use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    collections::BTreeMap,
};

/// Every allocation begins at a multiple of this.
const ALIGNMENT: usize = 256;
/// Bytes between allocations.
const GAP: usize = 4096;
/// What new memory holds.
const FRESH: u8 = 0xa5;

/// Bytes at an aligned address.
pub struct Bytes {
    pointer: *mut u8,
    layout: Layout,
}

// SAFETY: the bytes belong to this value alone.
unsafe impl Send for Bytes {}

impl Bytes {
    /// New memory, which holds no useful words; `None` if it would be too large.
    pub fn new(bytes: usize) -> Option<Self> {
        let size = bytes.checked_next_multiple_of(ALIGNMENT)?.checked_add(GAP)?;
        let layout = Layout::from_size_align(size, ALIGNMENT).ok()?;
        // SAFETY: the size is not 0.
        let pointer = unsafe { alloc(layout) };
        if pointer.is_null() {
            handle_alloc_error(layout);
        }
        let mut bytes = Self { pointer, layout };
        bytes.spoil();
        Some(bytes)
    }

    /// Fills the memory with no useful words.
    pub fn spoil(&mut self) {
        // SAFETY: the memory is this large.
        unsafe { self.pointer.write_bytes(FRESH, self.layout.size()) };
    }

    /// Where it begins.
    pub fn address(&self) -> u64 {
        self.pointer as u64
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.pointer, self.layout) };
    }
}

/// A range that may be accessed.
struct Range {
    bytes: u64,
    /// `None` for memory of the host, which may only be read.
    owned: Option<Bytes>,
    shadow: Shadow,
}

/// Why an access is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Outside every range.
    Outside,
    /// Memory of the host.
    ReadOnly,
}

/// All that may be accessed.
#[derive(Default)]
pub struct Memory {
    ranges: BTreeMap<u64, Range>,
}

impl Memory {
    /// New memory at an address of the device.
    pub fn allocate(&mut self, bytes: u64) -> Option<u64> {
        let owned = Bytes::new(usize::try_from(bytes).ok()?)?;
        let address = owned.address();
        self.ranges.insert(address, Range { bytes, owned: Some(owned), shadow: Shadow::default() });
        Some(address)
    }

    /// Lets code read memory of the host.
    pub fn map(&mut self, address: u64, bytes: u64) {
        self.ranges.insert(address, Range { bytes, owned: None, shadow: Shadow::default() });
    }

    /// The range around an access with the offset in it.
    fn range(&mut self, address: u64, bytes: u64) -> Option<(&mut Range, u64)> {
        let (start, range) = self.ranges.range_mut(..=address).next_back()?;
        let offset = address - start;
        let end = offset.checked_add(bytes)?;
        (end <= range.bytes).then_some((range, offset))
    }

    /// The record of accesses of the range, and the word in it, or why it may not be accessed.
    pub fn access(&mut self, address: u64, bytes: u32, write: bool) -> Result<(&mut Shadow, usize), Refusal> {
        let (range, offset) = self.range(address, bytes.into()).ok_or(Refusal::Outside)?;
        if write && range.owned.is_none() {
            return Err(Refusal::ReadOnly);
        }
        Ok((&mut range.shadow, (offset / 4) as usize))
    }

    /// Whether all these bytes may be written to by the host.
    fn writable(&mut self, address: u64, bytes: u64) -> bool {
        self.range(address, bytes).is_some_and(|(range, _)| range.owned.is_some())
    }

    /// Copies words to the device; false if they do not fit an allocation.
    pub fn upload(&mut self, to: u64, words: &[u32]) -> bool {
        let fits = self.writable(to, size_of_val(words) as u64);
        if fits {
            // SAFETY: the bytes are inside an allocation, and nobody else has a reference into it.
            unsafe {
                std::ptr::copy_nonoverlapping(words.as_ptr().cast::<u8>(), to as *mut u8, size_of_val(words))
            };
        }
        fits
    }

    /// Copies words from the device; false if they are not in an allocation.
    pub fn download(&mut self, from: u64, words: &mut [u32]) -> bool {
        let fits = self.writable(from, size_of_val(words) as u64);
        if fits {
            let (to, bytes) = (words.as_mut_ptr().cast::<u8>(), size_of_val(words));
            // SAFETY: as above.
            unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to, bytes) };
        }
        fits
    }

    /// Copies inside the device; false if either place is outside every allocation.
    pub fn copy(&mut self, to: u64, from: u64, bytes: u64) -> bool {
        let fits = self.writable(to, bytes) && self.writable(from, bytes);
        if fits {
            // SAFETY: both are inside allocations.
            unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes as usize) };
        }
        fits
    }
}
