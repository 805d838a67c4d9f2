//! `kernel-to-gpu`: kernels become functions that run on a device, and the host program one that launches them.
//!
//! Before: a module of the `kernel` dialect whose allocations have places in an arena (`kernel-plan-memory`). After: a
//! `gpu.module @kernels` with one or more functions for each kernel, launched in the order of their numbers, and the
//! host program as `kernel-to-cpu` makes it, but for calls of the device.
//!
//! 1. [`plan`] splits a kernel into device functions; [`schedule`] says how much each thread and block does.
//! 2. [`parameters`]: what functions are given. [`tile`] has word-by-word operations, [`sums`] sums of products, [`transform`] transforms and [`conversion`] base
//!    conversions; [`residue`] the modular arithmetic of one thread.
//! 3. [`ptx`] turns the functions into the text that CUDA drivers and `ptxas` read.
//! 4. Without a device: [`emulator`] runs the functions on the CPU; [`assemble`] and [`sass`] say what the assembler makes
//!    of them, [`count`] how often each is launched, [`predict`] what that takes, and [`report`] all of it.
//!
//! A function takes what it uses of the kernel's arguments, the table of twiddles, its launch's constants and the device's
//! scratch memory ([`parameters`]). Kernels that differ in numbers only share functions: what there is to compile depends
//! on what kinds of kernels there are, not on how many.

pub mod assemble;
pub mod conversion;
pub mod count;
pub mod emulator;
pub mod parameters;
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
pub mod tune;

use crate::host::{self, Callee, KernelsCode, Lowered};
use crate::kernel_to_cpu::{
    arithmetic::Range,
    code::{Code, DeviceFunction, Type},
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
use parameters::{ConstantTable, Parameters};
use plan::{Plan, Root, Work};
use schedule::{OPTIONS, Phase, Schedule};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write,
};
use tile::{Context, Frame, Section, Words};
use transform::Transform;

/// The name of the `gpu.module`.
pub const MODULE: &str = "kernels";

/// The attribute of the `gpu.module` with what is launched for each kernel.
pub const LAUNCHES: &str = "ceria.launches";

/// The attribute of the `gpu.module` with the words of the table of constants.
pub const CONSTANTS: &str = "ceria.constants";

/// The passes of this folder.
pub const PASSES: &[&PassDescriptor] = &[&PASS, &ptx::PASS];

/// The pass `kernel-to-gpu`.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "kernel-to-gpu",
    summary: "Lower kernels and the host program for a GPU",
    description: r#"
