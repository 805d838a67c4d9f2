//! A function of kernels compiled for this machine and run in this process: what a bundle does, without a bundle. As it
//! runs once, LLVM optimises it less.

use super::RunError;
use crate::bundle;
use ceria_dialects::{
    bridge::{
        emit::Target,
        hooks::{OperationRef, context_of},
    },
    fhe::signature::{self, Side},
    interpret::symbol,
    kernel::{
        BufType,
        table::{Table, words},
    },
    params_of,
    poly::interpret::Material,
};
use ceria_runtime::{
    device::{Buffer, Executor},
    format::{manifest::Memory, twiddles},
};

/// A compiled function with its tables.
pub struct Native {
    executor: Executor,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

/// Vector lanes of the code: those of AVX2; on others LLVM splits them.
const LANES: usize = 8;

impl Native {
    /// Compiles a function of a module of kernels, which stays as it is, and fills its tables.
    pub fn compile(
        module: OperationRef<'_, '_>,
        entry: &str,
        material: &dyn Material,
    ) -> Result<Self, RunError> {
        let params =
            params_of(module).ok_or_else(|| RunError::Function("needs parameters on the module".into()))?;
        let function = symbol(module, entry).ok_or_else(|| RunError::Function("is missing".into()))?;
        let mut sizes = Vec::new();
        for index in 0..signature::count(function, Side::Arguments) {
            let ty = signature::type_of(function, Side::Arguments, index)
                .and_then(|ty| BufType::try_from(ty).ok());
            let ty = ty.ok_or_else(|| {
                RunError::Function("takes a number, which compiled functions cannot".into())
            })?;
            sizes.push(ty.shape().iter().map(|&extent| extent as usize).product());
        }
        let target = Target { level: 1, ..Target::host() };
        let (code, lowered) = bundle::compile(module, &[target], LANES, entry)?;
        let mut tables = Vec::new();
        for name in &lowered.tables {
            let op =
                symbol(module, name).ok_or_else(|| RunError::Function(format!("lost its table @{name}")))?;
            let table = Table::read(op).map_err(RunError::Function)?;
            let words = words(context_of(module), &params, &table, material).map_err(RunError::Function)?;
            tables.push(buffer(&words));
        }
        let entry = twiddles::words(params.n());
        let mut roots = vec![0; lowered.twiddles.len() * entry];
        for (words, q) in roots.chunks_exact_mut(entry.max(1)).zip(params.primes(&lowered.twiddles)) {
            twiddles::fill(q, params.log_n, words);
        }
        tables.push(buffer(&roots));
        let memory = Memory { arena_bytes: lowered.arena_bytes, scratch_bytes: lowered.scratch_bytes };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let executor = Executor::new(&code.concat(), tables, &memory, threads)?;
        let outputs = sizes.split_off(lowered.inputs.min(sizes.len()));
        Ok(Self { executor, inputs: sizes, outputs })
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
        let inputs: Vec<Buffer> = inputs.iter().map(|words| buffer(words)).collect();
        let inputs: Vec<*const u32> = inputs.iter().map(Buffer::address).collect();
        let mut outputs: Vec<Buffer> = self.outputs.iter().map(|&words| Buffer::new(words)).collect();
        // SAFETY: the code was compiled from a function with these arguments, and tables and memory are what its lowering
        // asked for; the inputs' number and sizes are checked above.
        unsafe { self.executor.execute(&inputs, &mut outputs) };
        Ok(outputs.iter().map(|buffer| buffer.words().to_vec()).collect())
    }
}

fn buffer(words: &[u32]) -> Buffer {
    let mut buffer = Buffer::new(words.len());
    buffer.words_mut().copy_from_slice(words);
    buffer
}
