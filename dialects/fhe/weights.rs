//! The values behind weights symbols.
//!
//! A path in `fhe.weights` is relative to the module's attribute `fhe.directory` if it has one, else to the folder of
//! the file that the symbol's location names, else to the working directory. Files are mapped, checked and kept for as
//! long as a [`Weights`] lives.

use super::access::{Attributes, name_of, shape_of};
use crate::bridge::hooks::*;
use melior::ir::attribute::{DenseElementsAttribute, StringAttribute};
use memmap2::Mmap;
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use std::{
    cell::RefCell,
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    rc::Rc,
};
use thiserror::Error;

/// The module attribute that says where weight files are.
pub const DIRECTORY: &str = "fhe.directory";

/// Why weights cannot be read.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The module has no such symbol.
    #[error("there is no fhe.weights @{0} in the module")]
    Missing(String),
    /// The file cannot be opened.
    #[error("cannot read weights file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is no safetensors file, or lacks the tensor.
    #[error("weights file {}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The op is malformed.
    #[error("weights @{0} have neither a file nor a value")]
    Malformed(String),
}

/// What a symbol is, seen from an op that refers to it.
pub enum Lookup<'c, 'a> {
    /// The op is in no module.
    Detached,
    /// There is no such `fhe.weights`.
    Missing,
    /// The symbol.
    Found(OperationRef<'c, 'a>),
}

/// The module around an op.
pub fn module_of<'c, 'a>(op: OperationRef<'c, 'a>) -> Option<OperationRef<'c, 'a>> {
    let mut at = op.to_raw();
    // SAFETY: parents of a valid op are valid.
    unsafe {
        while !at.ptr.is_null() {
            let here = OperationRef::from_raw(at);
            if name_of(&here) == "builtin.module" {
                return Some(here);
            }
            at = mlir_sys::mlirOperationGetParentOperation(at);
        }
    }
    None
}

/// Finds weights by name in the module around an op.
pub fn lookup<'c, 'a>(from: OperationRef<'c, 'a>, name: &str) -> Lookup<'c, 'a> {
    let Some(module) = module_of(from) else { return Lookup::Detached };
    let first = module.region(0).ok().and_then(|r| r.first_block()).and_then(|b| b.first_operation());
    let mut next = first;
    while let Some(op) = next {
        if name_of(&op) == "fhe.weights" && op.text("sym_name") == Some(name) {
            return Lookup::Found(op);
        }
        next = op.next_in_block();
    }
    Lookup::Missing
}

/// Reads weights of one module.
pub struct Weights<'c, 'a> {
    module: OperationRef<'c, 'a>,
    files: RefCell<HashMap<PathBuf, Rc<Mmap>>>,
}

impl<'c, 'a> Weights<'c, 'a> {
    /// A reader for the module around an op.
    pub fn of(op: OperationRef<'c, 'a>) -> Self {
        Self { module: module_of(op).unwrap_or(op), files: RefCell::default() }
    }

    /// The values of a symbol.
    pub fn get(&self, name: &str) -> Result<ArrayD<f32>, WeightsError> {
        let Lookup::Found(op) = lookup(self.module, name) else {
            return Err(WeightsError::Missing(name.into()));
        };
        self.read(op)
    }

    /// The values of an `fhe.weights` op.
    pub fn read(&self, op: OperationRef<'_, '_>) -> Result<ArrayD<f32>, WeightsError> {
        let malformed = || WeightsError::Malformed(op.text("sym_name").unwrap_or_default().into());
        if let Some(value) = op.get("value") {
            return constant(value).map_err(|_| malformed());
        }
        let (Some(file), Some(key)) = (op.text("file"), op.text("key")) else { return Err(malformed()) };
        let expected = op.of_type("type").and_then(shape_of).ok_or_else(malformed)?;
        let path = self.directory(op).join(file);
        let data = self.map(&path)?;
        let fail = |reason: String| WeightsError::Content { path: path.clone(), reason };
        let tensors = SafeTensors::deserialize(&data).map_err(|e| fail(e.to_string()))?;
        let tensor = tensors.tensor(key).map_err(|_| fail(format!("has no tensor '{key}'")))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(fail(format!("tensor '{key}' has type {:?} instead of F32", tensor.dtype())));
        }
        if tensor.shape() != expected {
            return Err(fail(format!(
                "tensor '{key}' has shape {:?} instead of {expected:?}",
                tensor.shape()
            )));
        }
        let numbers =
            tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        ArrayD::from_shape_vec(IxDyn(&expected), numbers).map_err(|e| fail(e.to_string()))
    }

    /// The folder that a symbol's path is relative to.
    fn directory(&self, op: OperationRef<'_, '_>) -> PathBuf {
        if let Some(directory) = self.module.get(DIRECTORY).and_then(|a| StringAttribute::try_from(a).ok()) {
            return directory.value().into();
        }
        let location = op.location();
        if !location.is_file_line_col_range() {
            return PathBuf::new();
        }
        let file = location.file_line_col_range_filename();
        let file = file.as_string_ref().as_str().map(Path::new).ok();
        file.and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default()
    }

    fn map(&self, path: &Path) -> Result<Rc<Mmap>, WeightsError> {
        if let Some(data) = self.files.borrow().get(path) {
            return Ok(data.clone());
        }
        let fail = |source| WeightsError::File { path: path.into(), source };
        let file = File::open(path).map_err(fail)?;
        // SAFETY: the map is read only. A file that someone cuts short meanwhile ends the process, as with any
        // mapped input.
        let data = Rc::new(unsafe { Mmap::map(&file) }.map_err(fail)?);
        self.files.borrow_mut().insert(path.into(), data.clone());
        Ok(data)
    }
}

/// The numbers of a dense constant of f32.
pub fn constant(value: Attribute<'_>) -> Result<ArrayD<f32>, String> {
    let dense = DenseElementsAttribute::try_from(value).map_err(|_| format!("has the constant {value}"))?;
    let shape =
        shape_of(value.r#type()).ok_or_else(|| format!("has a constant of type {}", value.r#type()))?;
    let count: usize = shape.iter().product();
    if dense.is_splat() {
        let number = dense.f32_element(0).map_err(|e| e.to_string())?;
        return Ok(ArrayD::from_elem(IxDyn(&shape), number));
    }
    let numbers: Result<Vec<f32>, _> = (0..count).map(|i| dense.f32_element(i)).collect();
    ArrayD::from_shape_vec(IxDyn(&shape), numbers.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
}

/// A dense constant of f32.
pub fn constant_attribute<'c>(context: &'c Context, values: &ArrayD<f32>) -> Result<Attribute<'c>, String> {
    let dims: Vec<u64> = values.shape().iter().map(|&s| s as u64).collect();
    let ty = melior::ir::r#type::RankedTensorType::new(&dims, Type::float32(context), None);
    let numbers: Vec<f32> = values.iter().copied().collect();
    let dense = match numbers.as_slice() {
        [first, rest @ ..] if rest.iter().all(|n| n.to_bits() == first.to_bits()) => {
            DenseElementsAttribute::f32_splat(ty.into(), *first)
        }
        _ => DenseElementsAttribute::f32_values(ty.into(), &numbers),
    };
    Ok(dense.into())
}
