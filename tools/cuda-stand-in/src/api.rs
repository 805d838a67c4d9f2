//! Devices, contexts, memory and code.

use crate::{
    codes::*,
    fault::Fault,
    image,
    memory::Kind,
    state::{State, state},
};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

/// The handle of the only context.
const CONTEXT: u64 = 8;

/// Attributes of devices that the runtime asks for.
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;
const MULTIPROCESSORS: c_int = 16;

/// Options of the compiler.
const ERROR_LOG: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;

/// Memory of the host that the device may access.
const DEVICE_MAP: c_uint = 2;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(_flags: c_uint) -> Code {
    if state().fault == Some(Fault::NoDevice) { NO_DEVICE } else { SUCCESS }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Code {
    // SAFETY: the driver's contract.
    unsafe { store(version, 12090) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Code {
    // SAFETY: the driver's contract.
    unsafe { store(count, 1) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Code {
    if ordinal != 0 {
        return INVALID_DEVICE;
    }
    // SAFETY: the driver's contract.
    unsafe { store(device, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) -> Code {
    const NAME: &CStr = c"stand-in";
    if device != 0 || (length as usize) < NAME.count_bytes() + 1 {
        return INVALID_VALUE;
    }
    // SAFETY: the driver's contract; the name fits.
    unsafe { std::ptr::copy_nonoverlapping(NAME.as_ptr(), name, NAME.count_bytes() + 1) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) -> Code {
    let arch = state().arch;
    let found = match attribute {
        COMPUTE_CAPABILITY_MAJOR => arch / 10,
        COMPUTE_CAPABILITY_MINOR => arch % 10,
        MULTIPROCESSORS => 1,
        _ => return INVALID_VALUE,
    };
    // SAFETY: the driver's contract.
    unsafe { store(value, found) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut u64, device: c_int) -> Code {
    if device != 0 {
        return INVALID_DEVICE;
    }
    // SAFETY: the driver's contract.
    unsafe { store(context, CONTEXT) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(_device: c_int) -> Code {
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: u64) -> Code {
    if context == CONTEXT { SUCCESS } else { INVALID_CONTEXT }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    let (available, size) = {
        let state = state();
        (state.memory.free(), state.memory.size)
    };
    // SAFETY: the driver's contract.
    unsafe {
        store(free, available);
        store(total, size)
    }
}

/// Takes memory.
unsafe fn allocate(to: *mut u64, bytes: usize, kind: Kind) -> Code {
    let mut state = state();
    if kind == Kind::Device && state.fault == Some(Fault::OutOfMemory) {
        return OUT_OF_MEMORY;
    }
    let Some(address) = state.memory.allocate(bytes, kind) else { return OUT_OF_MEMORY };
    // SAFETY: as promised by the caller.
    unsafe { store(to, address) }
}

fn release(address: u64) -> Code {
    let mut state = state();
    // What waits may still use the memory.
    let streams: Vec<u64> = state.streams.keys().copied().collect();
    for stream in streams {
        state.drain(stream, None);
    }
    if state.memory.release(address) { SUCCESS } else { INVALID_VALUE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> Code {
    // SAFETY: the driver's contract.
    unsafe { allocate(address, bytes, Kind::Device) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: u64) -> Code {
    release(address)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(address: *mut u64, bytes: usize, flags: c_uint) -> Code {
    let kind = if flags & DEVICE_MAP == 0 { Kind::Pinned } else { Kind::Mapped };
    // SAFETY: the driver's contract.
    unsafe { allocate(address, bytes, kind) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(address: u64) -> Code {
    release(address)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetDevicePointer_v2(to: *mut u64, address: u64, _flags: c_uint) -> Code {
    if !state().memory.on_device(address, 1) {
        return INVALID_VALUE;
    }
    // SAFETY: the driver's contract.
    unsafe { store(to, address) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut u64,
    text: *const c_char,
    count: c_uint,
    options: *const c_int,
    values: *const *mut c_void,
) -> Code {
    let mut state = state();
    if state.fault == Some(Fault::Architecture) {
        return NO_BINARY_FOR_GPU;
    }
    let fault = state.fault == Some(Fault::Compile);
    // SAFETY: the driver's contract; the stand-in takes only text.
    let text = unsafe { image::text(text) };
    let read = if fault {
        Err("line 7; error: not a mnemonic".into())
    } else if text.contains("gpu.module") {
        image::emulated(&text).map(|(code, functions)| {
            state.code = Some(code);
            functions
        })
    } else {
        image::functions(&text)
    };
    match read {
        Ok(functions) => {
            let handle = state.handle();
            state.modules.insert(handle, functions);
            // SAFETY: the driver's contract.
            unsafe { store(module, handle) }
        }
        Err(problem) => {
            // SAFETY: the driver's contract.
            unsafe { log(&problem, count, options, values) };
            INVALID_PTX
        }
    }
}

/// Writes what is wrong where the caller wants it.
unsafe fn log(problem: &str, count: c_uint, options: *const c_int, values: *const *mut c_void) {
    // SAFETY: as promised by the caller.
    let given: Vec<(c_int, *mut c_void)> =
        (0..count as usize).map(|i| unsafe { (*options.add(i), *values.add(i)) }).collect();
    let value = |wanted: c_int| given.iter().find(|(option, _)| *option == wanted).map(|(_, value)| *value);
    if let (Some(to), Some(room)) = (value(ERROR_LOG), value(ERROR_LOG_BYTES))
        && problem.len() < room as usize
    {
        // SAFETY: the text and a zero fit.
        unsafe {
            std::ptr::copy_nonoverlapping(problem.as_ptr(), to.cast(), problem.len());
            *to.cast::<u8>().add(problem.len()) = 0;
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: u64) -> Code {
    if state().modules.remove(&module).is_some() { SUCCESS } else { INVALID_HANDLE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(to: *mut u64, module: u64, name: *const c_char) -> Code {
    let mut state = state();
    // SAFETY: the driver's contract.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let Some(functions) = state.modules.get(&module) else { return INVALID_HANDLE };
    let Some(function) = functions.get(name.as_ref()).cloned() else { return NOT_FOUND };
    let handle = state.handle();
    state.functions.insert(handle, function);
    // SAFETY: the driver's contract.
    unsafe { store(to, handle) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(function: u64, _attribute: c_int, _value: c_int) -> Code {
    if state().functions.contains_key(&function) { SUCCESS } else { INVALID_HANDLE }
}

impl State {
    /// Whether a parameter is a number or an address that the device may access: numbers are small, addresses not.
    pub fn is_parameter(&self, value: u64) -> bool {
        value < 1 << 32 || self.memory.on_device(value, 1)
    }
}
