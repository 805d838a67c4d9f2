//! What a device is to the program that drives it: memory, launches, and the order in which they happen.

use super::error::DeviceError;
use crate::format::manifest::Launch;
use std::time::Duration;

/// Memory and launches of a device that a host program drives.
///
/// Uploads, downloads, copies and launches happen in the order of the calls, or as if they did. Launches and copies may
/// be done any time until [`synchronize`](Self::synchronize) returns; their failures may be returned by later calls.
pub trait Device {
    /// Takes memory, at a multiple of 256 bytes; its contents are arbitrary.
    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError>;

    /// Writes words to the device.
    fn upload(&mut self, to: u64, words: &[u32]) -> Result<(), DeviceError>;

    /// Reads words from the device.
    fn download(&mut self, from: u64, words: &mut [u32]) -> Result<(), DeviceError>;

    /// Copies within the device.
    fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError>;

    /// Runs a function on all blocks of a grid.
    fn launch(&mut self, launch: &Launch, parameters: &[u64]) -> Result<(), DeviceError>;

    /// Waits until everything is done.
    fn synchronize(&mut self) -> Result<(), DeviceError>;

    /// Bytes that can be allocated, where the device knows.
    fn free_bytes(&mut self) -> Result<Option<u64>, DeviceError> {
        Ok(None)
    }

    /// Tells how many bytes will be allocated in all, so that one piece of memory can hold them.
    fn reserve(&mut self, bytes: u64) -> Result<(), DeviceError> {
        let _ = bytes;
        Ok(())
    }

    /// Puts words into memory of the host that the device reads in place; returns the device's address of them.
    fn share(&mut self, words: &[u32]) -> Result<u64, DeviceError> {
        let address = self.allocate(words.len() as u64 * 4)?;
        self.upload(address, words)?;
        Ok(address)
    }

    /// Gives memory to keep copies of shared words in, for [`fetch`](Self::fetch).
    fn keep_copies(&mut self, start: u64, bytes: u64) -> Result<(), DeviceError> {
        let _ = (start, bytes);
        Ok(())
    }

    /// An address at which launches from now on find the words of a buffer, which may be a copy if they are shared.
    fn fetch(&mut self, address: u64, bytes: u64) -> Result<u64, DeviceError> {
        let _ = bytes;
        Ok(address)
    }

    /// Called before the program runs. A device that has recorded the launches of an earlier run replays them.
    fn begin(&mut self) -> Result<Begun, DeviceError> {
        Ok(Begun::Run)
    }

    /// Called after the program ran, unless its launches were replayed. `failed` says that a call of it failed.
    fn end(&mut self, failed: bool) -> Result<Ended, DeviceError> {
        let _ = failed;
        Ok(Ended::Done)
    }

    /// When each launch since [`begin`](Self::begin) started, from the start of the run, and how long it took; `None` if
    /// launches are not timed, or if each is done when its call returns. Called after [`synchronize`](Self::synchronize).
    fn launch_times(&mut self) -> Result<Option<Vec<(Duration, Duration)>>, DeviceError> {
        Ok(None)
    }

    /// The time of all launches since [`begin`](Self::begin) together by the device's own clock, where it has one.
    fn program_time(&mut self) -> Result<Option<Duration>, DeviceError> {
        Ok(None)
    }
}

/// What [`Device::begin`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: the program is to be run.
    Run,
    /// It has started the launches of an earlier run again.
    Replayed,
}

/// What [`Device::end`] made of the calls since [`Device::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// They are done, or under way.
    Done,
    /// They could not be recorded and nothing was done: the program is to be run again.
    Again,
}
