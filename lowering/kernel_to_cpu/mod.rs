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
//! 3. [`host`](crate::host): the functions that allocate and launch.
//!
//! All of these write text through [`code`], which is parsed once at the end.

pub mod arithmetic;
pub mod code;
pub mod constants;
pub mod conversion;
pub mod kernels;
pub mod measure;
pub mod ntt;
pub mod schedule;
pub mod sums;

#[cfg(test)]
mod tests;

use crate::host::{self, Callee, KernelsCode, Lowered};
use arithmetic::Range;
use ceria_dialects::{
    PARAMS,
    bridge::{
        hooks::OperationRef,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    kernel::model::Kernel,
    params_of,
};
use ceria_runtime::format::manifest;
use kernels::Machine;
use std::collections::BTreeSet;

/// Prefix of the functions of kernels, so that they cannot clash with the host's.
pub const KERNEL_PREFIX: &str = "kernel_";

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

/// Lowers a module in place. `entry` is the function to export.
pub fn lower(module: OperationRef<'_, '_>, lanes: usize, entry: &str) -> Result<Lowered, PassError> {
    let params =
        params_of(module).ok_or_else(|| PassError::op(&module, format!("has no attribute `{PARAMS}`")))?;
    let callee = Callee::Cpu { prefix: KERNEL_PREFIX, calls: kernels::calls };
    let program = host::Program::read(module, &params, callee)?;
    let twiddles = program.transformed_primes(&params);
    let machine = Machine { lanes, twiddles: params.primes(&twiddles) };

    let mut text = String::new();
    let mut scratch_words = 0;
    let mut transforms = BTreeSet::new();
    let mut conversions = BTreeSet::new();
    let mut kernels = String::new();
    for kernel in &program.kernels {
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
    let named =
        |kernel: &Kernel| manifest::Kernel { name: kernel.name.clone(), ..manifest::Kernel::default() };
    let kernels = program.kernels.iter().map(named).collect();
    let code = KernelsCode { text, kernels, scratch_words, ..KernelsCode::default() };
    program.replace(code, twiddles, entry)
}
