//! Kernels that the compiler lowers for GPUs, run with every access checked, agree word for word with the interpreter.

use super::super::{Emulated, EmulatorError, Mode};
use crate::{
    kernel_to_nvvm::{KernelCode, Library, schedule::Schedule},
    random_kernels::{Case, Random, case, interpreted, primes, twiddle_table},
};
use ceria_dialects::{
    context,
    kernel::model::{ArgumentKind, TileOp},
};
use ceria_runtime::{
    device::{Device, DeviceError},
    format::manifest::Launch,
};
use melior::ir::{Module, OperationRef};
use std::{collections::HashSet, mem::discriminant};

/// The device code of kernels, with what is needed to launch them.
pub struct Suite {
    /// The kernels.
    pub cases: Vec<Case>,
    codes: Vec<KernelCode>,
    library: Library,
    twiddles: Vec<u32>,
}

impl Suite {
    /// Generates code. Operations of kernels are at locations like `"k0.3"`.
    pub fn new(cases: Vec<Case>, n: usize, schedule: &Schedule) -> Self {
        // Backwards, so that numbers of entries are not those of primes.
        let mut primes = primes(&cases);
        primes.reverse();
        let mut library = Library::default();
        let generate = |case: &Case| {
            let places = 0..case.kernel.body.len();
            let places: Vec<String> =
                places.map(|op| format!("loc(\"{}.{op}\")", case.kernel.name)).collect();
            library.add(&case.kernel, schedule, &primes, &places)
        };
        let codes = cases.iter().map(generate).collect();
        Self { codes, library, twiddles: twiddle_table(&primes, n), cases }
    }

    /// The device functions of all kernels.
    pub fn functions(&self) -> &str {
        &self.library.text
    }

    /// What is launched for a kernel.
    pub fn launches(&self, index: usize) -> &[Launch] {
        &self.codes[index].launches
    }

    /// A module of device functions.
    pub fn module(functions: &str) -> String {
        format!("module attributes {{gpu.container_module}} {{\ngpu.module @kernels {{\n{functions}}}\n}}\n")
    }

    /// A device with some device code.
    pub fn device(text: &str, mode: Mode) -> Result<Emulated, EmulatorError> {
        let context = context();
        let module = Module::parse(&context, text).unwrap_or_else(|| panic!("does not parse:\n{text}"));
        // SAFETY: the module lives as long as the reference.
        Emulated::new(unsafe { OperationRef::from_raw(module.as_operation().to_raw()) }, mode)
    }

    /// The operands of a kernel after its launches. On the device the names of functions begin with `prefix`.
    pub fn run(
        &self,
        index: usize,
        prefix: &str,
        device: &mut Emulated,
    ) -> Result<Vec<Vec<u32>>, DeviceError> {
        let (case, code) = (&self.cases[index], &self.codes[index]);
        let mut operands = case.operands.clone();
        let mut values = Vec::new();
        let kinds = &case.kernel.arguments;
        for (words, kind) in operands.iter().zip(kinds) {
            values.push(match kind {
                ArgumentKind::Buffer(_) => put(device, words)?,
                ArgumentKind::Index => u64::from(words[0]),
            });
        }
        values.push(put(device, &self.twiddles)?);
        let constants = put(device, &self.library.constants.words)?;
        values.push(constants);
        values.push(device.allocate(4 * code.scratch_words as u64)?);
        for launch in &code.launches {
            let value = |&argument: &u32| match values[argument as usize] {
                value if value == constants => value + 4 * launch.constants,
                value => value,
            };
            let parameters: Vec<u64> = launch.arguments.iter().map(value).collect();
            let symbol = format!("{prefix}{}", launch.symbol);
            device.launch(&Launch { symbol, ..launch.clone() }, &parameters)?;
        }
        for ((words, kind), &address) in operands.iter_mut().zip(kinds).zip(&values) {
            if let ArgumentKind::Buffer(_) = kind {
                device.download(address, words)?;
            }
        }
        Ok(operands)
    }
}

fn put(device: &mut Emulated, words: &[u32]) -> Result<u64, DeviceError> {
    let address = device.allocate(size_of_val(words) as u64)?;
    device.upload(address, words)?;
    Ok(address)
}

/// Runs kernels by one schedule.
fn check(cases: Vec<Case>, n: usize, schedule: &Schedule) {
    let suite = Suite::new(cases, n, schedule);
    let mut device =
        Suite::device(&Suite::module(suite.functions()), Mode::Checked).unwrap_or_else(|e| panic!("{e}"));
    for (index, case) in suite.cases.iter().enumerate() {
        let found = suite.run(index, "", &mut device);
        let found = found.unwrap_or_else(|e| panic!("{e}\n{:?}", case.kernel));
        for (argument, (found, expected)) in found.iter().zip(interpreted(case)).enumerate() {
            let first = found.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(first, None, "argument {argument} of {:?}", case.kernel);
        }
    }
}

/// Random kernels that are wanted.
fn cases(seed: u64, count: usize, n: usize, wanted: impl Fn(&Case) -> bool) -> Vec<Case> {
    let mut random = Random(seed);
    let mut drawn = (0..).map(|i| case(&format!("k{i}"), n, &mut random));
    std::iter::from_fn(|| drawn.next()).filter(wanted).take(count).collect()
}

/// Whether a kernel transforms what it stores, once or twice.
fn is_transform(case: &Case) -> bool {
    let transforms = |op: &&&TileOp| matches!(op, TileOp::Ntt { .. } | TileOp::Intt { .. });
    (1..=2).contains(&case.needed().iter().filter(transforms).count())
}

#[test]
fn kernels_agree_with_the_interpreter() {
    let schedule = Schedule::default();
    let mut kinds = HashSet::new();
    for (seed, count, n) in [(1, 12, 8), (2, 24, 32), (3, 12, 256)] {
        let cases = cases(seed, count, n, |_| true);
        kinds.extend(cases.iter().flat_map(Case::needed).map(discriminant));
        check(cases, n, &schedule);
    }
    assert_eq!(kinds.len(), 16, "the seeds leave out kinds of operations");
}

#[test]
fn transforms_of_two_functions_agree_with_the_interpreter() {
    check(cases(4, 3, 4096, is_transform), 4096, &Schedule::default());
    check(cases(5, 2, 8192, is_transform), 8192, &Schedule::default());
}

#[test]
fn schedules_of_other_shapes_agree_with_the_interpreter() {
    let default = Schedule::default();
    let narrow = Schedule { ntt_single: 4, ntt_radix: 2, ntt_threads: 32, ..default.clone() };
    let wide = Schedule { ntt_radix: 3, threads: 32, words: 16, bconv_group: 3, ..default.clone() };
    let split = Schedule { ntt_single: 5, ntt_split: 5, ntt_words: 3, threads: 64, words: 8, ..default };
    check(cases(6, 4, 256, is_transform), 256, &narrow);
    check(cases(7, 8, 128, |_| true), 128, &wide);
    check(cases(8, 4, 512, is_transform), 512, &split);
}
