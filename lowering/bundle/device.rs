//! Bundles whose programs run on NVIDIA GPUs: the host program, and the kernels as PTX.
//!
//! The PTX is for the oldest architecture, whose code all later ones run: the driver compiles it for the device at hand.
//! Where an assembler is found it is also assembled, so that the driver need not.

use super::{BundleError, BundleInput, Facts, assemble};
use crate::{
    host,
    kernel_to_nvvm::{
        self, DeviceLowered,
        assemble::{self as assembler, Assembled},
        ptx::{self, Arch},
        schedule::Schedule,
        tools::ToolError,
    },
};
use ceria_dialects::bridge::{hooks::OperationRef, pass::OptionValues};
use ceria_passes::kernel::plan_memory;
use ceria_runtime::format::manifest::{DeviceCode, Memory};
use melior::ir::Module;
use std::{
    collections::BTreeMap,
    path::Path,
    thread::{ScopedJoinHandle, scope},
};

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

/// Writes a bundle for GPUs to `folder`, replacing a bundle that is there, with assembled code for `architectures`.
/// Returns its hash.
pub fn write(
    folder: &Path,
    input: &BundleInput<'_, '_>,
    schedule: &Schedule,
    architectures: &[Arch],
) -> Result<[u8; 32], BundleError> {
    let (module, facts) = lowered(input.kernel, schedule, "main")?;
    let text = ptx::ptx(module.as_operation(), OLDEST)?;
    let cubins = assembled(&text, architectures)?;
    write_code(folder, input, facts, text.into_bytes(), cubins)
}

/// PTX assembled for architectures, by their numbers, each in a thread of its own.
fn assembled(text: &str, architectures: &[Arch]) -> Result<BTreeMap<u32, Vec<u8>>, BundleError> {
    scope(|scope| {
        let threads: Vec<_> = architectures
            .iter()
            .map(|arch| arch.number())
            .map(|number| (number, scope.spawn(move || assembler::assemble(text, number))))
            .collect();
        let finish =
            |(number, thread): (u32, ScopedJoinHandle<'_, Result<Assembled, ToolError>>)| match thread.join()
            {
                Ok(Ok(Assembled { cubin, .. })) => Ok((number, cubin)),
                Ok(Err(error)) => Err(BundleError::Tool(error)),
                Err(_) => Err(BundleError::Program("a thread that assembles kernels failed".into())),
            };
        threads.into_iter().map(finish).collect()
    })
}

/// Writes a bundle with these kernels.
pub fn write_code(
    folder: &Path,
    input: &BundleInput<'_, '_>,
    facts: DeviceLowered,
    kernels: Vec<u8>,
    cubins: BTreeMap<u32, Vec<u8>>,
) -> Result<[u8; 32], BundleError> {
    let host = host::compile(input.kernel, "main")?;
    let mut contents =
        BTreeMap::from([(super::CpuLevel::V2.file().to_string(), host.code), (PTX.into(), kernels)]);
    let names: BTreeMap<u32, String> =
        cubins.keys().map(|&number| (number, format!("kernels-sm_{number}.cubin"))).collect();
    contents.extend(names.values().cloned().zip(cubins.into_values()));
    let facts = Facts {
        tables: facts.tables,
        twiddles: facts.twiddles,
        kernels: facts.kernels,
        memory: Memory { arena_bytes: facts.arena_bytes, scratch_bytes: 0 },
        device: Some(DeviceCode { ptx: PTX.into(), cubins: names, scratch_bytes: facts.scratch_bytes }),
        inputs: facts.inputs,
        outputs: facts.outputs,
    };
    assemble(folder, input, contents, facts)
}
