//! Bundles whose programs run on NVIDIA GPUs: the host program, and the kernels as PTX.
//!
//! The PTX is for the oldest architecture, whose code all later ones run: the driver compiles it for the device at hand.
//! For architectures that are asked for it is also assembled, so that the driver need not.

use super::{BundleError, BundleInput, assemble};
use crate::{
    host::{self, Lowered},
    kernel_to_nvvm::{
        self,
        assemble::{self as assembler, Assembled},
        ptx::{self, Arch},
        schedule::Schedule,
        tools::ToolError,
    },
};
use ceria_dialects::bridge::hooks::OperationRef;
use ceria_runtime::format::manifest::DeviceCode;
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
) -> Result<(Module<'c>, Lowered), BundleError> {
    let module = host::planned(kernel)?;
    let lowered = kernel_to_nvvm::lower(module.as_operation(), schedule, entry)?;
    Ok((module, lowered))
}

/// The host program of a module that was [lowered] for a device, compiled. The device's functions go from the module, and
/// the rest is lowered in place.
pub fn host_code(module: OperationRef<'_, '_>) -> Result<Vec<u8>, BundleError> {
    if let Some(functions) = ptx::device_module(module) {
        // SAFETY: the host program names the device's functions by number only.
        unsafe { mlir_sys::mlirOperationDestroy(functions.to_raw()) };
    }
    host::compile(module)
}

/// The code of a bundle.
#[derive(Clone, Debug, Default)]
pub struct DeviceFiles {
    /// The host program.
    pub host: Vec<u8>,
    /// The kernels as text.
    pub kernels: Vec<u8>,
    /// The kernels assembled for architectures, by their numbers.
    pub cubins: BTreeMap<u32, Vec<u8>>,
}

/// Writes a bundle for GPUs to `folder`, replacing a bundle that is there, with assembled code for `architectures`.
/// Returns its hash.
pub fn write(
    folder: &Path,
    input: &BundleInput<'_, '_>,
    schedule: &Schedule,
    architectures: &[Arch],
) -> Result<[u8; 32], BundleError> {
    let (module, lowered) = lowered(input.kernel, schedule, "main")?;
    let text = ptx::ptx(module.as_operation(), OLDEST)?;
    let cubins = assembled(&text, architectures)?;
    let host = host_code(module.as_operation())?;
    write_code(folder, input, lowered, DeviceFiles { host, kernels: text.into_bytes(), cubins })
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

/// Writes a bundle with this code.
pub fn write_code(
    folder: &Path,
    input: &BundleInput<'_, '_>,
    lowered: Lowered,
    files: DeviceFiles,
) -> Result<[u8; 32], BundleError> {
    let DeviceFiles { host, kernels, cubins } = files;
    let mut contents =
        BTreeMap::from([(super::CpuLevel::V2.file().to_string(), host), (PTX.into(), kernels)]);
    let names: BTreeMap<u32, String> =
        cubins.keys().map(|&number| (number, format!("kernels-sm_{number}.cubin"))).collect();
    contents.extend(names.values().cloned().zip(cubins.into_values()));
    let device = DeviceCode { ptx: PTX.into(), cubins: names, scratch_bytes: lowered.scratch_bytes };
    assemble(folder, input, contents, lowered, Some(device))
}
