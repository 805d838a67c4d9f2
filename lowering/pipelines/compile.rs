//! The way from a network to placed ciphertexts and on to kernels, as `ceria compile` goes it.
//!
//! The ring's degree decides how many slots a layout has, and the depth and precision of the program decide the degree.
//! So the depth is counted on tensors, layouts are made for the degree that it suggests, and where the ciphertext
//! program then needs a larger one, layouts are made again.

use super::{
    TO_KERNEL_TEXT, evaluate, place, prepare_text, to_ckks,
    weights::{Values, externalize},
};
use crate::fhe_to_ckks::signature::tensors;
use ceria_dialects::{
    bridge::{
        diagnostic::Diagnostic,
        hooks::*,
        pass::{PassError, PipelineError, run_pipeline},
        rewrite::find_ops,
    },
    fhe::{
        access::{Attributes, name_of},
        signature::{self, Side},
    },
    params_of,
};
use ceria_runtime::format::{
    arrays,
    manifest::Prediction,
    params::Params,
    search::{SearchError, SearchOptions},
};
use melior::ir::Module;
use ndarray::{ArrayD, Axis, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{collections::HashMap, path::Path};

/// The file of a bundle that holds all weights.
pub const CONSTANTS: &str = ceria_runtime::format::manifest::CONSTANTS;

/// What may be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Calibration data.
    pub calibrate: Option<std::path::PathBuf>,
    /// By which part of its width a calibrated range is widened on both sides.
    pub margin: f64,
    /// Bits of precision wanted of results; activations are approximated as well, up to `max_degree`.
    pub precision: f64,
    /// The largest degree of a polynomial.
    pub max_degree: i64,
    /// The smallest log2 of the ring degree.
    pub min_log_n: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { calibrate: None, margin: 0.1, precision: 8.0, max_degree: 31, min_log_n: 12 }
    }
}

/// Why a network cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A pass failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// Something between passes failed.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// No parameters fit.
    #[error(transparent)]
    Parameters(#[from] SearchError),
    /// The passes left something unexpected.
    #[error("{0}")]
    Internal(String),
}

/// A network as placed ciphertexts, with all that a bundle holds besides code.
pub struct Placed<'c> {
    /// The `ckks` module.
    pub module: Module<'c>,
    /// The network before any pass, as text that refers to [`CONSTANTS`].
    pub clear: String,
    /// The values of all weights of both.
    pub weights: Values,
    /// What passes said.
    pub remarks: Vec<Diagnostic>,
    /// The error to expect.
    pub prediction: Prediction,
}

/// Lowers a network to placed ciphertexts. `step` is told what happens next.
pub fn to_placed<'c>(
    module: Module<'c>,
    options: &Options,
    step: &mut dyn FnMut(&str),
) -> Result<Placed<'c>, CompileError> {
    let mut weights = Values::new();
    let original = clone(&module)?;
    step("folding operators and approximating activations");
    let calibrate = options.calibrate.as_deref().map(Path::to_string_lossy).unwrap_or_default();
    let text = prepare_text(&calibrate, options.margin, options.precision, options.max_degree);
    let mut remarks = run_pipeline(&module.as_operation(), &text)?;
    let depth = depth(root(&module));
    let estimate =
        Params::search(depth, 30, 36, &SearchOptions { min_log_n: options.min_log_n, ..Default::default() })?;
    let mut log_n = estimate.log_n;
    // Bits by which what is asked of the selection is more than what is wanted, after that was missed.
    let mut more = 0.0;
    loop {
        step(&format!("choosing layouts and parameters for N = 2^{log_n}"));
        let candidate = clone(&module)?;
        let mut said = run_pipeline(&candidate.as_operation(), &to_ckks(1 << (log_n - 1)))?;
        // Random inputs of full size would leave the calibrated ranges, where polynomials explode: the size of
        // outputs comes from probes instead, with three bits to spare.
        let margin = output_bits(root(&original), root(&candidate), options)? + 3;
        // Encryption need not be much more precise than the polynomials that stand for activations.
        let approximated = -approximation(root(&original), root(&candidate), options)?.log2();
        let wanted = (options.precision + 4.0).min(approximated.max(0.0) + BELOW_APPROXIMATION);
        let text = place(wanted + more, log_n.into(), PROBE_SIZE, margin);
        said.extend(run_pipeline(&candidate.as_operation(), &text)?);
        let params = params_of(root(&candidate))
            .ok_or_else(|| CompileError::Internal("no parameters were selected".into()))?;
        if params.log_n > log_n {
            log_n = params.log_n;
            continue;
        }
        step("predicting the precision");
        let noise = noise(root(&candidate), options)?;
        // The selection sees errors on small inputs; those on inputs of full size may be larger.
        let missed = wanted + noise.log2();
        if missed > MISSED && more == 0.0 {
            more = missed;
            continue;
        }
        remarks.extend(said);
        let approximation = approximated.exp2().recip();
        let error = approximation + LARGEST_DEVIATION * noise;
        let prediction =
            Prediction { precision_bits: Some(-error.log2()), max_error: Some(error), seconds: None };
        externalize(root(&original), CONSTANTS, &mut weights)?;
        externalize(root(&candidate), CONSTANTS, &mut weights)?;
        let clear = original.as_operation().to_string();
        return Ok(Placed { module: candidate, clear, weights, remarks, prediction });
    }
}

