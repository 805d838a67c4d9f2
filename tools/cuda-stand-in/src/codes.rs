//! Results of the driver's functions.

use std::ffi::{CStr, c_char};

/// A result.
pub type Code = u32;

pub const SUCCESS: Code = 0;
pub const INVALID_VALUE: Code = 1;
pub const OUT_OF_MEMORY: Code = 2;
pub const NO_DEVICE: Code = 100;
pub const INVALID_DEVICE: Code = 101;
pub const INVALID_IMAGE: Code = 200;
pub const INVALID_CONTEXT: Code = 201;
pub const NO_BINARY_FOR_GPU: Code = 209;
pub const INVALID_PTX: Code = 218;
pub const INVALID_HANDLE: Code = 400;
pub const NOT_FOUND: Code = 500;
pub const ILLEGAL_ADDRESS: Code = 700;
pub const LAUNCH_OUT_OF_RESOURCES: Code = 701;
pub const STREAM_CAPTURE_UNSUPPORTED: Code = 900;
pub const STREAM_CAPTURE_INVALIDATED: Code = 901;
pub const STREAM_CAPTURE_UNJOINED: Code = 904;

/// Names and words.
const TEXTS: [(Code, &CStr, &CStr); 16] = [
    (SUCCESS, c"CUDA_SUCCESS", c"no error"),
    (INVALID_VALUE, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
    (OUT_OF_MEMORY, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
    (NO_DEVICE, c"CUDA_ERROR_NO_DEVICE", c"no device is detected"),
    (INVALID_DEVICE, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
    (INVALID_IMAGE, c"CUDA_ERROR_INVALID_IMAGE", c"the kernel image is invalid"),
    (INVALID_CONTEXT, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
    (NO_BINARY_FOR_GPU, c"CUDA_ERROR_NO_BINARY_FOR_GPU", c"there is no kernel image for this device"),
    (INVALID_PTX, c"CUDA_ERROR_INVALID_PTX", c"a PTX compilation failed"),
    (INVALID_HANDLE, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
    (NOT_FOUND, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
    (ILLEGAL_ADDRESS, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access happened"),
    (LAUNCH_OUT_OF_RESOURCES, c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"too many resources requested"),
    (STREAM_CAPTURE_UNSUPPORTED, c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", c"not permitted in a capture"),
    (STREAM_CAPTURE_INVALIDATED, c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", c"the capture is invalid"),
    (STREAM_CAPTURE_UNJOINED, c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED", c"a captured stream was not joined"),
];

/// Stores a text of a code.
unsafe fn store_text(
    code: Code,
    choose: impl Fn(&(Code, &'static CStr, &'static CStr)) -> &'static CStr,
    to: *mut *const c_char,
) -> Code {
    let Some(text) = TEXTS.iter().find(|text| text.0 == code).map(choose) else { return INVALID_VALUE };
    // SAFETY: as promised by the caller.
    unsafe { store(to, text.as_ptr()) }
}

/// Stores a value where the caller wants it.
///
/// # Safety
/// The address is null or that of a value of the type.
pub unsafe fn store<T>(to: *mut T, value: T) -> Code {
    if to.is_null() {
        return INVALID_VALUE;
    }
    // SAFETY: as promised by the caller.
    unsafe { *to = value };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(code: Code, name: *mut *const c_char) -> Code {
    // SAFETY: as promised by the caller.
    unsafe { store_text(code, |text| text.1, name) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(code: Code, words: *mut *const c_char) -> Code {
    // SAFETY: as promised by the caller.
    unsafe { store_text(code, |text| text.2, words) }
}
