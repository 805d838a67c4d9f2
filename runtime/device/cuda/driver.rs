//! The driver's API with its errors as ours, and what it owns as values that give it back.
//!
//! The driver's library is opened when the first device is, never linked. All functions called here are in every driver
//! since CUDA 11.4, and each is looked up when it is first called.

use crate::device::error::DeviceError;
use cudarc::driver::sys::{self, CUcontext, CUdevice, CUdevice_attribute, CUresult};
use std::{
    ffi::{CStr, c_void},
    fmt::Display,
    marker::PhantomData,
    ptr::null_mut,
};

/// The driver's words and name for an error.
pub fn reason(result: CUresult) -> String {
    let text = |get: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult| {
        let mut text = std::ptr::null();
        // SAFETY: the driver stores the address of a string that is never freed, or null.
        unsafe {
            get(result, &mut text);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    };
    match (text(sys::cuGetErrorString), text(sys::cuGetErrorName)) {
        (Some(words), Some(name)) => format!("{words} ({name})"),
        _ => format!("error {}", result as u32),
    }
}

/// An error unless the driver did what it was to do.
pub fn check(result: CUresult, action: impl Display) -> Result<(), DeviceError> {
    match result {
        CUresult::CUDA_SUCCESS => Ok(()),
        _ => Err(DeviceError::Driver { action: action.to_string(), reason: reason(result) }),
    }
}

/// Whether a device cannot be used any more after this.
pub fn is_fatal(result: CUresult) -> bool {
    use CUresult::*;
    matches!(
        result,
        CUDA_ERROR_ILLEGAL_ADDRESS
            | CUDA_ERROR_LAUNCH_TIMEOUT
            | CUDA_ERROR_ASSERT
            | CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUDA_ERROR_MISALIGNED_ADDRESS
            | CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUDA_ERROR_INVALID_PC
            | CUDA_ERROR_LAUNCH_FAILED
            | CUDA_ERROR_ECC_UNCORRECTABLE
            | CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUDA_ERROR_DEVICE_UNAVAILABLE
            | CUDA_ERROR_EXTERNAL_DEVICE
            | CUDA_ERROR_UNKNOWN
    )
}

/// Fails unless there is a driver.
pub fn require_driver() -> Result<(), DeviceError> {
    // SAFETY: opening the driver's library runs its initialisers, which is what it is opened for.
    if unsafe { sys::is_culib_present() } { Ok(()) } else { Err(DeviceError::NoDriver) }
}

/// A device's primary context.
pub struct Context {
    device: CUdevice,
    raw: CUcontext,
    /// The device's name and architecture.
    pub description: String,
    /// The device's architecture: 90 for sm_90.
    pub arch: u32,
}

impl Context {
    /// Opens the driver and counts devices.
    pub fn count() -> Result<u32, DeviceError> {
        require_driver()?;
        let none = || DeviceError::NoDevice("its driver finds none".into());
        // SAFETY: this is the first call that the driver wants.
        let started = unsafe { sys::cuInit(0) };
        match started {
            CUresult::CUDA_SUCCESS => {}
            CUresult::CUDA_ERROR_NO_DEVICE => return Err(none()),
            _ => {
                return Err(DeviceError::NoDevice(format!("its driver does not start: {}", reason(started))));
            }
        }
        let mut count = 0;
        // SAFETY: the address is that of an integer.
        check(unsafe { sys::cuDeviceGetCount(&mut count) }, "count devices")?;
        u32::try_from(count).ok().filter(|&count| count > 0).ok_or_else(none)
    }

    /// Opens the driver and a device.
    pub fn open(ordinal: u32) -> Result<Self, DeviceError> {
        let count = Self::count()?;
        if ordinal >= count {
            let have = if count == 1 { "one: 0".into() } else { format!("{count}: 0 to {}", count - 1) };
            return Err(DeviceError::NoDevice(format!(
                "device {ordinal} does not exist, the machine has {have}"
            )));
        }
        let (mut device, mut raw) = (0, null_mut());
        // SAFETY: the addresses are those of values of the right types.
        unsafe {
            check(sys::cuDeviceGet(&mut device, ordinal as i32), format_args!("find device {ordinal}"))?;
            check(sys::cuDevicePrimaryCtxRetain(&mut raw, device), format_args!("open device {ordinal}"))?;
        }
        let mut context = Self { device, raw, description: String::new(), arch: 0 };
        context.enter()?;
        let [major, minor] = [
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        ]
        .map(|attribute| context.attribute(attribute));
        context.arch = (major? * 10 + minor?) as u32;
        context.description = format!("{} (sm_{})", context.name()?, context.arch);
        Ok(context)
    }

    /// Makes the context that of this thread.
    pub fn enter(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is open.
        check(unsafe { sys::cuCtxSetCurrent(self.raw) }, "use the device")
    }

    /// The device's name.
    pub fn name(&self) -> Result<String, DeviceError> {
        let mut name = [0; 256];
        // SAFETY: the driver writes at most as many bytes, with a zero at the end.
        check(unsafe { sys::cuDeviceGetName(name.as_mut_ptr(), 255, self.device) }, "name the device")?;
        // SAFETY: the last byte is zero.
        Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
    }

    /// A number that the driver knows of the device.
    pub fn attribute(&self, attribute: CUdevice_attribute) -> Result<i32, DeviceError> {
        let mut value = 0;
        // SAFETY: the address is that of an integer.
        let result = unsafe { sys::cuDeviceGetAttribute(&mut value, attribute, self.device) };
        check(result, "describe the device").map(|()| value)
    }

    /// Bytes of the device's memory that are free.
    pub fn free_bytes(&self) -> Result<u64, DeviceError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: the addresses are those of sizes.
        check(unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) }, "tell its memory's size")?;
        Ok(free as u64)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was retained once.
        unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// Something of the driver's that is given back by a function of its.
