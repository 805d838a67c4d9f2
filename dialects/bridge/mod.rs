//! The bridge between MLIR's C++ and the dialects' Rust: hooks that C++ calls ([`hooks`]), parameters whose text
//! is parsed in Rust ([`text`]), and wrappers of types and attributes generated from TableGen ([`generated`]).

pub mod hooks;
pub mod text;

/// Wrappers that the build generates from the dialects' TableGen files.
pub mod generated {
    mod support {
        pub use super::super::hooks::{PushText, run_definition_verifier};
        pub use ceria_runtime::format::text::TextParam;
        pub use melior::{
            Context,
            ir::{Attribute, AttributeLike, Type, TypeLike},
        };

        /// The text behind a string reference of MLIR, which lives as long as the context.
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
