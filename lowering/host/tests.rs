//! Host programs for devices drive a device that interprets kernels, at addresses that mean nothing to this machine, and
//! compute what programs for the CPU compute.

use super::{Callee, KernelsCode, Program, buffer_bytes, compile, planned};
use crate::interpret::native::{Machine, Native};
use ceria_dialects::{
    bridge::{hooks::OperationRef, pass::run_pipeline},
    context,
    interpret::symbol,
    kernel::{
        model::{ArgumentKind, Kernel},
        run::{Operand, run},
        table::{Table, words},
    },
    poly::{
        interpret::RandomMaterial,
        random::{Shape, program},
    },
};
use ceria_runtime::{
    device::{Buffer, Device, DeviceError, DeviceExecutor, DeviceMemory, TableSize},
    format::{
        manifest::{self, Launch},
        params::Params,
        twiddles,
    },
};
use melior::ir::Module;
use std::collections::BTreeMap;

/// A device with memory at addresses that are not this machine's.
#[derive(Default)]
struct Interpreted {
    kernels: BTreeMap<String, Kernel>,
    memory: BTreeMap<u64, Vec<u32>>,
    launches: usize,
    /// The launch that fails.
    fails: Option<usize>,
}

impl Interpreted {
    fn words(&mut self, address: u64, count: usize) -> Result<&mut [u32], DeviceError> {
        let outside = || DeviceError::Input(format!("{count} words at {address:#x} are outside the memory"));
        let (start, piece) = self.memory.range_mut(..=address).next_back().ok_or_else(outside)?;
        let first = (address - start) as usize / 4;
        piece.get_mut(first..first + count).ok_or_else(outside)
    }
}

