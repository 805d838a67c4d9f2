//! The way from a network to placed ciphertexts and on to kernels, as `ceria compile` goes it.
//!
//! The ring's degree decides how many slots a layout has, and the depth and precision of the program decide the degree.
//! So the depth is counted on tensors, layouts are made for the degree that it suggests, and where the ciphertext
//! program then needs a larger one, layouts are made again.

use super::{
    RESCALED, TO_KERNEL_TEXT,
    evaluate::{self, Noise},
    expand_bootstraps, leveled, place, prepare_text, to_ckks,
    weights::{Values, externalize},
};
use crate::fhe_to_ckks::signature::tensors;
use ceria_dialects::{
    bridge::{
        diagnostic::{Diagnostic, Severity, location_text},
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
use ceria_passes::ckks::{
    bootstrap::search::smallest,
    place_bootstraps::{self, Request},
    placement::ways::Wanted,
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
use std::{collections::HashMap, ops::RangeInclusive, path::Path};

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
    /// Whether it is an error if that precision is not predicted.
    pub strict: bool,
    /// The largest degree of a polynomial.
    pub max_degree: i64,
    /// The smallest log2 of the ring degree.
    pub min_log_n: u32,
    /// The largest log2 of the ring degree.
    pub max_log_n: u32,
    /// Whether to bootstrap.
    pub bootstraps: Bootstraps,
    /// How bootstraps are placed.
    pub placement: Strategy,
    /// The variant of all bootstraps; none chooses for each.
    pub variant: Option<&'static str>,
    /// MiB that evaluation keys may take in memory; 0 is any number.
    pub key_memory: u64,
    /// The ring degree of programs with bootstraps, whatever its security. For tests only.
    pub test_only_log_n: Option<u32>,
}

/// When a program is bootstrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bootstraps {
    /// Where no ring up to N = 2^16 holds its depth.
    #[default]
    Auto,
    /// Never: too deep programs are an error.
    Never,
    /// Always under parameters for bootstrapping.
    Always,
}

/// How bootstraps are placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// At the least cost.
    #[default]
    Cheapest,
    /// As late as possible, to compare with.
    Greedy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            calibrate: None,
            margin: 0.1,
            precision: 8.0,
            strict: false,
            max_degree: 31,
            min_log_n: 12,
            max_log_n: SearchOptions::default().max_log_n,
            bootstraps: Bootstraps::default(),
            placement: Strategy::default(),
            variant: None,
            key_memory: 0,
            test_only_log_n: None,
        }
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
    /// The parameters are not precise enough.
    #[error(
        "outputs would have {bits:.1} bits of precision, {wanted:.1} are wanted; most is lost by {origin}"
    )]
    Precision {
        /// What errors leave.
        bits: f64,
        /// What was asked for, or what approximations leave.
        wanted: f64,
        /// What makes most of the error.
        origin: String,
    },
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
    let original = clone(&module)?;
    step("folding operators and approximating activations");
    let calibrate = options.calibrate.as_deref().map(Path::to_string_lossy).unwrap_or_default();
    let text = prepare_text(&calibrate, options.margin, options.precision, options.max_degree);
    let remarks = run_pipeline(&module.as_operation(), &text)?;
    let mut compiler = Compiler { prepared: module, original, options, remarks, step };
    let largest = match options.bootstraps {
        Bootstraps::Never => options.max_log_n,
        _ => LARGEST_WITHOUT_BOOTSTRAPS.min(options.max_log_n),
    };
    let search =
        SearchOptions { min_log_n: options.min_log_n, max_log_n: largest, ..SearchOptions::default() };
    let depth = depth(root(&compiler.prepared));
    // Whether it fits is estimated with levels as large as one prime can be, where to begin with the smallest that are
    // tried.
    let estimate = Params::search(depth, 30, 36, &search)
        .map(|fits| Params::search(depth, 20, 26, &search).unwrap_or(fits));
    let (placed, prediction) = match (options.bootstraps, estimate) {
        (Bootstraps::Always, _) | (Bootstraps::Auto, Err(SearchError::TooDeep { .. })) => {
            compiler.with_bootstraps()?
        }
        (Bootstraps::Auto, Ok(estimate)) => match compiler.without_bootstraps(estimate.log_n, largest) {
            Ok(placed) => placed,
            Err(error @ CompileError::Precision { .. }) => return Err(error),
            // The estimate was too low. If the program is no better with bootstraps, the first error says more.
            Err(error) => compiler.with_bootstraps().map_err(|later| match later {
                CompileError::Precision { .. } => later,
                _ => error,
            })?,
        },
        (_, estimate) => compiler.without_bootstraps(estimate?.log_n, largest)?,
    };
    let mut weights = Values::new();
    externalize(root(&compiler.original), CONSTANTS, &mut weights)?;
    externalize(root(&placed), CONSTANTS, &mut weights)?;
    let clear = compiler.original.as_operation().to_string();
    Ok(Placed { module: placed, clear, weights, remarks: compiler.remarks, prediction })
}

