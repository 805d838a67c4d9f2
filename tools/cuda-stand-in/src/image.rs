//! Code, as far as a launch of it can be checked.

use std::{
    collections::HashMap,
    ffi::{CStr, c_char},
};

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its parameters, 64 bits each.
    pub parameters: usize,
    /// The threads of a block, if the function says so.
    pub threads: Option<u32>,
}

/// The functions of a text of PTX, or what is wrong with it.
pub fn functions(text: &str) -> Result<HashMap<String, Function>, String> {
    if !text.contains(".version") || !text.contains(".target") {
        return Err("line 1; fatal: a text begins with .version and .target".into());
    }
    let mut found = HashMap::new();
    for part in text.split(".entry").skip(1) {
        let head = part.split('{').next().unwrap_or_default();
        let (name, rest) =
            head.split_once('(').ok_or_else(|| format!("fatal: no parameters after {head}"))?;
        let (parameters, directives) = rest.split_once(')').unwrap_or((rest, ""));
        let threads = directives.split(".reqntid").nth(1).and_then(|text| {
            text.trim_start().split([',', ' ', '\n']).next().and_then(|number| number.parse().ok())
        });
        let name = name.trim().to_string();
        let function =
            Function { name: name.clone(), parameters: parameters.matches(".param").count(), threads };
        found.insert(name, function);
    }
    Ok(found)
}

/// The text of an image.
///
/// # Safety
/// The image is a text that ends in a zero.
pub unsafe fn text(image: *const c_char) -> String {
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(image) }.to_string_lossy().into_owned()
}
