//! The host program: functions on buffers become functions on addresses.
//!
//! Before: a module of the `kernel` dialect whose allocations have places in an arena (`kernel-plan-memory`). After:
//! functions of `llvm`, `scf` and `arith` operations, as text, which export the entry of
//! [`ceria_runtime::format::abi`]. One [writer](writer::HostWriter) serves all devices.
//!
//! Every function takes three addresses first: the runtime's table of functions, the tables of the bundle, and its
//! part of the arena. Buffers become addresses, allocations places in the arena, launches calls of the runtime with the
//! kernel's arguments in memory: of `parallel_for` with a kernel's function where that is in the program too, of `launch`
//! where it is a device's ([`Callee`]). Copies and reads of buffers are the runtime's too where memory is a device's.
//! Loops, conditions and arithmetic stay as they are.

mod writer;

#[cfg(test)]
mod tests;

use crate::bundle::{BundleError, CpuLevel, shared_library};
use ceria_dialects::{
    bridge::{
        emit::{Form, emit, lower_to_llvm},
        hooks::{BlockLike, OperationLike, OperationRef, RegionLike, context_of},
        pass::{OptionValues, PassError},
    },
    interpret::name_of,
    kernel::model::{ArgumentKind, Kernel, TileOp},
};
use ceria_passes::kernel::plan_memory;
use ceria_runtime::format::{
    basis::{Basis, Prime},
    manifest,
    params::Params,
};
use melior::ir::{
    BlockRef, Module,
    attribute::{ArrayAttribute, DictionaryAttribute, StringAttribute},
};
use std::collections::BTreeSet;
use writer::{HostWriter, frame_bytes};

/// What launches call.
#[derive(Clone, Copy, Debug)]
pub enum Callee {
    /// Functions of the same module, one for each kernel, through the runtime's `parallel_for`.
    Cpu {
        /// What the names of kernels are prefixed with.
        prefix: &'static str,
        /// How many calls of a kernel's function there are in a launch.
        calls: fn(&Kernel) -> usize,
    },
    /// A device's functions, through the runtime's `launch`. Pointers are addresses of the device.
    Device,
}

impl Callee {
    /// The error for an operation that has no counterpart.
    fn refuse(&self, op: OperationRef<'_, '_>) -> PassError {
        let what = match self {
            Self::Cpu { .. } => "cannot be lowered to the CPU",
            Self::Device => "cannot be lowered to a device",
        };
        PassError::op(&op, what)
    }
}

/// What the runtime must know of a lowered program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// The kernels, by number; with what is launched for each where they are a device's.
    pub kernels: Vec<manifest::Kernel>,
    /// The tables' names, by number; the table of twiddles comes after them, and on a device that of constants.
    pub tables: Vec<String>,
    /// The primes of the table of twiddles, in the order of its entries.
    pub twiddles: Basis,
    /// The words of a device's table of constants.
    pub constants: Vec<u32>,
    /// Bytes of scratch memory: of each thread of a CPU, or of a device, whose launches share it.
    pub scratch_bytes: u64,
    /// Bytes of the arena.
    pub arena_bytes: u64,
    /// Buffers that the entry takes, and those that it fills.
    pub inputs: usize,
    /// See `inputs`.
    pub outputs: usize,
}

/// The code of all kernels.
#[derive(Clone, Debug, Default)]
pub struct KernelsCode {
    /// Operations as text.
    pub text: String,
    /// What the manifest says of the kernels, in their order.
    pub kernels: Vec<manifest::Kernel>,
    /// What device functions read numbers from.
    pub constants: Vec<u32>,
    /// Words of scratch memory.
    pub scratch_words: usize,
}

/// A module of the kernel dialect, taken apart.
pub struct Program<'c, 'a> {
    module: OperationRef<'c, 'a>,
    callee: Callee,
    /// The kernels, in the order of the manifest.
    pub kernels: Vec<Kernel>,
    /// The operations of the kernels, in the same order.
    pub kernel_ops: Vec<OperationRef<'c, 'a>>,
    /// The tables, in the order of the manifest; the table of twiddles comes after them.
    tables: Vec<String>,
    functions: Vec<OperationRef<'c, 'a>>,
}

