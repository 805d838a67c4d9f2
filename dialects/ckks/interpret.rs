//! The meaning of `ckks` on slot vectors.
//!
//! A ciphertext or plaintext is the vector of complex numbers it decodes to: exact, or with the errors that the
//! scheme makes, drawn at random with the variances of [`super::noise`]. Level, scale and size matter only for those
//! errors; the verifier has seen to them.

use super::{
    NoiseTransfer,
    attributes::{float, floats, int, ints, symbol},
    bootstrap,
    matrix::{Matrix, Vector, Weights},
    noise::{self, Addition, Transfer},
    types::{Placement, ct},
};
use crate::{
    interpret::{Datum, Evaluator, Frame, name_of},
    params_of,
};
use ceria_runtime::client::fft::Embedding;
use ceria_runtime::format::params::Params;
use melior::ir::{OperationRef, RegionLike, block::BlockLike, operation::OperationLike};
use num_complex::Complex64;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// The slots of a ciphertext or plaintext.
#[derive(Clone, Debug, PartialEq)]
pub struct Slots(pub Vec<Complex64>);

impl Slots {
    /// Slots of these real numbers.
    pub fn real(values: &[f64]) -> Self {
        Slots(values.iter().map(|v| Complex64::new(*v, 0.0)).collect())
    }

    /// The real parts.
    pub fn to_real(&self) -> Vec<f64> {
        self.0.iter().map(|v| v.re).collect()
    }

    /// The mean square of the slots that are used, which are not zero.
    pub fn mean_square(&self) -> f64 {
        let used = self.0.iter().map(|v| v.norm_sqr()).filter(|v| *v > 1e-18);
        let (count, sum) = used.fold((0usize, 0.0), |(count, sum), v| (count + 1, sum + v));
        sum / count.max(1) as f64
    }

    fn map(&self, f: impl Fn(Complex64) -> Complex64) -> Self {
        Slots(self.0.iter().map(|v| f(*v)).collect())
    }

    fn zip(&self, other: &Self, f: impl Fn(Complex64, Complex64) -> Complex64) -> Result<Self, String> {
        if self.0.len() != other.0.len() {
            return Err(format!("has operands of {} and {} slots", self.0.len(), other.0.len()));
        }
        Ok(Slots(self.0.iter().zip(&other.0).map(|(a, b)| f(*a, *b)).collect()))
    }

    /// Slot `j` of the result is slot `j + step`.
    pub fn rotate(&self, step: i64) -> Self {
        let mut slots = self.0.clone();
        if !slots.is_empty() {
            let by = step.rem_euclid(slots.len() as i64) as usize;
            slots.rotate_left(by);
        }
        Slots(slots)
    }
}

/// What draws the scheme's errors.
struct Sampler {
    params: Params,
    random: RefCell<ChaCha8Rng>,
}

impl Sampler {
    /// Adds errors of this variance to slots; they are real and imaginary alike.
    fn add(&self, slots: &mut Slots, variance: f64) {
        let deviation = (variance / 2.0).sqrt();
        if deviation > 0.0 {
            let mut random = self.random.borrow_mut();
            for slot in &mut slots.0 {
                *slot += normal_pair(&mut random) * deviation;
            }
        }
    }

    fn variance(&self, additions: &[Addition]) -> f64 {
        additions.iter().map(|addition| addition.variance(&self.params)).sum()
    }
}

/// Two independent samples of the standard normal distribution (Box and Muller).
fn normal_pair(random: &mut ChaCha8Rng) -> Complex64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    Complex64::from_polar(radius, std::f64::consts::TAU * random.random::<f64>())
}

/// The evaluator of the dialect.
pub struct Ckks<'w> {
    weights: &'w Weights<'w>,
    sampler: Option<Sampler>,
    /// Diagonals of the matrices used so far, which are costly to make.
    matrices: RefCell<BTreeMap<String, Rc<Diagonals>>>,
    /// Draws the overflows of raised moduli, the same in every run.
    raised: RefCell<ChaCha8Rng>,
}

