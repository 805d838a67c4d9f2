//! Compiled code, loaded from bytes that were checked.
//!
//! The bytes go to an anonymous file in memory before they are opened: what runs is what was hashed, whatever happens
//! to a bundle's folder meanwhile.

use super::error::DeviceError;
use crate::format::abi::{ENTRY, Entry};
use libloading::{Library, Symbol};
use std::{
    ffi::CString,
    fs::File,
    io::Write,
    os::fd::{AsRawFd, FromRawFd},
};

/// A shared library.
pub struct LoadedCode {
    library: Library,
    /// Keeps the descriptor's number, under which the loader knows the library, from being used again.
    _file: File,
}

fn failed(error: &dyn std::fmt::Display) -> DeviceError {
    DeviceError::Code(error.to_string())
}

impl LoadedCode {
    /// Loads a shared library.
    ///
    /// # Safety
    /// It is trusted as code, and has no initialisers.
    pub unsafe fn load(code: &[u8]) -> Result<Self, DeviceError> {
        let name = CString::new("ceria-code").map_err(|e| failed(&e))?;
        // SAFETY: the name is a valid string.
        let descriptor = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(failed(&std::io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new and owned by nobody else.
        let mut file = unsafe { File::from_raw_fd(descriptor) };
        file.write_all(code).map_err(|e| failed(&e))?;
        // SAFETY: as the caller promises.
        let library =
            unsafe { Library::new(format!("/proc/self/fd/{}", file.as_raw_fd())) }.map_err(|e| failed(&e))?;
        Ok(Self { library, _file: file })
    }

    /// Something that the library exports.
    ///
    /// # Safety
    /// It has this type.
    pub unsafe fn get<T>(&self, name: &str) -> Result<Symbol<'_, T>, DeviceError> {
        // SAFETY: as the caller promises.
        unsafe { self.library.get::<T>(name.as_bytes()) }.map_err(|e| failed(&e))
    }
}

/// A loaded host program.
pub struct HostProgram {
    /// Its entry; valid as long as the library.
    pub entry: Entry,
    _code: LoadedCode,
}

impl HostProgram {
    /// Loads a shared library.
    pub fn load(code: &[u8]) -> Result<Self, DeviceError> {
        // SAFETY: bundles are code that the server trusts; compiled programs have no initialisers.
        let code = unsafe { LoadedCode::load(code) }?;
        // SAFETY: the manifest's version fixes the entry's type.
        let entry = *unsafe { code.get::<Entry>(ENTRY) }?;
        Ok(Self { entry, _code: code })
    }
}
