//! Words on their way to and from a device, through memory that stays in place.
//!
//! The driver copies from ordinary memory by way of its own pinned memory, and waits. Through two pieces of our own the
//! next words are copied, or made, while the device fetches the last.

use super::driver::{Event, PinnedMemory, Stream, check, event};
use crate::device::error::DeviceError;
use cudarc::driver::sys;

/// Words of a piece: 16 MiB.
const WORDS: usize = 4 << 20;

/// A piece, and when the device is done with it.
struct Piece {
    memory: PinnedMemory,
    done: Event,
    used: bool,
}

impl Piece {
    fn new() -> Result<Self, DeviceError> {
        Ok(Self { memory: PinnedMemory::new(WORDS, false)?, done: event(false)?, used: false })
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        if std::mem::take(&mut self.used) {
            // SAFETY: the event exists.
            check(unsafe { sys::cuEventSynchronize(self.done.raw) }, "finish an upload")?;
        }
        Ok(())
    }

    fn mark(&mut self, stream: &Stream) -> Result<(), DeviceError> {
        self.used = true;
        // SAFETY: the event and the stream exist.
        check(unsafe { sys::cuEventRecord(self.done.raw, stream.raw) }, "record an event")
    }
}

/// Two pieces of pinned memory in turn.
pub struct Staging {
    pieces: [Piece; 2],
    next: usize,
}

impl Staging {
    /// Takes the memory.
    pub fn new() -> Result<Self, DeviceError> {
        Ok(Self { pieces: [Piece::new()?, Piece::new()?], next: 0 })
    }

    fn turn(&mut self) -> Result<&mut Piece, DeviceError> {
        self.next ^= 1;
        let piece = &mut self.pieces[self.next];
        piece.wait()?;
        Ok(piece)
    }

    /// Starts to write words to the device; the words may be changed at once.
    pub fn upload(&mut self, to: u64, words: &[u32], stream: &Stream) -> Result<(), DeviceError> {
        let mut to = to;
        for part in words.chunks(WORDS) {
            let piece = self.turn()?;
            piece.memory.words_mut()[..part.len()].copy_from_slice(part);
            let bytes = size_of_val(part);
            // SAFETY: the piece holds the words until the event recorded after the copy.
            let result = unsafe { sys::cuMemcpyHtoDAsync_v2(to, piece.memory.address(), bytes, stream.raw) };
            check(result, format_args!("upload {bytes} bytes"))?;
            piece.mark(stream)?;
            to += bytes as u64;
        }
        Ok(())
    }

    /// Reads words from the device.
    pub fn download(&mut self, from: u64, words: &mut [u32], stream: &Stream) -> Result<(), DeviceError> {
        let mut from = from;
        for part in words.chunks_mut(WORDS) {
            let piece = self.turn()?;
            let bytes = size_of_val(part);
            // SAFETY: the piece has room for the words.
            let result =
                unsafe { sys::cuMemcpyDtoHAsync_v2(piece.memory.address(), from, bytes, stream.raw) };
            check(result, format_args!("download {bytes} bytes"))?;
            piece.mark(stream)?;
            piece.wait()?;
            part.copy_from_slice(&piece.memory.words_mut()[..part.len()]);
            from += bytes as u64;
        }
        Ok(())
    }
}
