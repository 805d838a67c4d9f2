//! The ONNX importer.
//!
//! [`read`] turns the bytes of a model into a typed [`Graph`]: static shapes, resolved attributes, folded
//! constants. Two things are made of a graph: the `fhe` module that the compiler lowers ([`to_module`]), and the clear
//! model ([`evaluate`]) that results are compared with.
//!
//! ```
//! let error = ceria_lowering::onnx::read(b"not a model").unwrap_err();
//! assert!(error.to_string().starts_with("not a valid ONNX model"));
//! ```

mod clear;
mod constant;
mod emit;
mod error;
mod fold;
mod graph;
mod operators;
pub mod proto;
mod read;

pub use clear::{evaluate, evaluate_all};
pub use emit::{WEIGHTS_FILE, to_module};
pub use error::OnnxError;
pub use graph::{Constant, Graph, Node, Operator, Output, Post, ShapedPost, Value, ValueId, Windows};
pub use read::read;

use std::path::Path;

/// A model file is never longer than this.
pub const MAX_BYTES: u64 = 2 << 30;

/// Reads a model from its file.
///
/// # Errors
/// As [`read`], and if the file cannot be read.
pub fn load(path: &Path) -> Result<Graph, OnnxError> {
    let failed = |source| OnnxError::Read { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_BYTES {
        return Err(OnnxError::Unsupported(format!("it has {length} bytes; at most {MAX_BYTES} are read")));
    }
    read(&std::fs::read(path).map_err(failed)?)
}