/// A matrix with the values of its diagonals.
pub struct Diagonals {
    /// The matrix.
    pub matrix: Matrix,
    /// Its diagonals.
    pub values: Vec<ceria_runtime::format::linear::DiagonalValues>,
}

impl<'w> Ckks<'w> {
    /// Exact slots.
    pub fn exact(weights: &'w Weights<'w>) -> Self {
        let raised = RefCell::new(ChaCha8Rng::seed_from_u64(0x6d6f_6472));
        Self { weights, sampler: None, matrices: RefCell::default(), raised }
    }

    /// Slots with errors, drawn from this seed; every ciphertext must be placed. Arguments are taken as they are:
    /// [`Ckks::encrypted`] adds the errors of encryption.
    pub fn noisy(weights: &'w Weights<'w>, params: &Params, seed: u64) -> Self {
        let random = RefCell::new(ChaCha8Rng::seed_from_u64(seed));
        Self { sampler: Some(Sampler { params: params.clone(), random }), ..Self::exact(weights) }
    }

    /// Slots as a fresh encryption holds them.
    pub fn encrypted(&self, mut slots: Slots, at: Placement) -> Slots {
        if let Some(sampler) = &self.sampler {
            sampler.add(&mut slots, sampler.variance(&[Addition::Fresh(at)]));
        }
        slots
    }

    /// What an op adds to the error of its result `index` where its operands have these slots.
    pub fn additions(
        &self,
        op: OperationRef<'_, '_>,
        index: usize,
        operands: &[&Slots],
        frame: &Frame<'_, '_>,
    ) -> Result<Vec<Addition>, String> {
        let noise = NoiseTransfer::of(op).ok_or("has no noise model")?;
        let moved = match noise.transfer(&index) {
            Ok(Transfer::Matrix) => self.moved(op, index, operands.len(), frame)?,
            _ => Vec::new(),
        };
        let mean_squares = operands.iter().map(|slots| slots.mean_square()).collect();
        noise.additions(&noise::Operands { index, mean_squares, moved })
    }

    /// For result `output` of a linear transform and each of its inputs: the mean square, over rows that are not zero, of what
    /// the input's slots are multiplied by after a baby step that is not 0, once for each rotation that makes the step.
    fn moved(
        &self,
        op: OperationRef<'_, '_>,
        output: usize,
        inputs: usize,
        frame: &Frame<'_, '_>,
    ) -> Result<Vec<f64>, String> {
        let diagonals = self.diagonals(&symbol(op, "matrix")?, frame)?;
        let slots = &diagonals.matrix.slots;
        // For each row the sum of all squares, and of those that count.
        let mut rows = vec![vec![[0.0; 2]; slots.period]; inputs];
        for diagonal in diagonals.values.iter().filter(|d| d.output == output && d.input < inputs) {
            let turns = slots.baby_turns(diagonal.diagonal) as f64;
            for (index, row) in rows[diagonal.input].iter_mut().enumerate() {
                let square = diagonal.at(index).norm_sqr();
                row[0] += square;
                row[1] += turns * square;
            }
        }
        let mean = |rows: Vec<[f64; 2]>| {
            let used = rows.iter().filter(|row| row[0] > 0.0).count().max(1) as f64;
            rows.iter().map(|row| row[1]).sum::<f64>() / used
        };
        Ok(rows.into_iter().map(mean).collect())
    }

    /// The values of a matrix's diagonals.
    pub fn diagonals(&self, name: &str, frame: &Frame<'_, '_>) -> Result<Rc<Diagonals>, String> {
        if let Some(known) = self.matrices.borrow().get(name) {
            return Ok(known.clone());
        }
        let op = frame.interpreter().symbol(name).ok_or_else(|| format!("refers to unknown @{name}"))?;
        let matrix = Matrix::read(op)?;
        let values = matrix.values(self.weights)?;
        let made = Rc::new(Diagonals { matrix, values });
        self.matrices.borrow_mut().insert(name.into(), made.clone());
        Ok(made)
    }

