//! Compiled code, loaded from bytes that were checked.
//!
//! The bytes go to an anonymous file in memory before they are opened: what runs is what was hashed, whatever happens
//! to the bundle's folder meanwhile.

use super::error::DeviceError;
use crate::format::abi::{ENTRY, Entry};
use libloading::Library;
use std::{
    ffi::CString,
    fs::File,
    io::Write,
    os::fd::{AsRawFd, FromRawFd},
};

/// A loaded host program.
pub struct HostProgram {
    /// Its entry; valid as long as the library.
    pub entry: Entry,
    _library: Library,
    /// Keeps the descriptor's number, under which the loader knows the library, from being used again.
    _file: File,
}

impl HostProgram {
    /// Loads a shared library.
    pub fn load(code: &[u8]) -> Result<Self, DeviceError> {
        let failed = |error: &dyn std::fmt::Display| DeviceError::Code(error.to_string());
        let name = CString::new("ceria-host").map_err(|e| failed(&e))?;
        // SAFETY: the name is a valid string.
        let descriptor = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(failed(&std::io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new and owned by nobody else.
        let mut file = unsafe { File::from_raw_fd(descriptor) };
        file.write_all(code).map_err(|e| failed(&e))?;
        // SAFETY: bundles are code that the server trusts; compiled programs have no initialisers.
        let library =
            unsafe { Library::new(format!("/proc/self/fd/{}", file.as_raw_fd())) }.map_err(|e| failed(&e))?;
        // SAFETY: the manifest's version fixes the entry's type.
        let entry = *unsafe { library.get::<Entry>(ENTRY.as_bytes()) }.map_err(|e| failed(&e))?;
        Ok(Self { entry, _library: library, _file: file })
    }
}
