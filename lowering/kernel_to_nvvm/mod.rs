//! `kernel-to-gpu`: kernels become functions that run on a device, and the host program one that launches them.
//!
//! Before: a module of the `kernel` dialect whose allocations have places in an arena (`kernel-plan-memory`). After: a
//! `gpu.module @kernels` with one or more functions for each kernel, launched in the order of their numbers, and the
//! host program as `kernel-to-cpu` makes it, but for calls of the device.
//!
//! 1. [`plan`] splits a kernel into device functions; [`schedule`] says how much each thread and block does.
//! 2. [`tile`] has word-by-word operations, [`sums`] sums of products, [`transform`] transforms and [`conversion`] base
//!    conversions; [`residue`] the modular arithmetic of one thread.
//! 3. [`ptx`] turns the functions into the text that CUDA drivers and `ptxas` read.
//! 4. Without a device: [`emulator`] runs the functions on the CPU; [`assemble`] and [`sass`] say what the assembler makes
//!    of them, [`count`] how often each is launched, [`predict`] what that takes, and [`report`] all of it.
//!
//! Every function of a kernel takes the kernel's arguments, the address of the table of twiddles, and the address of
//! the device's scratch memory.

pub mod assemble;
pub mod conversion;
pub mod count;
pub mod emulator;
pub mod plan;
pub mod predict;
pub mod ptx;
pub mod report;
pub mod residue;
pub mod sass;
pub mod schedule;
pub mod sums;
pub mod tile;
pub mod tools;
pub mod transform;

use crate::host::{self, Callee, KernelsCode, Lowered};
use crate::kernel_to_cpu::{
    arithmetic::Range,
    code::{Code, Type, Value},
    constants::TileConstants,
};
use ceria_dialects::{
    PARAMS,
    bridge::{
        hooks::{BlockLike, OperationLike, OperationRef, RegionLike},
        pass::{OptionValues, PassDescriptor, PassError},
    },
    kernel::model::{Kernel, TileOp},
    params_of,
};
use ceria_runtime::format::manifest::{self, Launch};
use conversion::{Conversion, Groups, Target};
use plan::{Plan, Root, Work};
use schedule::{OPTIONS, Phase, Schedule};
use std::collections::BTreeSet;
use tile::{Context, Frame, Section, Words};
use transform::Transform;

/// The name of the `gpu.module`.
pub const MODULE: &str = "kernels";

/// The attribute of a device function with the name of the kernel that it is a part of.
pub const KERNEL: &str = "ceria.kernel";

/// The passes of this folder.
pub const PASSES: &[&PassDescriptor] = &[&PASS, &ptx::PASS];

/// The pass `kernel-to-gpu`.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "kernel-to-gpu",
    summary: "Lower kernels and the host program for a GPU",
    description: r#"
Each kernel becomes functions that a block of threads runs for a part of a limb: one for each base conversion, one or two
for each transform, with the word-by-word operations around it, and one for what is left. Blocks are numbered by their
place in the limb (x), the prime (y) and the batch (z). Allocations must have their places (`kernel-plan-memory`).

```mlir
kernel.func @add moduli<q[0:2]> (%a: !kernel.buf<2x4096>, %b: !kernel.buf<2x4096>, %c: !kernel.buf<2x4096>) {
  %0 = kernel.load %a : !kernel.buf<2x4096>
  %1 = kernel.load %b : !kernel.buf<2x4096>
  %2 = kernel.addm %0, %1
  kernel.store %2, %c : !kernel.buf<2x4096>
}
```
becomes
```mlir
gpu.module @kernels {
  gpu.func @add_0(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>, %twiddles: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      kernel attributes {ceria.kernel = "add", known_block_size = array<i32: 128, 1, 1>, known_grid_size = array<i32: 8, 2, 1>} {
    %x = llvm.load %at invariant {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xi32>
    ...
  }
}
```
"#,
    dependent_dialects: &["gpu", "llvm", "scf", "arith", "vector"],
    options: OPTIONS,
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    lower(module, &Schedule::from_options(options)?, options.text("entry")).map(drop)
}

