//! What can go wrong when a bundle is loaded or run.

use crate::{
    client::{ClientError, files::FileError},
    format::{layout::LayoutError, linear::LinearError, manifest::ManifestError},
};

/// Why a bundle cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The manifest or a file it names is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file of keys or ciphertexts is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// Keys or ciphertexts do not fit.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Weights and operators do not fit.
    #[error("the bundle's weights do not fit its operators: {0}")]
    Linear(#[from] LinearError),
    /// A layout does not fit.
    #[error("the bundle's weights do not fit their layout: {0}")]
    Layout(#[from] LayoutError),
    /// The bundle is another than the one expected.
    #[error("the bundle's hash is {found}, not {expected}")]
    Hash {
        /// The manifest's hash.
        found: String,
        /// What the user asked for.
        expected: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The weights are not what the manifest says.
    #[error("the bundle's weights are damaged: {0}")]
    Weights(String),
    /// Nothing in the bundle runs on this machine.
    #[error("the bundle has no code for this machine; compile the model for {0}")]
    Machine(&'static str),
    /// The code cannot be loaded.
    #[error("the bundle's code cannot be loaded: {0}")]
    Code(String),
    /// A key is needed that the client did not make.
    #[error("the evaluation keys lack {0}; run `ceria keygen` for this bundle again")]
    MissingKey(String),
    /// A ciphertext is not what the program takes.
    #[error("the input does not fit the model: {0}")]
    Input(String),
    /// The machine is too small.
    #[error("the model needs {needed} MiB of memory, this machine has {available} MiB free")]
    Memory {
        /// MiB.
        needed: u64,
        /// MiB.
        available: u64,
    },
}
