//! Analyses and rewrites inside one level, one file a pass, one folder a dialect.

pub mod ckks;
pub mod cost;
pub mod fhe;
pub mod kernel;
pub mod poly;

use ceria_dialects::bridge::pass::{PassDescriptor, RegistrationError, register_passes};

/// All passes inside one level, in the order of the documentation.
pub fn passes() -> Vec<&'static PassDescriptor> {
    [fhe::PASSES, ckks::PASSES, poly::PASSES, kernel::PASSES].concat()
}

/// Registers the passes with MLIR; may be called again.
pub fn register() -> Result<(), RegistrationError> {
    register_passes(&passes())
}
