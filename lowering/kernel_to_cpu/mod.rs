//! `kernel-to-cpu`: kernels and the host program become operations that LLVM can compile for a CPU.
//!
//! Before: a module of the `kernel` dialect whose allocations have places in an arena (`kernel-plan-memory`). After: a
//! module of `llvm`, `scf`, `arith` and `vector` operations that exports the entry of
//! [`ceria_runtime::format::abi`]; MLIR's own conversions lower it to LLVM.
//!
//! 1. [`ntt`]: one function for each transform of a limb; [`conversion`]: one for each size of a group of limbs that
//!    bases are converted for; [`arithmetic`] has the modular arithmetic of vectors.
//! 2. [`kernels`]: one function for each kernel; [`schedule`] splits it into loops and transforms, [`sums`] has
//!    sums of products and [`constants`] what differs from prime to prime.
//! 3. [`host`]: the functions that allocate and launch.
//!
//! All of these write text through [`code`], which is parsed once at the end.

pub mod arithmetic;
pub mod code;
pub mod constants;
pub mod conversion;
pub(crate) mod host;
pub mod kernels;
pub mod measure;
pub mod ntt;
pub mod schedule;
pub mod sums;

#[cfg(test)]
mod tests;

use arithmetic::Range;
use ceria_dialects::{
    PARAMS,
    bridge::{
        hooks::{BlockLike, OperationLike, OperationRef, RegionLike, context_of},
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    interpret::name_of,
    kernel::model::{Kernel, TileOp},
    params_of,
};
use ceria_runtime::format::{
    basis::{Basis, Prime},
    params::Params,
};
use host::{HostWriter, KERNEL_PREFIX, Numbers};
use kernels::Machine;
use melior::ir::{
    Module,
    attribute::{ArrayAttribute, DictionaryAttribute, StringAttribute},
};
use std::collections::BTreeSet;

/// The passes of this folder.
pub const PASSES: &[&PassDescriptor] = &[&PASS];

/// The pass `kernel-to-cpu`.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "kernel-to-cpu",
    summary: "Lower kernels and the host program for a CPU",
    description: r#"
Each kernel becomes a function of one tile, with vectors of `lanes` 32-bit words; each function of the host program
one of addresses. Allocations must have their places (`kernel-plan-memory`). MLIR's conversions of `scf`, `vector` and
`arith` lower the rest.

```mlir
kernel.launch @add(%a, %b, %c) : !kernel.buf<2x16>, !kernel.buf<2x16>, !kernel.buf<2x16>
```
becomes stores of the three addresses and a call of the runtime:
```mlir
%f = llvm.mlir.addressof @kernel_add : !llvm.ptr
llvm.call %parallel_for(%rt, %f, %arguments, %tiles, %number)
  : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, i64, i64) -> ()
```
"#,
    dependent_dialects: &["llvm", "scf", "arith", "vector"],
    options: &[
        PassOption::int("lanes", 8, "32-bit lanes of a vector: 8 for AVX2, 16 for AVX-512"),
        PassOption::text("entry", "main", "the function to export"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let lanes = options.int("lanes");
    let lanes =
        usize::try_from(lanes).ok().filter(|lanes| lanes.is_power_of_two() && (4..=64).contains(lanes));
    let lanes = lanes.ok_or_else(|| PassError::new("lanes must be a power of two from 4 to 64"))?;
    lower(module, lanes, options.text("entry")).map(drop)
}

/// What the runtime must know of a lowered program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// The kernels' names, by number.
    pub kernels: Vec<String>,
    /// The tables' names, by number; the table of twiddles comes after them.
    pub tables: Vec<String>,
    /// The primes of the table of twiddles, in the order of its entries.
    pub twiddles: Basis,
    /// Bytes of scratch memory a thread.
    pub scratch_bytes: u64,
    /// Bytes of the arena.
    pub arena_bytes: u64,
    /// Buffers that the entry takes, and those that it fills.
    pub inputs: usize,
    /// See `inputs`.
    pub outputs: usize,
}

/// Lowers a module in place. `entry` is the function to export.
pub fn lower(module: OperationRef<'_, '_>, lanes: usize, entry: &str) -> Result<Lowered, PassError> {
    let params =
        params_of(module).ok_or_else(|| PassError::op(&module, format!("has no attribute `{PARAMS}`")))?;
    let parts = Parts::of(module, &params)?;
    let twiddles = transformed_primes(&parts.numbers.kernels, &params);
    let machine = Machine { lanes, twiddles: params.primes(&twiddles) };

    let mut text = String::from("module {\n");
    let mut scratch_words = 0;
    let mut transforms = BTreeSet::new();
    let mut conversions = BTreeSet::new();
    let mut kernels = String::new();
    for kernel in &parts.numbers.kernels {
        let code = kernels::generate(kernel, &format!("{KERNEL_PREFIX}{}", kernel.name), &machine);
        scratch_words = scratch_words.max(code.scratch_words);
        transforms.extend(code.transforms);
        conversions.extend(code.conversion);
        kernels += &code.text;
    }
    for range in Range::ALL {
        let transform = machine.transform(params.n(), range);
        if transforms.contains(&(range.suffix(), true)) {
            text += &transform.forward();
        }
        if transforms.contains(&(range.suffix(), false)) {
            text += &transform.inverse();
        }
    }
    for group in conversions {
        text += &conversion::function(params.n(), machine.lanes, group);
    }
    text += &kernels;
    let mut host = HostWriter::new(&parts.numbers);
    let mut exported = None;
    for &func in &parts.functions {
        host.function(func)?;
        if symbol_name(func) == entry {
            let (inputs, outputs) = ports(func)?;
            host.entry(func, inputs, outputs)?;
            exported = Some((func, inputs, outputs));
        }
    }
    let (main, inputs, outputs) =
        exported.ok_or_else(|| PassError::op(&module, format!("has no function @{entry} to export")))?;
    let arena_bytes = host::frame_bytes(main)
        .ok_or_else(|| PassError::op(&main, "has no memory plan; run kernel-plan-memory before"))?;
    text += &host.finish();
    text += "}\n";
    let lowered = Lowered {
        kernels: parts.numbers.kernels.iter().map(|kernel| kernel.name.clone()).collect(),
        tables: parts.numbers.tables.clone(),
        twiddles,
        scratch_bytes: scratch_words as u64 * 4,
        arena_bytes,
        inputs,
        outputs,
    };
    replace_body(module, &text)?;
    Ok(lowered)
}

/// What a module of the kernel dialect consists of.
pub(crate) struct Parts<'c, 'a> {
    pub(crate) numbers: Numbers,
    pub(crate) functions: Vec<OperationRef<'c, 'a>>,
}

impl<'c: 'a, 'a> Parts<'c, 'a> {
    pub(crate) fn of(module: OperationRef<'c, 'a>, params: &Params) -> Result<Self, PassError> {
        let mut parts = Self { numbers: Numbers::default(), functions: Vec::new() };
        let mut next = module.region(0)?.first_block().and_then(|block| block.first_operation());
        while let Some(op) = next {
            match name_of(op).as_str() {
                "kernel.func" => {
                    let kernel = Kernel::decode(op, params).map_err(|message| PassError::op(&op, message))?;
                    parts.numbers.kernels.push(kernel);
                }
                "kernel.table" => parts.numbers.tables.push(symbol_name(op)),
                "func.func" => parts.functions.push(op),
                // Weights and what plaintexts are encoded from matter to the bundle only.
                "fhe.weights" | "ckks.matrix" | "ckks.vector" => {}
                _ => return Err(PassError::op(&op, "cannot be lowered to the CPU")),
            }
            next = op.next_in_block();
        }
        Ok(parts)
    }
}

/// The primes of all kernels that transform limbs.
pub(crate) fn transformed_primes(kernels: &[Kernel], params: &Params) -> Basis {
    let used: BTreeSet<u32> = kernels
        .iter()
        .filter(|kernel| kernel.body.iter().any(|op| matches!(op, TileOp::Ntt { .. } | TileOp::Intt { .. })))
        .flat_map(|kernel| kernel.moduli.iter().copied())
        .collect();
    let primes: Vec<Prime> =
        params.full_basis().iter().filter(|&prime| used.contains(&params.prime(prime))).collect();
    Basis::from_primes(primes)
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
pub(crate) fn replace_body(module: OperationRef<'_, '_>, text: &str) -> Result<(), PassError> {
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
        // SAFETY: the operation leaves the parsed module before it is owned by the other.
        unsafe {
            mlir_sys::mlirOperationRemoveFromParent(op.to_raw());
            mlir_sys::mlirBlockAppendOwnedOperation(body.to_raw(), op.to_raw());
        }
    }
    Ok(())
}