/// Lowers a module in place. `entry` is the function to export.
pub fn lower(module: OperationRef<'_, '_>, schedule: &Schedule, entry: &str) -> Result<Lowered, PassError> {
    let params =
        params_of(module).ok_or_else(|| PassError::op(&module, format!("has no attribute `{PARAMS}`")))?;
    let program = host::Program::read(module, &params, Callee::Device)?;
    let twiddles = program.transformed_primes(&params);
    let primes = params.primes(&twiddles);
    let mut all = KernelsCode { text: format!("gpu.module @{MODULE} {{\n"), ..KernelsCode::default() };
    for (kernel, &op) in program.kernels.iter().zip(&program.kernel_ops) {
        let code = generate(kernel, schedule, &primes, &locations(op)?);
        all.text += &code.text;
        all.scratch_words = all.scratch_words.max(code.scratch_words);
        let buffers = host::buffer_bytes(kernel);
        all.kernels.push(manifest::Kernel { name: kernel.name.clone(), launches: code.launches, buffers });
    }
    all.text += "}\n";
    program.replace(all, twiddles, entry)
}

/// The locations of a kernel's operations, as text.
fn locations(kernel: OperationRef<'_, '_>) -> Result<Vec<String>, PassError> {
    let mut list = Vec::new();
    let mut next = kernel.region(0)?.first_block().and_then(|block| block.first_operation());
    while let Some(op) = next {
        list.push(op.location().to_string());
        next = op.next_in_block();
    }
    Ok(list)
}

/// A kernel's code.
pub struct KernelCode {
    /// Definitions of globals and the functions.
    pub text: String,
    /// What is launched, in order.
    pub launches: Vec<Launch>,
    /// Words of scratch memory.
    pub scratch_words: usize,
}

/// Generates the functions of a kernel. `twiddles` are the primes of the table of twiddles.
pub fn generate(kernel: &Kernel, schedule: &Schedule, twiddles: &[u32], locations: &[String]) -> KernelCode {
    let plan = Plan::new(kernel);
    let context = Context::new(kernel, &plan, twiddles, locations);
    let mut writer = Writer {
        context: &context,
        schedule,
        constants: TileConstants::new(&kernel.name, kernel.moduli.len(), Type::Global),
        text: String::new(),
        launches: Vec::new(),
    };
    let phases = schedule.phases(kernel.n.ilog2() as usize);
    for work in &plan.works {
        match work {
            Work::Convert { op, store } => writer.convert(*op, *store),
            Work::Words { roots } => writer.words(roots),
            Work::Transform { op, roots } => {
                let transform = Transform { op: *op, phases: &phases, roots };
                (0..phases.len()).for_each(|place| writer.transform(&transform, place));
            }
        }
    }
    let rows = plan.scratch_rows * kernel.batch * kernel.moduli.len();
    KernelCode {
        text: writer.constants.definition() + &writer.text,
        launches: writer.launches,
        scratch_words: rows * kernel.n,
    }
}

/// Writes the functions of one kernel.
struct Writer<'w> {
    context: &'w Context<'w>,
    schedule: &'w Schedule,
    constants: TileConstants,
    text: String,
    launches: Vec<Launch>,
}

impl<'w> Writer<'w> {
    /// Writes a function and notes its launch. The body gets the name of its shared memory.
    fn function(
        &mut self,
        (grid, threads): ([usize; 3], usize),
        stored: &BTreeSet<usize>,
        shared_words: usize,
        body: impl FnOnce(&mut Code, &[Value], &mut TileConstants, &str),
    ) {
        let kernel = self.context.kernel;
        let symbol = format!("{}_{}", kernel.name, self.launches.len());
        let shared = format!("{symbol}_shared");
        if shared_words > 0 {
            self.text += &format!(
                "llvm.mlir.global internal @{shared}() {{addr_space = 3 : i32, alignment = 16 : i64}} : !llvm.array<{shared_words} x i32>\n"
            );
        }
        let [x, y, z] = grid;
        let attributes = format!(
            "{KERNEL} = \"{}\", known_block_size = array<i32: {threads}, 1, 1>, known_grid_size = array<i32: {x}, {y}, {z}>",
            kernel.name
        );
        let arguments = self.context.arguments(stored);
        let constants = &mut self.constants;
        self.text += &Code::device_function(&symbol, &arguments, &attributes, |code, args| {
            body(code, args, constants, &shared);
        });
        self.launches.push(Launch {
            symbol,
            grid: grid.map(|blocks| blocks as u32),
            block: threads as u32,
            shared_bytes: 0,
        });
    }