impl<'c: 'a, 'a> Program<'c, 'a> {
    /// Takes a module apart; nothing in it may be what `callee` has no counterpart for.
    pub fn read(module: OperationRef<'c, 'a>, params: &Params, callee: Callee) -> Result<Self, PassError> {
        let mut program = Self {
            module,
            callee,
            kernels: Vec::new(),
            kernel_ops: Vec::new(),
            tables: Vec::new(),
            functions: Vec::new(),
        };
        let mut next = module.region(0)?.first_block().and_then(|block| block.first_operation());
        while let Some(op) = next {
            match name_of(op).as_str() {
                "kernel.func" => {
                    let kernel = Kernel::decode(op, params).map_err(|message| PassError::op(&op, message))?;
                    program.kernels.push(kernel);
                    program.kernel_ops.push(op);
                }
                "kernel.table" => program.tables.push(symbol_name(op)),
                "func.func" => program.functions.push(op),
                // Weights and what plaintexts are encoded from matter to the bundle only.
                "fhe.weights" | "ckks.matrix" | "ckks.vector" => {}
                _ => return Err(callee.refuse(op)),
            }
            next = op.next_in_block();
        }
        Ok(program)
    }

    /// The primes of all kernels that transform limbs: those of the table of twiddles, in the order of its entries.
    pub fn transformed_primes(&self, params: &Params) -> Basis {
        let transforms = |op: &TileOp| matches!(op, TileOp::Ntt { .. } | TileOp::Intt { .. });
        let used: BTreeSet<u32> = self
            .kernels
            .iter()
            .filter(|kernel| kernel.body.iter().any(transforms))
            .flat_map(|kernel| kernel.moduli.iter().copied())
            .collect();
        let primes: Vec<Prime> =
            params.full_basis().iter().filter(|&prime| used.contains(&params.prime(prime))).collect();
        Basis::from_primes(primes)
    }

    /// Puts the code of the kernels, and the host program, which exports the function `entry`, in the place of all that
    /// the module has. `twiddles` are the [transformed primes](Self::transformed_primes).
    pub fn replace(self, code: KernelsCode, twiddles: Basis, entry: &str) -> Result<Lowered, PassError> {
        let mut host = HostWriter::new(&self.kernels, &self.tables, &self.callee);
        let mut exported = None;
        for &func in &self.functions {
            host.function(func)?;
            if symbol_name(func) == entry {
                let (inputs, outputs) = ports(func)?;
                host.entry(func, inputs, outputs)?;
                exported = Some((func, inputs, outputs));
            }
        }
        let (main, inputs, outputs) = exported
            .ok_or_else(|| PassError::op(&self.module, format!("has no function @{entry} to export")))?;
        let arena_bytes = frame_bytes(main)
            .ok_or_else(|| PassError::op(&main, "has no memory plan; run kernel-plan-memory before"))?;
        let text = format!("module {{\n{}{}}}\n", code.text, host.finish());
        replace_body(self.module, &text)?;
        Ok(Lowered {
            kernels: code.kernels,
            tables: self.tables,
            twiddles,
            constants: code.constants,
            scratch_bytes: code.scratch_words as u64 * manifest::WORD,
            arena_bytes,
            inputs,
            outputs,
        })
    }
}

/// A copy of a module of kernels, its memory planned.
pub fn planned<'c>(kernel: OperationRef<'c, '_>) -> Result<Module<'c>, PassError> {
    // SAFETY: the clone is owned by `module` and destroyed with it.
    let module = unsafe {
        Module::from_raw(mlir_sys::mlirModuleFromOperation(mlir_sys::mlirOperationClone(kernel.to_raw())))
    };
    plan_memory::run(module.as_operation(), &OptionValues::defaults(&[]))?;
    Ok(module)
}

/// Compiles the host program of a device, all that is in the module, as a shared library for any x86-64: it computes
/// addresses and little else. The module is lowered in place.
pub fn compile(module: OperationRef<'_, '_>) -> Result<Vec<u8>, BundleError> {
    lower_to_llvm(module)?;
    shared_library(&emit(module, &CpuLevel::V2.target(), Form::Object)?)
}

/// For each argument of a kernel the bytes of its buffer, 0 for a number: what the manifest says of it.
pub fn buffer_bytes(kernel: &Kernel) -> Vec<u64> {
    let bytes = |argument: &ArgumentKind| match argument {
        ArgumentKind::Buffer(shape) => shape.iter().product::<usize>() as u64 * 4,
        ArgumentKind::Index => 0,
    };
    kernel.arguments.iter().map(bytes).collect()
}

/// The name of a symbol.
pub(crate) fn symbol_name(op: OperationRef<'_, '_>) -> String {
    let name = op.attribute("sym_name").ok().and_then(|a| StringAttribute::try_from(a).ok());
    name.map(|name| name.value().to_string()).unwrap_or_default()
}

/// The number of buffers a function takes, and of those that follow and are marked `kernel.output`.
pub(crate) fn ports(func: OperationRef<'_, '_>) -> Result<(usize, usize), PassError> {
    let count = func.region(0)?.first_block().map_or(0, |block| block.argument_count());
    let attributes = func.attribute("arg_attrs").ok().and_then(|a| ArrayAttribute::try_from(a).ok());
    let is_output = |i: usize| {
        let dictionary = attributes.as_ref().and_then(|all| all.element(i).ok());
        dictionary
            .and_then(|d| DictionaryAttribute::try_from(d).ok())
            .is_some_and(|d| d.element_by_name("kernel.output").is_some())
    };
    let inputs = (0..count).take_while(|&i| !is_output(i)).count();
    if (inputs..count).any(|i| !is_output(i)) {
        return Err(PassError::op(&func, "has an input after an output"));
    }
    Ok((inputs, count - inputs))
}

/// Replaces everything in a module by the operations of a text.
fn replace_body(module: OperationRef<'_, '_>, text: &str) -> Result<(), PassError> {
    let context = context_of(module);
    let parsed = Module::parse(context, text).ok_or_else(|| {
        PassError::op(&module, "was lowered to text that does not parse; this is a bug of the compiler")
    })?;
    let body = module.region(0)?.first_block().ok_or_else(|| PassError::op(&module, "has no body"))?;
    while let Some(op) = body.first_operation() {
        // SAFETY: symbols are referred to by name, and everything that refers goes as well.
        unsafe { mlir_sys::mlirOperationDestroy(op.to_raw()) };
    }
    while let Some(op) = parsed.body().first_operation() {
        move_to(op, body);
    }
    Ok(())
}

/// Moves an operation to the end of a block.
pub(crate) fn move_to<'c>(op: OperationRef<'c, '_>, block: BlockRef<'c, '_>) {
    // SAFETY: the operation leaves its block before the other owns it.
    unsafe {
        mlir_sys::mlirOperationRemoveFromParent(op.to_raw());
        mlir_sys::mlirBlockAppendOwnedOperation(block.to_raw(), op.to_raw());
    }
}