/// A network on its way.
struct Compiler<'c, 'o> {
    /// The network before any pass.
    original: Module<'c>,
    /// Linear operators and polynomials.
    prepared: Module<'c>,
    options: &'o Options,
    remarks: Vec<Diagnostic>,
    step: &'o mut dyn FnMut(&str),
}

impl<'c> Compiler<'c, '_> {
    /// Parameters that hold the whole depth, in rings from 2^`log_n` to 2^`largest`.
    fn without_bootstraps(
        &mut self,
        mut log_n: u32,
        largest: u32,
    ) -> Result<(Module<'c>, Prediction), CompileError> {
        let options = self.options;
        // Bits by which what is asked of the selection is more than what is wanted, after that was missed.
        let mut more = 0.0;
        loop {
            (self.step)(&format!("choosing layouts and parameters for N = 2^{log_n}"));
            let (candidate, mut said) = self.ciphertexts(log_n)?;
            // Random inputs of full size would leave the calibrated ranges, where polynomials explode: the size of
            // outputs comes from probes instead, with three bits to spare.
            let margin = output_bits(root(&self.original), root(&candidate), options)? + 3;
            // Encryption need not be much more precise than the polynomials that stand for activations.
            let approximated = -approximation(root(&self.original), root(&candidate), options)?.log2();
            let wanted = (options.precision + 4.0).min(approximated.max(0.0) + BELOW_APPROXIMATION);
            let text = place(wanted + more, [log_n, largest], PROBE_SIZE, margin, options.key_memory);
            said.extend(run_pipeline(&candidate.as_operation(), &text)?);
            let params = params_of(root(&candidate))
                .ok_or_else(|| CompileError::Internal("no parameters were selected".into()))?;
            if params.log_n > log_n {
                log_n = params.log_n;
                continue;
            }
            (self.step)("predicting the precision");
            let noise = noise(root(&candidate), options)?;
            // The selection sees errors on small inputs; those on inputs of full size may be larger.
            let missed = wanted + noise.deviation.log2();
            if missed > MISSED && more == 0.0 {
                more = missed;
                continue;
            }
            self.remarks.extend(said);
            return Ok((candidate, self.prediction(approximated.exp2().recip(), &noise)?));
        }
    }

    /// Bootstraps where levels end, and the parameters under which they and the program cost least.
    fn with_bootstraps(&mut self) -> Result<(Module<'c>, Prediction), CompileError> {
        let options = self.options;
        let largest = options.max_log_n;
        let rings = options.test_only_log_n.map_or(SMALLEST.min(largest)..=largest, |log_n| log_n..=log_n);
        let first = match options.test_only_log_n {
            Some(log_n) => log_n,
            None => smallest(rings.clone()).unwrap_or(largest),
        };
        let mut log_n = first;
        let mut chosen = self.bootstrapped(log_n, rings.clone())?;
        // With more slots a tensor takes fewer ciphertexts, so layouts are made again for the ring that was chosen, or is next.
        while log_n < *rings.end() {
            let next = chosen.params.log_n.max(log_n + u32::from(several_parts(root(&chosen.module))));
            if next == log_n {
                break;
            }
            log_n = next;
            match self.bootstrapped(log_n, log_n..=log_n) {
                Ok(again) if again.cost < chosen.cost => chosen = again,
                _ => break,
            }
        }
        if chosen.bootstraps == 0
            && options.bootstraps == Bootstraps::Auto
            && options.test_only_log_n.is_none()
        {
            // A ring that holds the depth after all, unless not with the precision.
            match self.without_bootstraps(chosen.params.log_n, largest) {
                Err(_) if first < chosen.params.log_n => {
                    log_n = first;
                    chosen = self.bootstrapped(first, first..=first)?;
                }
                placed => return placed,
            }
        }
        let Bootstrapped { module: candidate, mut said, last_level, .. } = chosen;
        let leveled = leveled(last_level, log_n.into(), options.test_only_log_n.is_some());
        said.extend(run_pipeline(&candidate.as_operation(), &leveled)?);
        (self.step)("writing out bootstraps");
        said.extend(run_pipeline(&candidate.as_operation(), &expand_bootstraps(options.key_memory))?);
        (self.step)("predicting the precision");
        let approximation = approximation(root(&self.original), root(&candidate), options)?;
        let noise = noise(root(&candidate), options)?;
        let prediction = self.prediction(approximation, &noise)?;
        // These parameters have one precision, which may be too little to tell results from errors.
        let wanted = options.precision.exp2().recip().max(approximation);
        if noise.deviation > wanted {
            return Err(CompileError::Precision {
                bits: -noise.deviation.log2(),
                wanted: -wanted.log2(),
                origin: noise.source,
            });
        }
        self.remarks.extend(said);
        Ok((candidate, prediction))
    }

    /// The program with layouts for a ring and with its bootstraps, for one of some rings.
    fn bootstrapped(
        &mut self,
        log_n: u32,
        rings: RangeInclusive<u32>,
    ) -> Result<Bootstrapped<'c>, CompileError> {
        let options = self.options;
        (self.step)(&format!("choosing layouts and placing bootstraps for N = 2^{log_n}"));
        let (module, mut said) = self.ciphertexts(log_n)?;
        // Level 0 has ten bits more than the scale.
        let last_level = u32::from(output_bits(root(&self.original), root(&module), options)? > 8);
        said.extend(run_pipeline(&module.as_operation(), RESCALED)?);
        let sizes = evaluate::sizes(root(&module), &probes(root(&module), options, BOUND_PROBES)?)?;
        let request = Request {
            wanted: Wanted {
                variant: options.variant,
                precision: options.precision + BELOW_PRECISION,
                levels: None,
            },
            last_level,
            greedy: options.placement == Strategy::Greedy,
            rings,
            insecure: options.test_only_log_n.is_some(),
        };
        let outcome = place_bootstraps::place(root(&module), &request, sizes)?;
        said.extend(outcome.report.into_iter().map(|(location, message)| Diagnostic {
            severity: Severity::Remark,
            location: location_text(location),
            message,
            notes: Vec::new(),
        }));
        let (bootstraps, params, cost) = (outcome.bootstraps, outcome.params, outcome.cost);
        Ok(Bootstrapped { module, said, last_level, bootstraps, params, cost })
    }

    /// What is predicted of the outputs, unless that is less than it has to be.
    fn prediction(&self, approximation: f64, noise: &Noise) -> Result<Prediction, CompileError> {
        let encryption = LARGEST_DEVIATION * noise.deviation;
        let error = approximation + encryption;
        let (bits, wanted) = (-error.log2(), self.options.precision);
        if self.options.strict && bits < wanted {
            let origin = if approximation > encryption {
                "the polynomials that stand for activations: raise --max-degree".into()
            } else {
                noise.source.clone()
            };
            return Err(CompileError::Precision { bits, wanted, origin });
        }
        Ok(Prediction { precision_bits: Some(bits), max_error: Some(error), seconds: None })
    }

    /// A program of unplaced ciphertexts of half as many slots as this degree, and what passes said.
    fn ciphertexts(&self, log_n: u32) -> Result<(Module<'c>, Vec<Diagnostic>), CompileError> {
        let candidate = clone(&self.prepared)?;
        let said = run_pipeline(&candidate.as_operation(), &to_ckks(1 << (log_n - 1)))?;
        Ok((candidate, said))
    }
}

