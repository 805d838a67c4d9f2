//! Bundles whose programs run on NVIDIA GPUs: the host program, and the kernels as PTX.
//!
//! The PTX is for the oldest architecture, whose code all later ones run: the driver compiles it for the device at hand.

use super::{BundleError, BundleInput, Facts, assemble};
use crate::{
    host,
    kernel_to_nvvm::{
        self, DeviceLowered,
        ptx::{self, Arch},
        schedule::Schedule,
    },
};
use ceria_dialects::bridge::{hooks::OperationRef, pass::OptionValues};
use ceria_passes::kernel::plan_memory;
use ceria_runtime::format::manifest::{DeviceCode, Memory};
use melior::ir::Module;
use std::{collections::BTreeMap, path::Path};

/// The file of the kernels.
pub const PTX: &str = "kernels.ptx";

/// The architecture that the PTX is for.
const OLDEST: Arch = Arch::Sm80;

/// A copy of a module of kernels, lowered for a device: a `gpu.module` and the host program.
pub fn lowered<'c>(
    kernel: OperationRef<'c, '_>,
    schedule: &Schedule,
    entry: &str,
) -> Result<(Module<'c>, DeviceLowered), BundleError> {
    // SAFETY: the clone is owned by `module` and destroyed with it.
    let module = unsafe {
        Module::from_raw(mlir_sys::mlirModuleFromOperation(mlir_sys::mlirOperationClone(kernel.to_raw())))
    };
    plan_memory::run(module.as_operation(), &OptionValues::defaults(&[]))?;
    let facts = kernel_to_nvvm::lower(module.as_operation(), schedule, entry)?;
    Ok((module, facts))
}

/// Writes a bundle for GPUs to `folder`, replacing a bundle that is there. Returns its hash.
pub fn write(
    folder: &Path,
    input: &BundleInput<'_, '_>,
    schedule: &Schedule,
) -> Result<[u8; 32], BundleError> {
    let (module, facts) = lowered(input.kernel, schedule, "main")?;
    let text = ptx::ptx(module.as_operation(), OLDEST)?;
    write_code(folder, input, facts, text.into_bytes())
}

/// Writes a bundle with these kernels.
pub fn write_code(
    folder: &Path,
    input: &BundleInput<'_, '_>,
    facts: DeviceLowered,
    kernels: Vec<u8>,
) -> Result<[u8; 32], BundleError> {
    let host = host::compile(input.kernel, "main")?;
    let contents =
        BTreeMap::from([(super::CpuLevel::V2.file().to_string(), host.code), (PTX.into(), kernels)]);
    let facts = Facts {
        tables: facts.tables,
        twiddles: facts.twiddles,
        kernels: facts.kernels,
        memory: Memory { arena_bytes: facts.arena_bytes, scratch_bytes: 0 },
        device: Some(DeviceCode {
            ptx: PTX.into(),
            cubins: BTreeMap::new(),
            scratch_bytes: facts.scratch_bytes,
        }),
        inputs: facts.inputs,
        outputs: facts.outputs,
    };
    assemble(folder, input, contents, facts)
}
