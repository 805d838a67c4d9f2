//! The device's memory: pieces of this machine's.

use ceria_lowering::kernel_to_nvvm::emulator::memory::Memory as Emulated;
use std::{
    alloc::{Layout, alloc, dealloc},
    collections::BTreeMap,
};

/// Every piece begins at a multiple of this.
const ALIGNMENT: usize = 256;

/// What new memory holds, so that words that nobody wrote are not zero by chance.
const FRESH: u8 = 0xa5;

/// Where a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The device's.
    Device,
    /// The host's, which stays in place.
    Pinned,
    /// The host's, which the device may access.
    Mapped,
}

/// All pieces by their addresses.
pub struct Memory {
    pieces: BTreeMap<u64, (usize, Kind)>,
    /// Bytes that the device has.
    pub size: usize,
    used: usize,
    /// What emulated code may access: the device's pieces, which stay until the end, and the host's.
    pub emulated: Emulated,
}

impl Memory {
    /// Memory of so many bytes.
    pub fn new(size: usize) -> Self {
        Self { pieces: BTreeMap::new(), size, used: 0, emulated: Emulated::default() }
    }

    /// Bytes of the device that are free.
    pub fn free(&self) -> usize {
        self.size - self.used
    }

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.max(1).checked_next_multiple_of(ALIGNMENT)?, ALIGNMENT).ok()
    }

    /// Takes a piece.
    pub fn allocate(&mut self, bytes: usize, kind: Kind) -> Option<u64> {
        let layout = Self::layout(bytes)?;
        if kind == Kind::Device {
            self.used = self.used.checked_add(layout.size()).filter(|&used| used <= self.size)?;
            let address = self.emulated.allocate(bytes as u64)?;
            self.pieces.insert(address, (bytes, kind));
            return Some(address);
        }
        // SAFETY: the size is not zero.
        let address = unsafe { alloc(layout) };
        if address.is_null() {
            return None;
        }
        // SAFETY: it is as large.
        unsafe { address.write_bytes(FRESH, layout.size()) };
        if kind == Kind::Mapped {
            self.emulated.map(address as u64, bytes as u64);
        }
        self.pieces.insert(address as u64, (bytes, kind));
        Some(address as u64)
    }

    /// Gives a piece back; false if there is none at the address.
    pub fn release(&mut self, address: u64) -> bool {
        let Some((bytes, kind)) = self.pieces.remove(&address) else { return false };
        let Some(layout) = Self::layout(bytes) else { return false };
        if kind == Kind::Device {
            self.used -= layout.size();
            return true;
        }
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(address as *mut u8, layout) };
        true
    }

    fn has(&self, address: u64, bytes: usize, kinds: &[Kind]) -> bool {
        self.pieces.range(..=address).next_back().is_some_and(|(start, (size, kind))| {
            let offset = (address - start) as usize;
            kinds.contains(kind) && offset <= *size && bytes <= size - offset
        })
    }

    /// Whether the device may access these bytes.
    pub fn on_device(&self, address: u64, bytes: usize) -> bool {
        self.has(address, bytes, &[Kind::Device, Kind::Mapped])
    }

    /// Whether these bytes are the host's and stay in place, so that they may be copied while the host goes on.
    pub fn is_pinned(&self, address: u64, bytes: usize) -> bool {
        self.has(address, bytes, &[Kind::Pinned, Kind::Mapped])
    }
}