Each kernel becomes launches of functions that a block of threads runs for a part of a limb: one for each base
conversion, one or two for each transform, with the word-by-word operations around it, and one for what is left. Blocks
are numbered by their place in the limb (x), the prime (y) and the batch (z). Kernels that do the same with other primes,
rows or constants launch the same functions: what differs is in `ceria.constants`, from the word on that the launch says.
The numbers of a launch's arguments count the kernel's, then the table of twiddles, the constants and scratch memory.
Allocations must have their places (`kernel-plan-memory`).

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
gpu.module @kernels attributes {
    ceria.constants = dense<[...]> : tensor<16xi32>,
    ceria.launches = {add = [{arguments = array<i32: 4, 0, 1, 2>, constants = 0, function = @words_0, grid = array<i32: 8, 2, 1>}]}} {
  gpu.func @words_0(%constants: !llvm.ptr<1>, %a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>)
      kernel attributes {known_block_size = array<i32: 128, 1, 1>} {
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
    if !twiddles.is_empty() && schedule.phases(params.log_n as usize).is_empty() {
        let text = schedule.to_text();
        let text = format!("has transforms of {} words, for which {text} leaves no schedule", params.n());
        return Err(PassError::op(&module, text));
    }
    let mut library = Library::default();
    let mut all = KernelsCode::default();
    for (kernel, &op) in program.kernels.iter().zip(&program.kernel_ops) {
        let code = library.add(kernel, schedule, &primes, &locations(op)?);
        all.scratch_words = all.scratch_words.max(code.scratch_words);
        let buffers = host::buffer_bytes(kernel);
        all.kernels.push(manifest::Kernel { name: kernel.name.clone(), launches: code.launches, buffers });
    }
    all.text = library.module(&all.kernels);
    all.constants = library.constants.words;
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

/// How a kernel is run.
pub struct KernelCode {
    /// What is launched, in order.
    pub launches: Vec<Launch>,
    /// Words of scratch memory.
    pub scratch_words: usize,
}

/// The functions of kernels, and their constants.
#[derive(Default)]
pub struct Library {
    /// Definitions of the functions.
    pub text: String,
    /// The table of constants.
    pub constants: ConstantTable,
    /// The names of functions, by what they do and their threads.
    known: HashMap<(String, usize), String>,
    /// How many functions there are of each kind.
    counts: BTreeMap<&'static str, usize>,
    /// Sizes of shared memory that functions have, in words.
    shared: BTreeSet<usize>,
}

impl Library {
    /// Generates what is not there yet of a kernel's functions. `twiddles` are the primes of the table of twiddles.
    pub fn add(
        &mut self,
        kernel: &Kernel,
        schedule: &Schedule,
        twiddles: &[u32],
        locations: &[String],
    ) -> KernelCode {
        let plan = Plan::new(kernel);
        let context = Context::new(kernel, &plan, twiddles, locations);
        let phases = schedule.phases(kernel.n.ilog2() as usize);
        let mut writer = Writer { context: &context, schedule, library: self, launches: Vec::new() };
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
        KernelCode { launches: writer.launches, scratch_words: rows * kernel.n }
    }

    /// The name of the shared memory of functions that have so many words of it.
    fn shared(&mut self, words: usize) -> String {
        let name = format!("shared_{words}");
        if words > 0 && self.shared.insert(words) {
            let _ = writeln!(
                self.text,
                "llvm.mlir.global internal @{name}() {{addr_space = 3 : i32, alignment = 16 : i64}} : !llvm.array<{words} x i32>"
            );
        }
        name
    }

    /// The name of a function of so many threads, which is defined if there is none that does the same.
    fn name(&mut self, kind: &'static str, function: &DeviceFunction, threads: usize) -> String {
        let (text, counts) = (&mut self.text, &mut self.counts);
        let define = || {
            let count = counts.entry(kind).or_default();
            let name = format!("{kind}_{count}");
            *count += 1;
            text.push_str(
                &function.define(&name, &format!("known_block_size = array<i32: {threads}, 1, 1>")),
            );
            name
        };
        self.known.entry((function.key(), threads)).or_insert_with(define).clone()
    }

    /// The `gpu.module`, with how these kernels are run.
    fn module(&self, kernels: &[manifest::Kernel]) -> String {
        let list = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let launch = |launch: &Launch| {
            format!(
                "{{arguments = array<i32: {}>, constants = {}, function = @{}, grid = array<i32: {}>}}",
                list(&launch.arguments),
                launch.constants,
                launch.symbol,
                list(&launch.grid)
            )
        };
        let launches = kernels.iter().map(|kernel| {
            let launches: Vec<String> = kernel.launches.iter().map(launch).collect();
            format!("{} = [{}]", kernel.name, launches.join(", "))
        });
        let launches = launches.collect::<Vec<_>>().join(",\n  ");
        let constants = &self.constants.words;
        let words: Vec<String> = constants.iter().map(|&word| (word as i32).to_string()).collect();
        format!(
            "gpu.module @{MODULE} attributes {{{LAUNCHES} = {{{launches}}}, {CONSTANTS} = dense<[{}]> : tensor<{}xi32>}} {{\n{}}}\n",
            words.join(", "),
            constants.len(),
            self.text
        )
    }
}

/// Writes the functions of one kernel.
struct Writer<'w> {
    context: &'w Context<'w>,
    schedule: &'w Schedule,
    library: &'w mut Library,
    launches: Vec<Launch>,
}

/// What a function is launched with.
struct Shape<'s> {
    /// What its name begins with.
    kind: &'static str,
    grid: [usize; 3],
    threads: usize,
    /// The buffers that it stores to.
    stored: &'s BTreeSet<usize>,
    shared_words: usize,
}