/// A program with its bootstraps, without levels.
struct Bootstrapped<'c> {
    module: Module<'c>,
    said: Vec<Diagnostic>,
    /// The level at which results end.
    last_level: u32,
    bootstraps: usize,
    params: Params,
    /// Its cost, in modular multiplications.
    cost: f64,
}

/// Whether a tensor takes several ciphertexts.
fn several_parts(module: OperationRef<'_, '_>) -> bool {
    let parts = |op: &OperationRef<'_, '_>| ["inputs", "outputs"].map(|name| op.i64(name).unwrap_or(1));
    find_ops(&module, &["ckks.matrix"]).iter().any(|op| parts(op).into_iter().any(|count| count > 1))
}

/// The largest ring that is taken without a look at what bootstraps would cost.
const LARGEST_WITHOUT_BOOTSTRAPS: u32 = 16;
/// The smallest ring that is looked at for programs with bootstraps.
const SMALLEST: u32 = 15;
/// Bits by which each bootstrap is asked to be more precise than results.
const BELOW_PRECISION: f64 = 4.0;
/// The number of inputs on which sizes of bootstrapped slots are measured.
const BOUND_PROBES: usize = 16;
/// The number of inputs on which the error of approximations is measured.
const PROBES: usize = 3;
/// The size of the random inputs on which noise is estimated.
const PROBE_SIZE: f64 = 0.02;
/// Bits by which encryption is asked to be more precise than approximations are.
const BELOW_APPROXIMATION: f64 = 3.5;
/// Bits by which the precision wanted may be missed.
const MISSED: f64 = 0.5;
/// The largest of a few thousand errors of a normal law, in standard deviations.
const LARGEST_DEVIATION: f64 = 5.0;