pub struct Owned<T: Copy> {
    /// The driver's handle.
    pub raw: T,
    give_back: unsafe fn(T) -> CUresult,
    /// Handles belong to a context, which belongs to a thread at a time.
    _not_sync: PhantomData<*mut c_void>,
}

impl<T: Copy> Owned<T> {
    /// Takes what `make` stores.
    ///
    /// # Safety
    /// `make` has to store a handle that `give_back` is for, or fail.
    pub unsafe fn new(
        empty: T,
        make: impl FnOnce(&mut T) -> CUresult,
        give_back: unsafe fn(T) -> CUresult,
        action: impl Display,
    ) -> Result<Self, DeviceError> {
        let mut raw = empty;
        check(make(&mut raw), action)?;
        Ok(Self { raw, give_back, _not_sync: PhantomData })
    }
}

impl<T: Copy> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that the two fit; a failure means that the context is gone, and all with it.
        unsafe { (self.give_back)(self.raw) };
    }
}

/// A stream.
pub type Stream = Owned<sys::CUstream>;

/// A stream that waits for no other.
pub fn stream() -> Result<Stream, DeviceError> {
    let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
    // SAFETY: streams are destroyed by this.
    unsafe {
        Owned::new(null_mut(), |s| sys::cuStreamCreate(s, flags), sys::cuStreamDestroy_v2, "make a stream")
    }
}

/// An event.
pub type Event = Owned<sys::CUevent>;

/// An event; it knows its time if `timed`.
pub fn event(timed: bool) -> Result<Event, DeviceError> {
    let flags = if timed {
        sys::CUevent_flags_enum::CU_EVENT_DEFAULT
    } else {
        sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING
    };
    let make = |e: &mut sys::CUevent| {
        // SAFETY: the address is that of a handle.
        unsafe { sys::cuEventCreate(e, flags as u32) }
    };
    // SAFETY: events are destroyed by this.
    unsafe { Owned::new(null_mut(), make, sys::cuEventDestroy_v2, "make an event") }
}

/// Milliseconds from one event to another, both of which have happened.
pub fn elapsed(from: &Event, to: &Event) -> Result<f64, DeviceError> {
    let mut milliseconds = 0f32;
    // SAFETY: both events exist.
    let result = unsafe { sys::cuEventElapsedTime(&mut milliseconds, from.raw, to.raw) };
    check(result, "tell the time between two events").map(|()| f64::from(milliseconds))
}

/// A piece of the device's memory.
pub type DeviceMemory = Owned<sys::CUdeviceptr>;

/// Takes memory of the device.
pub fn device_memory(bytes: u64) -> Result<DeviceMemory, DeviceError> {
    let action = format_args!("allocate {} MiB of its memory", bytes.div_ceil(1 << 20)).to_string();
    // SAFETY: memory of the device is freed by this.
    unsafe { Owned::new(0, |p| sys::cuMemAlloc_v2(p, bytes.max(1) as usize), sys::cuMemFree_v2, action) }
}

/// Words of the host's memory that stay in place, so that devices can read and write them.
pub struct PinnedMemory {
    memory: Owned<*mut c_void>,
    words: usize,
}

impl PinnedMemory {
    /// Takes memory; the device can read it in place if `mapped`.
    pub fn new(words: usize, mapped: bool) -> Result<Self, DeviceError> {
        let flags = if mapped { sys::CU_MEMHOSTALLOC_DEVICEMAP } else { 0 };
        let bytes = words.max(1) * 4;
        let action = format!("pin {} MiB of this machine's memory", bytes.div_ceil(1 << 20));
        // SAFETY: pinned memory is freed by this.
        let memory = unsafe {
            Owned::new(null_mut(), |p| sys::cuMemHostAlloc(p, bytes, flags), sys::cuMemFreeHost, action)?
        };
        Ok(Self { memory, words })
    }

    /// The words.
    pub fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: the memory holds as many words; who lets the device use it waits for the device before.
        unsafe { std::slice::from_raw_parts_mut(self.memory.raw.cast(), self.words) }
    }

    /// The host's address.
    pub fn address(&self) -> *mut c_void {
        self.memory.raw
    }

    /// The device's address of mapped memory.
    pub fn device_address(&self) -> Result<u64, DeviceError> {
        let mut address = 0;
        // SAFETY: the memory is mapped.
        let result = unsafe { sys::cuMemHostGetDevicePointer_v2(&mut address, self.memory.raw, 0) };
        check(result, "map this machine's memory").map(|()| address)
    }
}