/// The number of inputs on which the error of approximations is measured.
const PROBES: usize = 3;
/// The size of the random inputs on which noise is estimated.
const PROBE_SIZE: f64 = 0.02;
/// Bits by which encryption is asked to be more precise than approximations are.
const BELOW_APPROXIMATION: f64 = 4.0;
/// Bits by which the precision wanted may be missed.
const MISSED: f64 = 0.5;
/// The largest of a few thousand errors of a normal law, in standard deviations.
const LARGEST_DEVIATION: f64 = 5.0;

/// Inputs of a ciphertext program: calibration samples, or random numbers in the arguments' ranges.
fn probes(placed: OperationRef<'_, '_>, options: &Options) -> Result<Vec<Vec<ArrayD<f64>>>, CompileError> {
    let function = signature::network(placed).map_err(CompileError::Internal)?;
    let arguments = tensors(function, Side::Arguments).map_err(CompileError::Internal)?;
    let samples = match &options.calibrate {
        Some(path) => arrays::read(path).map_err(|e| CompileError::Internal(e.to_string()))?,
        None => Default::default(),
    };
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut probe = |probe: usize| {
        let input = |tensor: &crate::fhe_to_ckks::signature::Tensor| match samples
            .get(&tensor.name)
            .map(arrays::NumericArray::to_f64)
        {
            Some(all) if all.ndim() > 0 && !all.is_empty() => {
                all.index_axis(Axis(0), probe % all.shape()[0]).to_owned()
            }
            _ => {
                let [lower, upper] = tensor.range.unwrap_or([-1.0, 1.0]);
                let uniform = || lower + (upper - lower) * random.random::<f64>();
                ArrayD::from_shape_simple_fn(IxDyn(&tensor.shape), uniform)
            }
        };
        arguments.iter().map(input).collect()
    };
    Ok((0..PROBES).map(&mut probe).collect())
}

/// Bits of the largest output on the probes.
fn output_bits(
    network: OperationRef<'_, '_>,
    unplaced: OperationRef<'_, '_>,
    options: &Options,
) -> Result<u32, CompileError> {
    let mut largest = 1f64;
    for inputs in probes(unplaced, options)? {
        let outputs = evaluate::network(network, &inputs)?;
        largest = outputs.iter().flatten().fold(largest, |most, x| most.max(x.abs()));
    }
    Ok(largest.log2().ceil() as u32)
}

/// The largest difference that approximations make on the probes; `program` is a network's ciphertext program.
fn approximation(
    network: OperationRef<'_, '_>,
    program: OperationRef<'_, '_>,
    options: &Options,
) -> Result<f64, CompileError> {
    let mut largest = 0f64;
    for inputs in probes(program, options)? {
        let expected = evaluate::network(network, &inputs)?;
        for (a, b) in expected.iter().zip(evaluate::ciphertexts(program, &inputs, None)?) {
            largest = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(largest, f64::max);
        }
    }
    Ok(largest)
}

/// The standard deviation of the error of encryption on an input that is a calibration sample, or random numbers in the
/// arguments' ranges. One input is enough: the deviation is already a mean over slots.
fn noise(placed: OperationRef<'_, '_>, options: &Options) -> Result<f64, CompileError> {
    match probes(placed, options)?.first() {
        Some(inputs) => evaluate::noise(placed, inputs),
        None => Ok(0.0),
    }
}

/// Lowers placed ciphertexts to kernels.
pub fn to_kernels<'c>(placed: &Placed<'c>) -> Result<Module<'c>, CompileError> {
    let module = clone(&placed.module)?;
    run_pipeline(&module.as_operation(), TO_KERNEL_TEXT)?;
    Ok(module)
}

/// A copy of a module.
pub fn clone<'c>(module: &Module<'c>) -> Result<Module<'c>, CompileError> {
    // The copy is a module as the original is.
    Module::from_operation(Operation::clone(&module.as_operation()))
        .ok_or_else(|| CompileError::Internal("not a module".into()))
}

/// The module as an op.
pub fn root<'c, 'a>(module: &'a Module<'c>) -> OperationRef<'c, 'a> {
    // SAFETY: the op is the module's and lives as long.
    unsafe { OperationRef::from_raw(module.as_operation().to_raw()) }
}

/// How often each op of Ceria's dialects occurs.
pub fn op_counts(module: OperationRef<'_, '_>) -> std::collections::BTreeMap<String, u64> {
    let mut counts = std::collections::BTreeMap::new();
    for op in find_ops(&module, &[]) {
        let name = name_of(&op);
        if ["fhe.", "ckks.", "poly.", "kernel."].iter().any(|prefix| name.starts_with(prefix)) {
            *counts.entry(name).or_insert(0) += 1;
        }
    }
    counts
}

/// The levels that the functions of a prepared module need.
fn depth(module: OperationRef<'_, '_>) -> u32 {
    let mut depths: HashMap<usize, u32> = HashMap::new();
    let mut deepest = 0;
    for op in find_ops(&module, &[]) {
        let of = |v: Value<'_, '_>| depths.get(&(v.to_raw().ptr as usize)).copied().unwrap_or(0);
        let before = op.operands().map(of).max().unwrap_or(0);
        let own = match name_of(&op).as_str() {
            "fhe.linear" | "fhe.square" | "fhe.mul" => 1,
            "fhe.eval_poly" => {
                let degree = op.f64s("coefficients").map_or(1, |c| c.len().max(2) - 1);
                usize::BITS - degree.leading_zeros()
            }
            _ => 0,
        };
        for result in op.results() {
            depths.insert(result.to_raw().ptr as usize, before + own);
        }
        deepest = deepest.max(before + own);
    }
    deepest
}
