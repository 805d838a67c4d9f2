//! The bundle's device code, loaded.

use super::driver::{Context, Owned, check, reason};
use crate::device::{bundle::Bundle, error::DeviceError};
use crate::format::manifest::{DeviceCode, Launch, Manifest};
use cudarc::driver::sys::{self, CUfunction, CUfunction_attribute, CUjit_option, CUresult};
use std::{
    collections::HashMap,
    ffi::{CString, c_void},
    ptr::null_mut,
};

/// Bytes of what the driver's compiler may say.
const LOG_BYTES: usize = 8192;

/// Functions ask for more shared memory than this by an attribute.
const SHARED_BYTES: u32 = 48 << 10;

/// A loaded module and its functions.
pub struct Module {
    functions: HashMap<String, CUfunction>,
    /// The bundle's file that was loaded.
    pub file: String,
    /// Owns the functions.
    _module: Owned<sys::CUmodule>,
}

impl Module {
    /// Loads the code of a bundle for a device: what was assembled for it, else what its driver compiles.
    pub fn load(context: &Context, bundle: &Bundle, code: &DeviceCode) -> Result<Self, DeviceError> {
        let file = choose(code, context.arch);
        let mut image = bundle.read(file)?.to_vec();
        // The text of code to compile ends in a zero.
        image.push(0);
        let module = load_image(context, &image, file == code.ptx)?;
        let mut functions = HashMap::new();
        for launch in launches(&bundle.manifest) {
            if !functions.contains_key(&launch.symbol) {
                functions.insert(launch.symbol.clone(), function(&module, launch)?);
            }
        }
        Ok(Self { functions, file: file.into(), _module: module })
    }

    /// A function by its name.
    pub fn function(&self, symbol: &str) -> Result<CUfunction, DeviceError> {
        let found = self.functions.get(symbol).copied();
        found.ok_or_else(|| DeviceError::Code(format!("it has no device function {symbol}")))
    }
}

fn launches(manifest: &Manifest) -> impl Iterator<Item = &Launch> {
    manifest.kernels.iter().flat_map(|kernel| &kernel.launches)
}

/// The file to load on a device: code for just its architecture or for an older one of its generation, whose code it
/// runs; else the text.
fn choose(code: &DeviceCode, arch: u32) -> &str {
    let runs = code.cubins.range(arch / 10 * 10..=arch).next_back();
    runs.map_or(&code.ptx, |(_, file)| file)
}

fn load_image(context: &Context, image: &[u8], compile: bool) -> Result<Owned<sys::CUmodule>, DeviceError> {
    let mut log = vec![0u8; LOG_BYTES];
    let mut options =
        [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values = [log.as_mut_ptr().cast::<c_void>(), LOG_BYTES as *mut c_void];
    let mut raw = null_mut();
    // SAFETY: the image is a whole object file or a text with a zero at its end; options and values fit each other.
    let result = unsafe {
        sys::cuModuleLoadDataEx(&mut raw, image.as_ptr().cast(), 2, options.as_mut_ptr(), values.as_mut_ptr())
    };
    match result {
        // SAFETY: the module was just loaded.
        CUresult::CUDA_SUCCESS => unsafe {
            let keep = |module: &mut sys::CUmodule| {
                *module = raw;
                CUresult::CUDA_SUCCESS
            };
            Owned::new(null_mut(), keep, sys::cuModuleUnload, "load the code")
        },
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND
        | CUresult::CUDA_ERROR_JIT_COMPILATION_DISABLED => {
            Err(DeviceError::Architecture { device: context.description.clone(), problem: reason(result) })
        }
        _ if compile => {
            let said: Vec<u8> = log.into_iter().take_while(|&byte| byte != 0).collect();
            let said = String::from_utf8_lossy(&said).trim().to_string();
            let reason = reason(result);
            let log = if said.is_empty() { reason } else { format!("{reason}: {said}") };
            Err(DeviceError::Jit { device: context.description.clone(), log })
        }
        _ => Err(DeviceError::Driver { action: "load the code".into(), reason: reason(result) }),
    }
}

fn function(module: &Owned<sys::CUmodule>, launch: &Launch) -> Result<CUfunction, DeviceError> {
    let missing = || DeviceError::Code(format!("it has no device function {}", launch.symbol));
    let name = CString::new(launch.symbol.as_str()).map_err(|_| missing())?;
    let mut function = null_mut();
    // SAFETY: the module is loaded and the name ends in a zero.
    match unsafe { sys::cuModuleGetFunction(&mut function, module.raw, name.as_ptr()) } {
        CUresult::CUDA_ERROR_NOT_FOUND => return Err(missing()),
        result => check(result, format_args!("find the function {}", launch.symbol))?,
    }
    if launch.shared_bytes > SHARED_BYTES {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is loaded.
        let result = unsafe { sys::cuFuncSetAttribute(function, attribute, launch.shared_bytes as i32) };
        check(
            result,
            format_args!("give {} bytes of shared memory to {}", launch.shared_bytes, launch.symbol),
        )?;
    }
    Ok(function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn code_for_the_architecture_comes_before_text() {
        let cubins = [80, 90].map(|arch| (arch, format!("sm_{arch}.cubin")));
        let code = DeviceCode { ptx: "text.ptx".into(), cubins: BTreeMap::from(cubins), scratch_bytes: 0 };
        assert_eq!(choose(&code, 80), "sm_80.cubin");
        assert_eq!(choose(&code, 86), "sm_80.cubin");
        assert_eq!(choose(&code, 90), "sm_90.cubin");
        assert_eq!(choose(&code, 75), "text.ptx");
        assert_eq!(choose(&code, 120), "text.ptx");
    }
}
