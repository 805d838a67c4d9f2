//! Device code that runs on the CPU, so that it can be tested where there is no GPU.
//!
//! Before: a module with a `gpu.module` of device functions, as `kernel-to-gpu` makes it. [`Code::compile`] turns a copy
//! into machine code of this CPU and loads it; [`Emulated`] is a device that launches it. Blocks run one after the other;
//! the threads of a block are fibers where they wait for each other, so that barriers and shuffles mean what they mean
//! on a GPU.
//!
//! 1. [`lower`]: device functions become functions of the LLVM dialect that take addresses of parameters and of the
//!    thread's [`State`](threads::State). What only a GPU has becomes calls of functions that the state names.
//! 2. [`code`]: compiles and loads them.
//! 3. [`threads`]: what those functions do, and fibers; [`block`]: one block from its start to its end.
//! 4. [`memory`]: global memory; [`shadow`]: who accessed which word, to find races.
//! 5. [`device`]: the device that the runtime drives.
//!
//! In [`Mode::Checked`] every load and store is looked at before it happens: accesses outside memory, misaligned ones,
//! races, and reads of shared memory that nobody wrote are a [`Fault`]. In [`Mode::Fast`] only barriers and shuffles are
//! checked, and a wrong address does what it does in any program.

pub mod block;
pub mod code;
pub mod device;
pub mod fault;
pub mod lower;
pub mod memory;
pub mod shadow;
pub mod threads;

#[cfg(test)]
mod tests;

pub use code::{Code, Mode};
pub use device::Emulated;
pub use fault::{Fault, FaultKind, Place, Witness};

use crate::bundle::BundleError;
use ceria_dialects::bridge::{
    emit::EmitError,
    pass::{PassError, PipelineError},
};
use ceria_runtime::device::DeviceError;

/// Why device code cannot be emulated, or what went wrong when it was.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// An op has no twin on the CPU.
    #[error("the device code cannot be emulated: {0}")]
    Lower(#[from] PassError),
    /// MLIR's own lowering failed.
    #[error("the device code cannot be lowered to LLVM: {0}")]
    Pipeline(#[from] PipelineError),
    /// No code was emitted.
    #[error("no code can be emitted: {0}")]
    Emit(#[from] EmitError),
    /// The linker failed.
    #[error(transparent)]
    Link(#[from] BundleError),
    /// The code cannot be loaded.
    #[error("the emulated code cannot be loaded: {0}")]
    Load(DeviceError),
    /// A launch does not fit its function.
    #[error("cannot launch @{function}: {reason}")]
    Launch {
        /// The function.
        function: String,
        /// What is wrong.
        reason: String,
    },
    /// A transfer reaches outside every allocation.
    #[error("{what} of {bytes} bytes at {address:#x} is outside the device's memory")]
    Transfer {
        /// `upload`, `download` or `copy`.
        what: &'static str,
        /// Where.
        address: u64,
        /// How much.
        bytes: u64,
    },
    /// The system has no memory for the threads' stacks.
    #[error("there is no memory for the stacks of threads: {0}")]
    Stack(std::io::Error),
    /// The device code did what it may not.
    #[error("{0}")]
    Fault(Box<Fault>),
}

impl From<Fault> for EmulatorError {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl From<EmulatorError> for DeviceError {
    fn from(error: EmulatorError) -> Self {
        Self::Other(Box::new(error))
    }
}

impl EmulatorError {
    /// The error of the emulator in an error of its device, if it is one.
    pub fn of(error: DeviceError) -> Result<Self, DeviceError> {
        match error {
            DeviceError::Other(error) => error.downcast().map(|error| *error).map_err(DeviceError::Other),
            DeviceError::Launch { error, .. } => Self::of(*error),
            other => Err(other),
        }
    }
}
