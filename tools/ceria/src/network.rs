//! Networks in files as MLIR modules.

use anyhow::{Context as _, Result, bail};
use ceria_dialects::{
    bridge::diagnostic::{Diagnostic, Severity},
    fhe::weights::DIRECTORY,
};
use ceria_lowering::onnx::OnnxError;
use melior::{
    Context,
    ir::{
        Module,
        attribute::StringAttribute,
        operation::{OperationLike, OperationMutLike},
    },
};
use std::{cell::RefCell, path::Path, rc::Rc};

/// A file is never longer than this.
const MAX_BYTES: u64 = 1 << 30;

/// Parses MLIR text. Weight files are relative to `directory` unless the module says otherwise.
pub fn parse<'c>(context: &'c Context, text: &str, name: &str, directory: &Path) -> Result<Module<'c>> {
    let said = Rc::new(RefCell::new(Vec::new()));
    let sink = said.clone();
    let handler = context.attach_diagnostic_handler(move |diagnostic| {
        sink.borrow_mut().push(Diagnostic::copy(&diagnostic));
        true
    });
    let module = Module::parse(context, text);
    let valid = module.as_ref().is_some_and(|m| m.as_operation().verify());
    context.detach_diagnostic_handler(handler);
    let Some(mut module) = module.filter(|_| valid) else {
        let said = said.borrow();
        let first = said.iter().find(|d| d.severity == Severity::Error);
        bail!("{name}: {}", first.map_or_else(|| "is no valid MLIR".into(), ToString::to_string));
    };
    if !module.as_operation().has_attribute(DIRECTORY) {
        let directory = StringAttribute::new(context, &directory.to_string_lossy());
        module.as_operation_mut().set_attribute(DIRECTORY, directory.into());
    }
    Ok(module)
}

/// Parses an MLIR file.
pub fn read<'c>(context: &'c Context, path: &Path) -> Result<Module<'c>> {
    let shown = path.display();
    let length = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
    if length > MAX_BYTES {
        bail!("{shown} has {length} bytes, which is too long for a network");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    parse(context, &text, &shown.to_string(), path.parent().unwrap_or(Path::new("")))
}

/// Imports an ONNX model; its weights go to a file in `folder`, which the module refers to.
pub fn import<'c>(context: &'c Context, path: &Path, folder: &Path) -> Result<Module<'c>> {
    let graph = ceria_lowering::onnx::load(path).map_err(|error| match error {
        // Names the file itself.
        OnnxError::Read { .. } => anyhow::Error::from(error),
        _ => anyhow::Error::from(error).context(path.display().to_string()),
    })?;
    Ok(ceria_lowering::onnx::to_module(&graph, context, folder)?)
}