impl<'w> Writer<'w> {
    /// Writes a function, unless it is there, and notes its launch. The body gets the name of its shared memory and
    /// returns its constants.
    fn function(
        &mut self,
        shape: &Shape<'_>,
        body: impl FnOnce(&mut Code, Parameters<'_>, &str) -> Vec<u32>,
    ) {
        let parameters = Parameters { kernel: self.context.kernel, stored: shape.stored };
        let shared = self.library.shared(shape.shared_words);
        let (function, constants) = Code::device_function(|code| body(code, parameters, &shared));
        self.launches.push(Launch {
            symbol: self.library.name(shape.kind, &function, shape.threads),
            grid: shape.grid.map(|blocks| blocks as u32),
            block: shape.threads as u32,
            shared_bytes: 0,
            arguments: function.parameters.iter().map(|&number| number as u32).collect(),
            constants: self.library.constants.place(constants),
        });
    }

    /// A base conversion.
    fn convert(&mut self, op: usize, store: Option<usize>) {
        let context = self.context;
        let kernel = context.kernel;
        let TileOp::Bconv { from, .. } = &kernel.body[op] else { return };
        let (target, places) = match store.map(|store| &kernel.body[store]) {
            Some(TileOp::Store { buffer, limbs, .. }) => (Target::Buffer(*buffer), limbs.rows.clone()),
            _ => {
                let row = conversion::row_of(context.plan, &kernel.body[op]).unwrap_or(0);
                let first = tile::scratch_limb(kernel, row);
                (Target::Scratch, (first..first + kernel.moduli.len()).collect())
            }
        };
        let stored = match target {
            Target::Buffer(buffer) => BTreeSet::from([buffer]),
            Target::Scratch => BTreeSet::new(),
        };
        let groups = Groups::new(kernel, self.schedule, from, &places);
        let pieces = kernel.n / conversion::words(kernel, from.len());
        let threads = self.schedule.threads.min(pieces);
        let location = context.locations.get(op).map_or("", String::as_str);
        let conversion = Conversion { kernel, op, target, groups: &groups, threads, location };
        let shape = Shape {
            kind: "convert",
            grid: [pieces / threads, groups.count, kernel.batch],
            threads,
            stored: &stored,
            shared_words: groups.shared_words(),
        };
        self.function(&shape, |code, parameters, shared| conversion.function(code, parameters, shared));
    }

    /// Word-by-word operations.
    fn words(&mut self, roots: &[Root]) {
        let context = self.context;
        let n = context.kernel.n;
        let count = n.min(4);
        let with_sums = context.kernel.body.iter().any(|op| matches!(op, TileOp::WeightedSum(_)));
        let each = if with_sums { count } else { self.schedule.words.min(n) };
        let threads = self.schedule.threads.min(n / each);
        let stored = context.stored(roots);
        let shape = Shape {
            kind: if with_sums { "sum" } else { "words" },
            grid: [n / each / threads, context.kernel.moduli.len(), context.kernel.batch],
            threads,
            stored: &stored,
            shared_words: 0,
        };
        self.function(&shape, |code, parameters, _| {
            let mut frame = Frame::new(code, context, parameters);
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
            frame.finish(code)
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
        let shape = Shape {
            kind: if forward { "ntt" } else { "intt" },
            grid: [phase.blocks(), kernel.moduli.len(), kernel.batch],
            threads: phase.threads(),
            stored: &stored,
            shared_words: phase.shared_words(),
        };
        self.function(&shape, |code, parameters, shared| {
            let mut frame = Frame::new(code, context, parameters);
            transform.phase(code, &mut frame, shared, place);
            frame.finish(code)
        });
    }
}