impl Device for Interpreted {
    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        let address = (self.memory.len() as u64 + 1) << 48;
        self.memory.insert(address, vec![0xa5a5_a5a5; bytes.div_ceil(4) as usize]);
        Ok(address)
    }

    fn upload(&mut self, to: u64, words: &[u32]) -> Result<(), DeviceError> {
        self.words(to, words.len())?.copy_from_slice(words);
        Ok(())
    }

    fn download(&mut self, from: u64, words: &mut [u32]) -> Result<(), DeviceError> {
        words.copy_from_slice(self.words(from, words.len())?);
        Ok(())
    }

    fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError> {
        let words = self.words(from, bytes as usize / 4)?.to_vec();
        self.upload(to, &words)
    }

    fn launch(&mut self, launch: &Launch, parameters: &[u64]) -> Result<(), DeviceError> {
        self.launches += 1;
        if self.fails == Some(self.launches) {
            return Err(DeviceError::Input("it fails on purpose".into()));
        }
        let kernel = self.kernels[&launch.symbol].clone();
        // After the arguments come the tables of twiddles and of constants, and the scratch memory.
        assert_eq!(parameters.len(), kernel.arguments.len() + 3, "{}", kernel.name);
        let mut buffers = Vec::new();
        for (argument, &address) in kernel.arguments.iter().zip(parameters) {
            if let ArgumentKind::Buffer(shape) = argument {
                let words = self.words(address, shape.iter().product())?.to_vec();
                buffers.push((address, words));
            }
        }
        let before = buffers.clone();
        let mut left = buffers.iter_mut();
        let mut operands: Vec<Operand<'_>> = kernel
            .arguments
            .iter()
            .zip(parameters)
            .filter_map(|(argument, &number)| match argument {
                ArgumentKind::Buffer(_) => left.next().map(|(_, words)| Operand::Buffer(words)),
                ArgumentKind::Index => Some(Operand::Index(number as usize)),
            })
            .collect();
        run(&kernel, &mut operands).map_err(DeviceError::Input)?;
        let changed = buffers.iter().zip(&before).filter(|(after, before)| after != before);
        changed.into_iter().try_for_each(|((address, words), _)| self.upload(*address, words))
    }

    fn synchronize(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

fn buffer(words: &[u32]) -> Buffer {
    let mut buffer = Buffer::new(words.len());
    buffer.words_mut().copy_from_slice(words);
    buffer
}

/// The function `main` of a module on the device, and the words of its outputs.
fn on_device(
    module: OperationRef<'_, '_>,
    params: &Params,
    inputs: &[Vec<u32>],
    outputs: &[usize],
    fails: Option<usize>,
) -> Result<(Vec<Vec<u32>>, usize), DeviceError> {
    let planned = planned(module).unwrap_or_else(|e| panic!("{e}"));
    let program = Program::read(planned.as_operation(), params, Callee::Device).expect("the module is whole");
    let interpreted = program.kernels.clone();
    let launch = |kernel: &Kernel| Launch {
        symbol: kernel.name.clone(),
        grid: [1, 1, 1],
        block: 32,
        arguments: (0..kernel.arguments.len() as u32 + 3).collect(),
        ..Launch::default()
    };
    let kernels = interpreted.iter().map(|kernel| manifest::Kernel {
        name: kernel.name.clone(),
        launches: vec![launch(kernel)],
        buffers: buffer_bytes(kernel),
    });
    let code = KernelsCode { kernels: kernels.collect(), ..KernelsCode::default() };
    let twiddles = program.transformed_primes(params);
    let host = program.replace(code, twiddles, "main").unwrap_or_else(|e| panic!("{e}"));
    let code = compile(planned.as_operation()).unwrap_or_else(|e| panic!("{e}"));
    let mut tables: Vec<(Vec<u32>, bool)> = Vec::new();
    for name in &host.tables {
        let op = symbol(module, name).expect("the table is in the module");
        let table = Table::read(op).expect("the table is whole");
        let mlir = ceria_dialects::bridge::hooks::context_of(module);
        let words = words(mlir, params, &table, &RandomMaterial).expect("tables are filled");
        tables.push((words, true));
    }
    let entry = twiddles::words(params.n());
    let mut roots = vec![0; host.twiddles.len() * entry];
    for (words, q) in roots.chunks_exact_mut(entry).zip(params.primes(&host.twiddles)) {
        twiddles::fill(q, params.log_n, words);
    }
    tables.push((roots, false));
    // The interpreter needs no constants.
    tables.push((vec![0; 4], false));
    let memory = DeviceMemory {
        arena_bytes: host.arena_bytes,
        scratch_bytes: 0,
        tables: tables.iter().map(|(words, index)| TableSize::device(words.len(), *index)).collect(),
        inputs: inputs.iter().map(Vec::len).collect(),
        outputs: outputs.to_vec(),
    };
    let device = Interpreted {
        kernels: interpreted.into_iter().map(|kernel| (kernel.name.clone(), kernel)).collect(),
        fails,
        ..Interpreted::default()
    };
    let mut executor = DeviceExecutor::new(device, &code, host.kernels, memory)?;
    for (words, _) in tables {
        executor.add_table(buffer(&words))?;
    }
    let inputs: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut results: Vec<Buffer> = outputs.iter().map(|&words| Buffer::new(words)).collect();
    // SAFETY: code, kernels, tables and memory are those of one program.
    let report = unsafe { executor.execute(&inputs, &mut results) }?;
    Ok((results.iter().map(|buffer| buffer.words().to_vec()).collect(), report.launches))
}

fn check(seed: u64, loops: usize) {
    crate::register().expect("passes are registered");
    let context = context();
    let params = Params::toy(5, 2, 2);
    let text = program(seed, Shape { n: 32, ops: 16, loops });
    let text = format!("module attributes {{ckks.params = #ckks.params<{params}>}} {{\n{text}\n}}");
    let module = Module::parse(&context, &text).unwrap_or_else(|| panic!("does not parse:\n{text}"));
    let pipeline = "poly-expand-keyswitch,canonicalize,cse,poly-to-kernel";
    run_pipeline(&module.as_operation(), pipeline).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let module = module.as_operation();
    let mut native =
        Native::compile(&Machine::Cpu, module, "main", &RandomMaterial).unwrap_or_else(|e| panic!("{e}"));
    // Any word below all primes is canonical.
    let least = params.q.iter().chain(&params.p).copied().min().expect("there are primes");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u32 % least
    };
    let inputs: Vec<Vec<u32>> =
        native.inputs().iter().map(|&words| (0..words).map(|_| draw()).collect()).collect();
    let expected = native.run(&inputs).unwrap_or_else(|e| panic!("{e}"));
    let outputs: Vec<usize> = expected.iter().map(Vec::len).collect();
    let (found, launches) =
        on_device(module, &params, &inputs, &outputs, None).unwrap_or_else(|e| panic!("{e}\n{module}"));
    assert!(found == expected, "the device's results differ\n{module}");
    let error = on_device(module, &params, &inputs, &outputs, Some(launches)).expect_err("a launch fails");
    assert!(error.to_string().contains("it fails on purpose"), "{error}");
    assert!(error.to_string().starts_with("the launch of "), "{error}");
}

#[test]
fn devices_compute_what_the_cpu_computes() {
    for seed in 0..3 {
        check(seed, seed as usize);
    }
}
