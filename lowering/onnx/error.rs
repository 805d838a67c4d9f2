//! What can be wrong with an ONNX model.

use std::path::PathBuf;

/// Why a model cannot be imported. Each message is one line that names the place in the model.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The bytes are not an ONNX model.
    #[error("not a valid ONNX model: {0}")]
    Malformed(String),
    /// The input is a valid model that needs something that is not supported.
    #[error("unsupported model: {0}")]
    Unsupported(String),
    /// The operator is not supported, or not with these attributes or operands.
    #[error("unsupported operator {op} (node {node}){}", reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
    UnsupportedOperator {
        /// The operator.
        op: String,
        /// The node's name.
        node: String,
        /// What about it is not supported; nothing if the operator is unknown.
        reason: Option<String>,
    },
    /// The node contradicts the definition of its operator.
    #[error("invalid {op} (node {node}): {reason}")]
    InvalidNode {
        /// The operator.
        op: String,
        /// The node's name.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// An array given to the clear model does not fit an input.
    #[error("input `{name}`: {reason}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The intermediate code could not be built: a mistake in the importer.
    #[error("cannot build the fhe module: {0}")]
    Build(String),
}
