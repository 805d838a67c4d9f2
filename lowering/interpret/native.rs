//! A function of kernels compiled for this machine and run in this process: what a bundle does, without a bundle. As it
//! runs once, LLVM optimises it less. Compiled for a GPU, it runs on the emulator.

use super::RunError;
use crate::{
    bundle::{self, device},
    kernel_to_nvvm::{
        emulator::{Emulated, EmulatorError, Mode},
        schedule::Schedule,
    },
};
use ceria_dialects::{
    bridge::{
        emit::Target,
        hooks::{OperationRef, context_of},
    },
    fhe::signature::{self, Side},
    interpret::symbol,
    kernel::{
        BufType, TableKind,
        table::{Table, words},
    },
    params_of,
    poly::interpret::Material,
};
use ceria_runtime::{
    device::{Buffer, DeviceExecutor, DeviceMemory, Executor, TableSize},
    format::{basis::Basis, manifest::Memory, params::Params, twiddles},
};

/// What a function is compiled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machine {
    /// This CPU.
    Cpu,
    /// A GPU, which is emulated, with kernels by this schedule.
    Emulated(Mode, Schedule),
}

/// A compiled function with its tables.
pub struct Native {
    engine: Engine,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

/// What runs the code.
enum Engine {
    Cpu(Box<Executor>),
    Emulated(Box<DeviceExecutor<Emulated>>),
}

/// Vector lanes of the code: those of AVX2; on others LLVM splits them.
const LANES: usize = 8;

impl Native {
    /// Compiles a function of a module of kernels, which stays as it is, and fills its tables.
    pub fn compile(
        machine: &Machine,
        module: OperationRef<'_, '_>,
        entry: &str,
        material: &dyn Material,
    ) -> Result<Self, RunError> {
        let params =
            params_of(module).ok_or_else(|| RunError::Function("needs parameters on the module".into()))?;
        let inputs = sizes(module, entry)?;
        let source = Source { module, params: &params, material };
        match machine {
            Machine::Cpu => source.for_cpu(entry, inputs),
            Machine::Emulated(mode, schedule) => source.for_emulator(entry, inputs, *mode, schedule),
        }
    }

    /// The words of each input.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// Runs the function on the words of its inputs; returns those of its outputs.
    pub fn run(&mut self, inputs: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, RunError> {
        let sizes: Vec<usize> = inputs.iter().map(Vec::len).collect();
        if sizes != self.inputs {
            return Err(RunError::Function(format!(
                "takes buffers of {:?} words, got {sizes:?}",
                self.inputs
            )));
        }
        let mut outputs: Vec<Buffer> = self.outputs.iter().map(|&words| Buffer::new(words)).collect();
        match &mut self.engine {
            Engine::Cpu(executor) => {
                let inputs: Vec<Buffer> = inputs.iter().map(|words| buffer(words)).collect();
                let inputs: Vec<*const u32> = inputs.iter().map(Buffer::address).collect();
                // SAFETY: the code was compiled from a function with these arguments, and tables and memory are what its
                // lowering asked for; the inputs' number and sizes are checked above.
                unsafe { executor.execute(&inputs, &mut outputs) };
            }
            Engine::Emulated(executor) => {
                let inputs: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
                // SAFETY: as above.
                unsafe { executor.execute(&inputs, &mut outputs) }?;
            }
        }
        Ok(outputs.iter().map(|buffer| buffer.words().to_vec()).collect())
    }
}

/// The words of a function's arguments.
fn sizes(module: OperationRef<'_, '_>, entry: &str) -> Result<Vec<usize>, RunError> {
    let function = symbol(module, entry).ok_or_else(|| RunError::Function("is missing".into()))?;
    let size = |index| {
        let ty = signature::type_of(function, Side::Arguments, index);
        let ty = ty.and_then(|ty| BufType::try_from(ty).ok());
        let ty =
            ty.ok_or_else(|| RunError::Function("takes a number, which compiled functions cannot".into()))?;
        Ok(ty.shape().iter().map(|&extent| extent as usize).product())
    };
    (0..signature::count(function, Side::Arguments)).map(size).collect()
}

/// What is compiled, and what its tables are filled from.
struct Source<'s, 'c, 'a> {
    module: OperationRef<'c, 'a>,
    params: &'s Params,
    material: &'s dyn Material,
}

impl Source<'_, '_, '_> {
    /// The words of the tables and of that of twiddles, and whether they are read by the host program.
    fn tables(&self, names: &[String], primes: &Basis) -> Result<Vec<(Buffer, bool)>, RunError> {
        let mut tables = Vec::new();
        for name in names {
            let op = symbol(self.module, name);
            let op = op.ok_or_else(|| RunError::Function(format!("lost its table @{name}")))?;
            let table = Table::read(op).map_err(RunError::Function)?;
            let words = words(context_of(self.module), self.params, &table, self.material);
            tables.push((buffer(&words.map_err(RunError::Function)?), table.kind == TableKind::Index));
        }
        let entry = twiddles::words(self.params.n());
        let mut roots = vec![0; primes.len() * entry];
        for (words, q) in roots.chunks_exact_mut(entry.max(1)).zip(self.params.primes(primes)) {
            twiddles::fill(q, self.params.log_n, words);
        }
        tables.push((buffer(&roots), false));
        Ok(tables)
    }

