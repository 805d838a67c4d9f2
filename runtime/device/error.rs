//! What can go wrong when a bundle is loaded or run.

use crate::{
    client::{ClientError, files::FileError},
    format::{
        layout::LayoutError,
        linear::LinearError,
        manifest::{Launch, ManifestError},
    },
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
    /// Results differ that must not.
    #[error("{0} differ")]
    Differs(String),
    /// There is no driver for GPUs.
    #[error("this bundle needs an NVIDIA GPU; no CUDA driver was found (libcuda.so.1)")]
    NoDriver,
    /// There is a driver, but not the device.
    #[error("this bundle needs an NVIDIA GPU; {0}")]
    NoDevice(String),
    /// The device's memory is too small.
    #[error("the model needs {needed} MiB of the GPU's memory, {available} MiB of it are free")]
    DeviceMemory {
        /// MiB.
        needed: u64,
        /// MiB.
        available: u64,
    },
    /// No code in the bundle runs on the device.
    #[error("the bundle has no code for {device}: {problem}")]
    Architecture {
        /// The device's name and architecture.
        device: String,
        /// What the bundle has, or what the driver says.
        problem: String,
    },
    /// The driver does not compile the bundle's code.
    #[error("the driver cannot compile the bundle's code for {device}: {log}")]
    Jit {
        /// The device's name and architecture.
        device: String,
        /// What the driver's compiler says.
        log: String,
    },
    /// The driver refuses something.
    #[error("the GPU's driver failed to {action}: {reason}")]
    Driver {
        /// What it was to do.
        action: String,
        /// Its words and name for the error.
        reason: String,
    },
    /// A launch failed.
    #[error("the launch of {symbol}, a part of kernel {kernel}, failed: {error}")]
    Launch {
        /// The kernel.
        kernel: String,
        /// The device function.
        symbol: String,
        /// Why.
        error: Box<DeviceError>,
    },
    /// The device stopped in one of many launches, and cannot be used any more.
    #[error("the GPU was lost while it ran {launches}: {reason}")]
    Lost {
        /// Which launches it ran.
        launches: String,
        /// The driver's words and name for the error.
        reason: String,
    },
}

impl DeviceError {
    /// The same, with the launch in which it happened. A device is lost in an earlier one than that in which it is seen.
    pub fn in_launch(self, kernel: &str, launch: &Launch) -> Self {
        if let Self::Lost { .. } = self {
            return self;
        }
        Self::Launch { kernel: kernel.into(), symbol: launch.symbol.clone(), error: Box::new(self) }
    }
}
