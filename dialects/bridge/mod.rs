//! The bridge between MLIR's C++ and the dialects' Rust: hooks that C++ calls ([`hooks`]), parameters whose text
//! is parsed in Rust ([`text`]), and wrappers of types and attributes generated from TableGen ([`generated`]).
//!
//! It also gives Rust what MLIR's C API lacks: passes with options and named pipelines ([`pass`]), dialect conversion
//! ([`conversion`]), greedy rewriting ([`rewrite`]), diagnostics with notes ([`diagnostic`]), object code ([`emit`])
//! and the mains of the tools ([`tools`]).

pub mod conversion;
pub mod diagnostic;
pub mod emit;
pub mod hooks;
pub mod options;
pub mod pass;
pub mod pass_docs;
pub mod rewrite;
pub mod text;
pub mod tools;

/// Adds a dialect to a registry by name: one of Ceria's, or one of MLIR's that lowerings produce. False if there is no
/// such dialect.
fn insert_dialect(name: &str, registry: Option<mlir_sys::MlirDialectRegistry>) -> bool {
    if let Some(register) = generated::registration(name) {
        if let Some(registry) = registry {
            // SAFETY: the registry is valid during the call.
            unsafe { register(registry) };
        }
        return true;
    }
    // SAFETY: these functions return handles that live as long as the process.
    let handle = unsafe {
        match name {
            "affine" => mlir_sys::mlirGetDialectHandle__affine__(),
            "arith" => mlir_sys::mlirGetDialectHandle__arith__(),
            "bufferization" => mlir_sys::mlirGetDialectHandle__bufferization__(),
            "cf" => mlir_sys::mlirGetDialectHandle__cf__(),
            "func" => mlir_sys::mlirGetDialectHandle__func__(),
            "gpu" => mlir_sys::mlirGetDialectHandle__gpu__(),
            "linalg" => mlir_sys::mlirGetDialectHandle__linalg__(),
            "llvm" => mlir_sys::mlirGetDialectHandle__llvm__(),
            "math" => mlir_sys::mlirGetDialectHandle__math__(),
            "memref" => mlir_sys::mlirGetDialectHandle__memref__(),
            "nvvm" => mlir_sys::mlirGetDialectHandle__nvvm__(),
            "scf" => mlir_sys::mlirGetDialectHandle__scf__(),
            "tensor" => mlir_sys::mlirGetDialectHandle__tensor__(),
            "ub" => mlir_sys::mlirGetDialectHandle__ub__(),
            "vector" => mlir_sys::mlirGetDialectHandle__vector__(),
            _ => return false,
        }
    };
    if let Some(registry) = registry {
        // SAFETY: as above.
        unsafe { mlir_sys::mlirDialectHandleInsertDialect(handle, registry) };
    }
    true
}

/// Wrappers that the build generates from the dialects' TableGen files.
pub mod generated {
    mod support {
        pub use super::super::hooks::{PushText, call_interface, run_definition_verifier};
        pub use ceria_runtime::format::text::TextParam;
        pub use melior::{
            Context,
            ir::{Attribute, AttributeLike, OperationRef, Type, TypeLike},
        };

        /// The text behind a string reference of MLIR, which lives as long as the context.
        #[allow(dead_code, reason = "used by the wrapper of a definition with a text parameter")]
        pub unsafe fn text_of<'c>(text: mlir_sys::MlirStringRef) -> &'c str {
            if text.length == 0 {
                return "";
            }
            let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.length) };
            std::str::from_utf8(bytes).unwrap_or_default()
        }

        /// Words stored in the context.
        pub unsafe fn words_of<'c>(words: *const i64, count: usize) -> &'c [i64] {
            if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(words, count) } }
        }

        /// Words that a getter returns together with their count.
        pub unsafe fn words_from<'c>(get: impl FnOnce(*mut usize) -> *const i64) -> &'c [i64] {
            let mut count = 0;
            let words = get(&mut count);
            unsafe { words_of(words, count) }
        }

        /// Decodes a parameter. Words in MLIR were encoded by the same type, so that failure is a bug here.
        pub fn decode<T: TextParam>(words: &[i64]) -> T {
            match T::from_words(words) {
                Ok(value) => value,
                Err(message) => unreachable!("a stored {} does not decode: {message}", T::NAME),
            }
        }
    }

    include!(concat!(env!("OUT_DIR"), "/wrappers.rs"));
}
