//! Parameters of types and attributes whose text is parsed and printed by Rust: C++ hands over the text of one
//! parameter with the name of its kind and stores the words it gets back.

use super::hooks::{PushText, guard, push_text};
use ceria_runtime::format::{basis::Basis, layout::Layout, params::Params, scale::Scale, text::TextParam};
use std::{ffi::c_void, slice};

/// Calls `$action::<T>` for the type whose `NAME` is `$kind`.
macro_rules! dispatch {
    ($kind:expr, $action:ident($argument:expr), $($type:ty),+) => {
        match $kind {
            $(<$type as TextParam>::NAME => $action::<$type>($argument),)+
            other => Err(format!("no parameter of kind {other}")),
        }
    };
}

fn parse<T: TextParam>(text: &str) -> Result<Vec<i64>, String> {
    Ok(T::parse(text)?.to_words())
}

fn print<T: TextParam>(words: &[i64]) -> Result<String, String> {
    Ok(T::from_words(words)?.to_string())
}

unsafe fn text<'a>(data: *const u8, length: usize) -> &'a str {
    if length == 0 {
        return "";
    }
    std::str::from_utf8(unsafe { slice::from_raw_parts(data, length) }).unwrap_or_default()
}

/// Parses a parameter; false with a message when the text is wrong.
#[unsafe(no_mangle)]
extern "C" fn ceria_text_parse(
    kind: *const u8,
    kind_length: usize,
    data: *const u8,
    length: usize,
    words: *mut c_void,
    push: extern "C" fn(*mut c_void, i64),
    message: *mut c_void,
    fail: PushText,
) -> bool {
    let (kind, data) = unsafe { (text(kind, kind_length), text(data, length)) };
    match guard(|| dispatch!(kind, parse(data.trim()), Scale, Basis, Params, Layout)) {
        Ok(parsed) => {
            parsed.into_iter().for_each(|word| push(words, word));
            true
        }
        Err(error) => {
            push_text(message, fail, &error);
            false
        }
    }
}

/// Prints a parameter from its words.
#[unsafe(no_mangle)]
extern "C" fn ceria_text_print(
    kind: *const u8,
    kind_length: usize,
    words: *const i64,
    count: usize,
    out: *mut c_void,
    push: PushText,
) {
    let kind = unsafe { text(kind, kind_length) };
    let words = if count == 0 { &[] } else { unsafe { slice::from_raw_parts(words, count) } };
    match guard(|| dispatch!(kind, print(words), Scale, Basis, Params, Layout)) {
        Ok(printed) => push_text(out, push, &printed),
        Err(error) => push_text(out, push, &format!("<<{error}>>")),
    }
}