/// Inputs of a ciphertext program: calibration samples, or random numbers in the arguments' ranges.
fn probes(
    placed: OperationRef<'_, '_>,
    options: &Options,
    count: usize,
) -> Result<Vec<Vec<ArrayD<f64>>>, CompileError> {
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
    Ok((0..count).map(&mut probe).collect())
}

/// Bits of the largest output on the probes.
fn output_bits(
    network: OperationRef<'_, '_>,
    unplaced: OperationRef<'_, '_>,
    options: &Options,
) -> Result<u32, CompileError> {
    let mut largest = 1f64;
    for inputs in probes(unplaced, options, PROBES)? {
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
    for inputs in probes(program, options, PROBES)? {
        let expected = evaluate::network(network, &inputs)?;
        for (a, b) in expected.iter().zip(evaluate::ciphertexts(program, &inputs, None)?) {
            largest = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(largest, f64::max);
        }
    }
    Ok(largest)
}

/// The standard deviation of the error of encryption on an input that is a calibration sample, or random numbers in the
/// arguments' ranges. One input is enough: the deviation is already a mean over slots.
fn noise(placed: OperationRef<'_, '_>, options: &Options) -> Result<Noise, CompileError> {
    match probes(placed, options, 1)?.first() {
        Some(inputs) => evaluate::noise(placed, inputs),
        None => Ok(Noise::default()),
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