    fn for_cpu(&self, entry: &str, mut inputs: Vec<usize>) -> Result<Native, RunError> {
        let target = Target { level: 1, ..Target::host() };
        let (code, lowered) = bundle::compile(self.module, &[target], LANES, entry)?;
        let tables = self.tables(&lowered.tables, &lowered.twiddles)?;
        let tables = tables.into_iter().map(|(words, _)| words).collect();
        let memory = Memory { arena_bytes: lowered.arena_bytes, scratch_bytes: lowered.scratch_bytes };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let executor = Executor::new(&code.concat(), tables, &memory, threads)?;
        let outputs = inputs.split_off(lowered.inputs.min(inputs.len()));
        Ok(Native { engine: Engine::Cpu(Box::new(executor)), inputs, outputs })
    }

    fn for_emulator(
        &self,
        entry: &str,
        mut inputs: Vec<usize>,
        mode: Mode,
        schedule: &Schedule,
    ) -> Result<Native, RunError> {
        let (code, lowered) = device::lowered(self.module, schedule, entry)?;
        // SAFETY: the op is the module's and lives as long.
        let root = unsafe { OperationRef::from_raw(code.as_operation().to_raw()) };
        let device = Emulated::new(root, mode)?;
        let host = device::host_code(root)?;
        let mut tables = self.tables(&lowered.tables, &lowered.twiddles)?;
        tables.push((buffer(&lowered.constants), true));
        let outputs = inputs.split_off(lowered.inputs.min(inputs.len()));
        let sizes = tables.iter().map(|(words, index)| TableSize::device(words.words().len(), *index));
        let memory = DeviceMemory {
            arena_bytes: lowered.arena_bytes,
            scratch_bytes: lowered.scratch_bytes,
            tables: sizes.collect(),
            inputs: inputs.clone(),
            outputs: outputs.clone(),
        };
        let mut executor = DeviceExecutor::new(device, &host, lowered.kernels, memory)?;
        for (words, _) in tables {
            executor.add_table(words)?;
        }
        Ok(Native { engine: Engine::Emulated(Box::new(executor)), inputs, outputs })
    }
}

impl From<EmulatorError> for RunError {
    fn from(error: EmulatorError) -> Self {
        Self::Device(error.into())
    }
}

fn buffer(words: &[u32]) -> Buffer {
    let mut buffer = Buffer::new(words.len());
    buffer.words_mut().copy_from_slice(words);
    buffer
}
