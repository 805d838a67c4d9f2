//! Between the levels: lowerings, the ONNX importer, the named pipelines and the bundle writer.

pub mod bundle;
pub mod ckks_to_poly;
pub mod fhe_to_ckks;
pub mod host;
pub mod interpret;
pub mod kernel_to_cpu;
pub mod kernel_to_nvvm;
pub mod onnx;
pub mod pipelines;
pub mod poly_to_kernel;

#[cfg(test)]
mod random_kernels;

use ceria_dialects::bridge::pass::{PassDescriptor, RegistrationError, register_passes, register_pipelines};

/// All passes between levels, in the order of the documentation.
pub fn passes() -> Vec<&'static PassDescriptor> {
    [
        fhe_to_ckks::PASSES,
        ckks_to_poly::PASSES,
        poly_to_kernel::PASSES,
        kernel_to_cpu::PASSES,
        kernel_to_nvvm::PASSES,
    ]
    .concat()
}

/// Registers MLIR's passes, those of Ceria, and the named pipelines; may be called again.
pub fn register() -> Result<(), RegistrationError> {
    melior::utility::register_all_passes();
    ceria_passes::register()?;
    register_passes(&passes())?;
    register_pipelines(pipelines::PIPELINES)
}
