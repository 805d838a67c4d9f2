//! Code: PTX, as far as a launch of it can be checked, and `gpu.module`s, which are emulated.

use ceria_lowering::kernel_to_nvvm::emulator::{Code, Mode};
use melior::ir::Module;
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
    /// Whether it is emulated, by the code of the module that was loaded last.
    pub emulated: bool,
}

/// Code that is emulated, and its functions; every access of it is checked.
pub fn emulated(text: &str) -> Result<(Code, HashMap<String, Function>), String> {
    ceria_lowering::register().map_err(|e| e.to_string())?;
    let mlir = ceria_dialects::context();
    let module = Module::parse(&mlir, text).ok_or("the module does not parse")?;
    let code = Code::compile(module.as_operation(), Mode::Checked).map_err(|e| e.to_string())?;
    let functions = code.functions().map(|function| {
        let threads = function.block.and_then(|[threads, ..]| u32::try_from(threads).ok());
        let name = function.name.clone();
        (name.clone(), Function { name, parameters: function.parameters, threads, emulated: true })
    });
    let functions = functions.collect();
    Ok((code, functions))
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
        let function = Function {
            name: name.clone(),
            parameters: parameters.matches(".param").count(),
            threads,
            emulated: false,
        };
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
