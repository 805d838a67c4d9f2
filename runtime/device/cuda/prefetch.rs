//! Tables that do not fit on the device, brought there ahead of their use.
//!
//! Such tables lie in pinned memory of the host. A launch that reads a part of one gets a copy of it in a ring of the
//! device's memory; the copy is made by the stream of uploads, which has nothing to wait for but the launches that still
//! read what it overwrites, and so runs ahead of the program. A part that is still in the ring is not copied again. A
//! part that is larger than half the ring is read in place, over the bus.

use super::driver::{Event, Stream, check, event};
use crate::device::{error::DeviceError, placement::padded};
use cudarc::driver::sys;
use std::{collections::VecDeque, ffi::c_void};

/// Pinned memory of the host.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// The device's address of it.
    pub device: u64,
    /// The host's.
    pub host: *mut c_void,
    /// Its bytes.
    pub bytes: u64,
}

/// A copy of a part of a table.
struct Copy {
    from: u64,
    bytes: u64,
    at: u64,
    /// When the last launch that reads it is done.
    used: Option<Event>,
    /// Whether the next launch reads it.
    wanted: bool,
}

/// A ring of copies.
pub struct Prefetch {
    start: u64,
    size: u64,
    head: u64,
    /// In the order in which they were made.
    copies: VecDeque<Copy>,
    /// Copies made since the program began.
    pub made: usize,
}

impl Prefetch {
    /// A ring in this memory of the device.
    pub fn new(start: u64, size: u64) -> Self {
        Self { start, size, head: 0, copies: VecDeque::new(), made: 0 }
    }

    /// Forgets all copies: what a captured program finds in the ring is what it puts there itself.
    pub fn clear(&mut self) {
        self.copies.clear();
        self.head = 0;
        self.made = 0;
    }

    /// A place for so many bytes, or `None` if they are too many.
    fn place(&mut self, bytes: u64) -> Option<u64> {
        let bytes = padded(bytes);
        if bytes > self.size / 2 {
            return None;
        }
        if self.head + bytes > self.size {
            self.head = 0;
        }
        let at = self.start + self.head;
        self.head += bytes;
        Some(at)
    }

    /// The device's address of a copy of `bytes` bytes at an address of shared memory; launches of `program` that are
    /// made from now on find it whole.
    pub fn fetch(
        &mut self,
        from: u64,
        bytes: u64,
        shared: &[Shared],
        uploads: &Stream,
        program: &Stream,
    ) -> Result<u64, DeviceError> {
        if let Some(copy) = self.copies.iter_mut().find(|copy| (copy.from, copy.bytes) == (from, bytes)) {
            copy.wanted = true;
            return Ok(copy.at);
        }
        let inside = |s: &&Shared| from >= s.device && bytes <= s.bytes && from - s.device <= s.bytes - bytes;
        let Some(source) = shared.iter().find(inside) else { return Ok(from) };
        let Some(at) = self.place(bytes) else { return Ok(from) };
        let end = at + padded(bytes);
        let overlaps = |copy: &Copy| copy.at < end && at < copy.at + padded(copy.bytes);
        if self.copies.iter().any(|copy| copy.wanted && overlaps(copy)) {
            return Ok(from);
        }
        for copy in self.copies.iter().filter(|copy| overlaps(copy)) {
            if let Some(used) = &copy.used {
                // SAFETY: both exist.
                let result = unsafe { sys::cuStreamWaitEvent(uploads.raw, used.raw, 0) };
                check(result, "wait for launches")?;
            }
        }
        self.copies.retain(|copy| !overlaps(copy));
        let ready = event(false)?;
        // SAFETY: the bytes are inside the shared memory and inside the ring.
        unsafe {
            let host = source.host.byte_add((from - source.device) as usize);
            check(
                sys::cuMemcpyHtoDAsync_v2(at, host, bytes as usize, uploads.raw),
                format_args!("bring {bytes} bytes of a table to the device"),
            )?;
            check(sys::cuEventRecord(ready.raw, uploads.raw), "record an event")?;
            check(sys::cuStreamWaitEvent(program.raw, ready.raw, 0), "wait for a table")?;
        }
        self.copies.push_back(Copy { from, bytes, at, used: None, wanted: true });
        self.made += 1;
        Ok(at)
    }

    /// Notes that the last launch reads these parameters.
    pub fn launched(&mut self, parameters: &[u64], program: &Stream) -> Result<(), DeviceError> {
        for copy in self.copies.iter_mut().filter(|copy| parameters.contains(&copy.at)) {
            // A new event each time: in a capture, those of earlier launches have been waited for as they were.
            let used = event(false)?;
            // SAFETY: both exist.
            check(unsafe { sys::cuEventRecord(used.raw, program.raw) }, "record an event")?;
            copy.used = Some(used);
            copy.wanted = false;
        }
        Ok(())
    }
}