    fn linear_transform(
        &self,
        op: OperationRef<'_, '_>,
        inputs: &[&Slots],
        frame: &Frame<'_, '_>,
    ) -> Result<Vec<Slots>, String> {
        let diagonals = self.diagonals(&symbol(op, "matrix")?, frame)?;
        let slots = &diagonals.matrix.slots;
        let count = inputs.first().map_or(0, |s| s.0.len());
        if inputs.len() != slots.inputs || !count.is_multiple_of(slots.slots) {
            return Err(format!(
                "needs {} operands of {} slots, got {} of {count}",
                slots.inputs,
                slots.slots,
                inputs.len()
            ));
        }
        let mut outputs = vec![Slots(vec![Complex64::default(); count]); slots.outputs];
        for diagonal in &diagonals.values {
            let rotated = inputs[diagonal.input].rotate(diagonal.diagonal);
            let output = &mut outputs[diagonal.output].0;
            for (slot, (sum, value)) in output.iter_mut().zip(&rotated.0).enumerate() {
                *sum += *value * diagonal.at(slot);
            }
        }
        Ok(outputs)
    }

    /// `I + m / Q0`, coefficient by coefficient.
    fn mod_raise(&self, op: OperationRef<'_, '_>, input: &Slots) -> Result<Slots, String> {
        let params = params_of(op).ok_or("needs parameters")?;
        let bootstrap = params.bootstrap.ok_or("needs parameters with `bootstrap`")?;
        if input.0.len() != params.slots() {
            return Err(format!("has an operand of {} slots of {}", input.0.len(), params.slots()));
        }
        let ratio = scale_ratio(op)?;
        let embedding = Embedding::new(params.log_n - 1);
        let mut pairs = input.0.clone();
        embedding.to_coefficients(&mut pairs);
        let mut random = self.raised.borrow_mut();
        // Each coefficient of c0 + c1 s is a sum of weight + 1 nearly uniform residues.
        let mut overflow =
            || (0..=bootstrap.weight).map(|_| random.random_range(-0.5..0.5)).sum::<f64>().round();
        for pair in &mut pairs {
            let (re, im) = (pair.re * ratio, pair.im * ratio);
            *pair = Complex64::new(re - re.round() + overflow(), im - im.round() + overflow());
        }
        embedding.to_slots(&mut pairs);
        Ok(Slots(pairs))
    }

    fn encode(&self, op: OperationRef<'_, '_>, frame: &Frame<'_, '_>) -> Result<Slots, String> {
        let name = symbol(op, "vector")?;
        let vector = frame.interpreter().symbol(&name).ok_or_else(|| format!("refers to unknown @{name}"))?;
        let parts = Vector::read(vector)?.values(self.weights)?;
        let part = int(op, "part")?;
        let part = usize::try_from(part).ok().and_then(|p| parts.get(p));
        Ok(Slots::real(part.ok_or_else(|| format!("takes a part that @{name} does not have"))?))
    }

    fn results(
        &self,
        op: OperationRef<'_, '_>,
        name: &str,
        operands: &[&Slots],
        frame: &Frame<'_, '_>,
    ) -> Result<Vec<Slots>, String> {
        let real = |value: f64| Complex64::new(value, 0.0);
        let result = match (name, operands) {
            ("add", [a, b]) => a.zip(b, |a, b| a + b)?,
            ("sub", [a, b]) => a.zip(b, |a, b| a - b)?,
            ("mul", [a, b]) => a.zip(b, |a, b| a * b)?,
            ("add_plain", [a, p]) => a.zip(&repeat(p, a)?, |a, b| a + b)?,
            ("sub_plain", [a, p]) => a.zip(&repeat(p, a)?, |a, b| a - b)?,
            ("mul_plain", [a, p]) => a.zip(&repeat(p, a)?, |a, b| a * b)?,
            ("square", [a]) => a.map(|a| a * a),
            ("negate", [a]) => a.map(|a| -a),
            ("conjugate", [a]) => a.map(|a| a.conj()),
            ("add_const", [a]) => {
                let value = float(op, "value")?;
                a.map(|a| a + value)
            }
            ("mul_const", [a]) => {
                let value = float(op, "value")?;
                a.map(|a| a * value)
            }
            ("mul_int", [a]) => {
                let value = int(op, "value")? as f64;
                a.map(|a| a * value)
            }
            ("relinearize" | "rescale" | "level_reduce" | "adjust" | "switch_secret", [a]) => Slots::clone(a),
            ("mul_i", [a]) => a.map(|a| a * Complex64::i()),
            ("set_scale", [a]) => {
                let ratio = scale_ratio(op)?;
                a.map(|a| a * ratio)
            }
            ("mod_raise", [a]) => self.mod_raise(op, a)?,
            // Exactly what it stands for; what it costs in precision is in its expansion.
            ("bootstrap", [a]) if bootstrap::variant(op) == bootstrap::SLOTS_TO_COEFFICIENTS_FIRST => {
                a.map(|a| real(a.re))
            }
            ("bootstrap", [a]) => Slots::clone(a),
            ("rotate", [a]) => a.rotate(int(op, "step")?),
            ("hoisted_rotate", [a]) => {
                return Ok(ints(op, "steps")?.into_iter().map(|step| a.rotate(step)).collect());
            }
            ("eval_poly", [a]) => {
                let coefficients = floats(op, "coefficients")?;
                a.map(|x| clenshaw(&coefficients, x, real(1.0)))
            }
            ("linear_transform", inputs) => return self.linear_transform(op, inputs, frame),
            ("encode", []) => self.encode(op, frame)?,
            _ => return Err("cannot be interpreted".into()),
        };
        Ok(vec![result])
    }
}