    /// A base conversion.
    fn convert(&mut self, op: usize, store: Option<usize>) {
        let context = self.context;
        let kernel = context.kernel;
        let TileOp::Bconv { from, .. } = &kernel.body[op] else { return };
        let every: Vec<usize> = (0..kernel.moduli.len()).collect();
        let (target, places) = match store.map(|store| &kernel.body[store]) {
            Some(TileOp::Store { buffer, limbs, .. }) => (Target::Buffer(*buffer), &limbs.rows),
            _ => {
                let row = conversion::row_of(context.plan, &kernel.body[op]);
                (Target::Scratch(row.unwrap_or(0)), &every)
            }
        };
        let stored = match target {
            Target::Buffer(buffer) => BTreeSet::from([buffer]),
            Target::Scratch(_) => BTreeSet::new(),
        };
        let groups = Groups::new(kernel, self.schedule, from, places);
        let pieces = kernel.n / conversion::words(kernel, from.len());
        let threads = self.schedule.threads.min(pieces);
        let location = context.locations.get(op).map_or("", String::as_str);
        let conversion = Conversion { kernel, op, target, groups: &groups, threads, location };
        let grid = [pieces / threads, groups.count, kernel.batch];
        self.function((grid, threads), &stored, groups.shared_words(), |code, args, constants, shared| {
            conversion.function(code, constants, shared, args);
        });
    }

    /// Word-by-word operations.
    fn words(&mut self, roots: &[Root]) {
        let context = self.context;
        let n = context.kernel.n;
        let count = n.min(4);
        let with_sums = context.kernel.body.iter().any(|op| matches!(op, TileOp::WeightedSum(_)));
        let each = if with_sums { count } else { self.schedule.words.min(n) };
        let threads = self.schedule.threads.min(n / each);
        let grid = [n / each / threads, context.kernel.moduli.len(), context.kernel.batch];
        self.function((grid, threads), &context.stored(roots), 0, |code, args, constants, _| {
            let mut frame = Frame::new(code, context, constants, args);
            let size = code.constant(Type::Word, (each * threads) as i64);
            let first = code.mul(frame.block, size);
            let own = code.shift_left(frame.thread, i64::from(count.ilog2()));
            let base = code.add(first, own);
            let base = code.extend(base);
            let write = |frame: &mut Frame<'_>, code: &mut Code, range| {
                let mut section = Section::new(frame, range, base, roots);
                for offset in (0..each * threads).step_by(count * threads) {
                    section.roots(code, roots, Words { base, offset, count });
                }
            };
            if with_sums {
                frame.by_range(code, write);
            } else {
                // Without sums of products the code is the same for all primes.
                write(&mut frame, code, Range::Strict);
            }
        });
    }

    /// A phase of a transform, by its place in the order.
    fn transform(&mut self, transform: &Transform<'_>, place: usize) {
        let context = self.context;
        let kernel = context.kernel;
        let count = transform.phases.len();
        let forward = matches!(kernel.body[transform.op], TileOp::Ntt { .. });
        let phase: &Phase = &transform.phases[if forward { place } else { count - 1 - place }];
        let stored = if place + 1 == count { context.stored(transform.roots) } else { BTreeSet::new() };
        let grid = [phase.blocks(), kernel.moduli.len(), kernel.batch];
        self.function(
            (grid, phase.threads()),
            &stored,
            phase.shared_words(),
            |code, args, constants, shared| {
                let mut frame = Frame::new(code, context, constants, args);
                transform.phase(code, &mut frame, shared, place);
            },
        );
    }
}
