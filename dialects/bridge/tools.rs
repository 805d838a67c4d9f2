//! The mains of `ceria-opt` and `ceria-lsp-server`: MLIR's own, with Ceria's dialects and passes.

use std::ffi::{CString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

use melior::dialect::DialectRegistry;
use mlir_sys::MlirDialectRegistry;

unsafe extern "C" {
    fn ceria_opt_main(argc: c_int, argv: *mut *mut c_char, registry: MlirDialectRegistry) -> c_int;
    fn ceria_lsp_main(argc: c_int, argv: *mut *mut c_char, registry: MlirDialectRegistry) -> c_int;
    fn ceria_register_translations(registry: MlirDialectRegistry);
}

/// Runs `mlir-opt` on the arguments of the process and returns the exit status. MLIR's passes are registered here, and
/// Ceria's must be before.
pub fn opt_main(registry: &DialectRegistry) -> u8 {
    // SAFETY: the translations are added to a valid registry.
    unsafe { ceria_register_translations(registry.to_raw()) };
    melior::utility::register_all_passes();
    run(registry, ceria_opt_main)
}

/// Runs the language server on standard input and output and returns the exit status.
pub fn lsp_main(registry: &DialectRegistry) -> u8 {
    run(registry, ceria_lsp_main)
}

type Main = unsafe extern "C" fn(c_int, *mut *mut c_char, MlirDialectRegistry) -> c_int;

fn run(registry: &DialectRegistry, main: Main) -> u8 {
    // An argument of a process holds no NUL.
    let arguments: Vec<CString> =
        std::env::args_os().filter_map(|argument| CString::new(argument.into_vec()).ok()).collect();
    let mut pointers: Vec<*mut c_char> =
        arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    pointers.push(std::ptr::null_mut());
    // SAFETY: `argv` is terminated by null and lives during the call; MLIR does not write to it.
    let code = unsafe { main(arguments.len() as c_int, pointers.as_mut_ptr(), registry.to_raw()) };
    u8::try_from(code).unwrap_or(1)
}