/// The operand's scale over the result's: what `set_scale` multiplies slots by.
pub fn scale_ratio(op: OperationRef<'_, '_>) -> Result<f64, String> {
    let params = params_of(op).ok_or("needs parameters")?;
    let from = ct(op.operand(0).map_err(|e| e.to_string())?)?.placement().ok_or("is not placed")?;
    let to = ct(op.result(0).map_err(|e| e.to_string())?.into())?.placement().ok_or("is not placed")?;
    match (&from.scale / &to.scale).value(&params) {
        ratio if ratio.is_finite() => Ok(ratio),
        _ => Err(format!("has scales {} and {}, one of which has no value", from.scale, to.scale)),
    }
}

/// A plaintext of fewer slots than the ciphertext, repeated.
fn repeat(plain: &Slots, like: &Slots) -> Result<Slots, String> {
    let (have, need) = (plain.0.len(), like.0.len());
    if have == 0 || need % have != 0 {
        return Err(format!("has a plaintext of {have} values for {need} slots"));
    }
    Ok(Slots(plain.0.iter().copied().cycle().take(need).collect()))
}

/// `sum_k c_k T_k(x)` by Clenshaw's recurrence.
fn clenshaw(coefficients: &[f64], x: Complex64, one: Complex64) -> Complex64 {
    let (mut next, mut after) = (Complex64::default(), Complex64::default());
    for &c in coefficients.iter().skip(1).rev() {
        (next, after) = (one * c + x * next * 2.0 - after, next);
    }
    one * coefficients.first().copied().unwrap_or(0.0) + x * next - after
}

impl Evaluator for Ckks<'_> {
    fn dialect(&self) -> &'static str {
        "ckks"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let name = name_of(op);
        let operands = operands.iter().map(Datum::get::<Slots>).collect::<Result<Vec<_>, _>>()?;
        let name = name.strip_prefix("ckks.").unwrap_or_default();
        let mut results = self.results(op, name, &operands, frame)?;
        if let Some(sampler) = &self.sampler {
            for (index, result) in results.iter_mut().enumerate() {
                sampler.add(result, sampler.variance(&self.additions(op, index, &operands, frame)?));
            }
        }
        Ok(results.into_iter().map(Datum::object).collect())
    }
}

/// The number of slots that an entry function's ciphertexts have: by the parameters, or else by the largest matrix.
pub fn slot_count(function: OperationRef<'_, '_>) -> Option<usize> {
    if let Some(params) = params_of(function) {
        return Some(params.slots());
    }
    let module = function.parent_operation()?;
    let mut next = module.first_region()?.first_block()?.first_operation();
    let mut most = None;
    while let Some(op) = next {
        most = most.max(super::effects::slots_of(op));
        next = op.next_in_block();
    }
    most
}
