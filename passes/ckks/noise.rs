//! The noise model: average-case, component by component.
//!
//! A program is run once on random inputs, without errors, by the reference interpreter; the run leaves a [`Trace`] of how
//! every ciphertext's error comes from those of its operands and from what the op adds. Under parameters each addition is a
//! standard deviation, and the error of an output follows in one sweep, which is cheap enough to try many
//! parameter sets.
//!
//! Deviations are those of a complex slot, `E |error|^2 = deviation^2`; a real slot has half the variance. Errors of different
//! origin are independent. With N the ring degree, v the variance of a coefficient's error and S the scale, a slot's
//! deviation is `sqrt(N v) / S`. Coefficients of secrets have variance 2/3. Additions, as variances of a coefficient:
//! * encryption, then a mod-down: `(1 + 2N/3)/12`, and 1/12 for the encoding;
//! * rescale and mod-down: rounding of each component, `(1 + 2N/3)/12`, with `(2N/3)^2/12` more for a third component;
//! * key switch: `sum over digits of N B^2/12 sigma^2 / P^2`, B the digit's product, and a mod-down;
//! * a plaintext of period p: 2p coefficients rounded; a constant: one.

use ceria_dialects::{
    bridge::pass::PassError,
    ckks::{
        Placement,
        attributes::{float, int, scale, to_floats},
        effects::{Effect, effect, matrix_of},
        interpret::{Ckks, Slots, scale_ratio},
        matrix::Weights,
        types::{ct, pt},
    },
    fhe::signature,
    interpret::{Datum, Evaluator, Frame, Interpreter, name_of},
};
use ceria_runtime::format::{params::Params, scale::Scale};
use melior::ir::{OperationRef, Value, operation::OperationLike};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// Standard deviation of the errors in keys (centred binomial with 21 pairs).
const SIGMA: f64 = 3.24;

/// An addition to the error of one value.
#[derive(Clone, Debug)]
enum Addition {
    /// A fresh encryption.
    Fresh(Placement),
    /// The rounding of this many components at this placement.
    Rounding(Placement, u32),
    /// A step down from a level without a change of scale, which rounds where primes are restored.
    Reduction { from: u32, at: Placement, components: u32 },
    /// A key switch at this placement, of which the result has this gain.
    KeySwitch(Placement, f64),
    /// Constants with so many coefficients rounded at this scale, times a message of this root mean square.
    Constant { scale: Scale, coefficients: f64, message: f64 },
}

/// Where one value's error comes from.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Operands with the root mean square of what their error is multiplied by.
    inputs: Vec<(usize, f64)>,
    additions: Vec<Addition>,
}

/// How errors spread through one run of a function.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    nodes: Vec<Node>,
    outputs: Vec<usize>,
    /// The largest slot of any ciphertext.
    pub largest: f64,
    /// The largest slot of each output.
    pub output_sizes: Vec<f64>,
}

/// A value in the traced run.
struct Traced {
    slots: Datum,
    node: usize,
    mean_square: f64,
}

impl Trace {
    /// Runs a placed function on random real inputs, with this many slots. They lie in the argument's `ckks.range`, or
    /// else in [-1, 1], drawn together around zero by the factor `size`: independent inputs of full size may leave the
    /// ranges on which polynomials stand for activations.
    pub fn run(
        module: OperationRef<'_, '_>,
        function: &str,
        weights: &Weights<'_>,
        slots: usize,
        size: f64,
    ) -> Result<Self, PassError> {
        let op = ceria_dialects::interpret::symbol(module, function)
            .ok_or_else(|| PassError::op(&module, format!("has no function @{function}")))?;
        let arguments = super::ir::body(op).map(super::ir::arguments).unwrap_or_default();
        let tracer = Rc::new(Tracer {
            trace: RefCell::default(),
            exact: Ckks::exact(weights),
            frozen: Cell::new(false),
        });
        let mut random = ChaCha8Rng::seed_from_u64(0x6365_7269);
        let mut inputs = Vec::new();
        for (index, argument) in arguments.into_iter().enumerate() {
            let ty = ct(argument)
                .map_err(|m| PassError::op(&op, format!("has an argument that is no ciphertext: {m}")))?;
            let placement = ty.placement().ok_or_else(|| PassError::op(&op, "is not placed"))?;
            let [low, high] = range(op, index).unwrap_or([-1.0, 1.0]);
            let centre = 0f64.clamp(low, high);
            let (low, high) = (centre + (low - centre) * size, centre + (high - centre) * size);
            let values: Vec<f64> = (0..slots).map(|_| random.random_range(low..=high)).collect();
            let node = Node { inputs: Vec::new(), additions: vec![Addition::Fresh(placement)] };
            inputs.push(tracer.push(node, Datum::object(Slots::real(&values)))?);
        }
        let interpreter = Interpreter::new(module).with(SharedTracer(tracer.clone()));
        let outputs = interpreter.call(function, inputs).map_err(|e| PassError::new(e.to_string()))?;
        drop(interpreter);
        let mut trace = tracer.trace.take();
        for output in &outputs {
            let traced = output.get::<Traced>()?;
            trace.outputs.push(traced.node);
            trace.output_sizes.push(largest(traced.slots.get::<Slots>()?));
        }
        Ok(trace)
    }

    /// The standard deviation of the error in the real slots of each output.
    pub fn errors(&self, params: &Params) -> Vec<f64> {
        let mut variances: Vec<f64> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let carried: f64 = node.inputs.iter().map(|(from, gain)| variances[*from] * gain * gain).sum();
            let added: f64 = node.additions.iter().map(|a| a.variance(params)).sum();
            variances.push(carried + added);
        }
        self.outputs.iter().map(|output| (variances[*output] / 2.0).sqrt()).collect()
    }
}

impl Addition {
    /// The variance in a complex slot.
    fn variance(&self, params: &Params) -> f64 {
        let n = params.n() as f64;
        let slot = |coefficient: f64, scale: &Scale| n * coefficient / scale.value(params).powi(2);
        match self {
            Addition::Fresh(p) => slot(rounding(n, 2) + 1.0 / 12.0, &p.scale),
            Addition::Rounding(p, components) => slot(rounding(n, *components), &p.scale),
            Addition::Reduction { from, at, components } => {
                match (params.get_level(*from), params.get_level(at.level)) {
                    (Some(from), Some(to)) if !to.is_subset(from) => {
                        slot(rounding(n, *components), &at.scale)
                    }
                    _ => 0.0,
                }
            }
            Addition::KeySwitch(p, gain) => {
                gain * gain * slot(key_switch(params, p.level) + rounding(n, 2), &p.scale)
            }
            Addition::Constant { scale, coefficients, message } => {
                // A sum of `coefficients` rounding errors, in units of the scale.
                coefficients.min(n) / 12.0 * (message / scale.value(params)).powi(2)
            }
        }
    }
}

/// The range of an argument's values, where the function says one.
fn range(function: OperationRef<'_, '_>, index: usize) -> Option<[f64; 2]> {
    let attribute = signature::get(function, signature::Side::Arguments, index, "ckks.range")?;
    match to_floats(attribute)?[..] {
        [low, high] if low <= high => Some([low, high]),
        _ => None,
    }
}

/// The variance of rounding every component, as a coefficient's error.
fn rounding(n: f64, components: u32) -> f64 {
    let secret = 2.0 * n / 3.0;
    (0..components).map(|power| secret.powi(power as i32)).sum::<f64>() / 12.0
}

/// The variance of the products of a key switch after division by P.
fn key_switch(params: &Params, level: u32) -> f64 {
    let Some(basis) = params.get_level(level) else { return f64::NAN };
    let bits = |primes: Vec<u32>| primes.into_iter().map(|q| f64::from(q).log2()).sum::<f64>();
    let special = bits(params.primes(&params.special_basis()));
    let digits = params.digits(basis).into_iter().map(|digit| bits(params.primes(&digit)));
    digits.map(|digit| params.n() as f64 / 12.0 * SIGMA * SIGMA * 4f64.powf(digit - special)).sum()
}

/// The mean square of the slots that are used, which are not zero.
fn mean_square(slots: &Slots) -> f64 {
    let used = slots.0.iter().map(|v| v.norm_sqr()).filter(|v| *v > 1e-18);
    let (count, sum) = used.fold((0usize, 0.0), |(count, sum), v| (count + 1, sum + v));
    sum / count.max(1) as f64
}

fn largest(slots: &Slots) -> f64 {
    slots.0.iter().map(|v| v.norm()).fold(0.0, f64::max)
}

/// Runs ops exactly and records where errors come from.
struct Tracer<'w> {
    trace: RefCell<Trace>,
    exact: Ckks<'w>,
    frozen: Cell<bool>,
}

struct SharedTracer<'w>(Rc<Tracer<'w>>);

impl Tracer<'_> {
    fn push(&self, node: Node, slots: Datum) -> Result<Datum, String> {
        let mut trace = self.trace.borrow_mut();
        let values = slots.get::<Slots>()?;
        let mean_square = mean_square(values);
        if !self.frozen.get() {
            trace.largest = trace.largest.max(largest(values));
        }
        trace.nodes.push(node);
        let node = trace.nodes.len() - 1;
        Ok(Datum::object(Traced { slots, node, mean_square }))
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let traced = operands.iter().map(Datum::get::<Traced>).collect::<Result<Vec<_>, _>>()?;
        let slots: Vec<Datum> = traced.iter().map(|t| t.slots.clone()).collect();
        let results = self.exact.evaluate(op, &slots, frame)?;
        let transform = name_of(op) == "ckks.linear_transform";
        // The largest plaintext says nothing about room for messages.
        self.frozen.set(name_of(op) == "ckks.encode");
        let results = results.into_iter().enumerate();
        let record = |(index, datum)| {
            let node = if transform {
                linear_transform(op, index, &traced, self.exact.row_squares(op, index, frame)?)?
            } else {
                node(op, index, &traced)?
            };
            self.push(node, datum)
        };
        results.map(record).collect()
    }
}

impl Evaluator for SharedTracer<'_> {
    fn dialect(&self) -> &'static str {
        "ckks"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        self.0.evaluate(op, operands, frame)
    }
}

fn placement(value: Value<'_, '_>) -> Result<Placement, String> {
    ct(value)?.placement().ok_or_else(|| "is not placed".into())
}

/// Where the error of an op's result comes from.
fn node(op: OperationRef<'_, '_>, index: usize, operands: &[&Traced]) -> Result<Node, String> {
    let name = name_of(op);
    let result: Value<'_, '_> = op.result(index).map_err(|e| e.to_string())?.into();
    if name == "ckks.encode" {
        let placement = pt(result)?.placement().ok_or("is not placed")?;
        // Relative to a message of size 1; the product or sum it is used in scales it.
        let constant =
            Addition::Constant { scale: placement.scale, coefficients: f64::INFINITY, message: 1.0 };
        return Ok(Node { inputs: Vec::new(), additions: vec![constant] });
    }
    let at = placement(result)?;
    let all = |gain: f64| operands.iter().map(|t| (t.node, gain)).collect::<Vec<_>>();
    let root = |t: &Traced| t.mean_square.sqrt();
    let mut node = match effect(op) {
        Some(Effect::Product) => match operands {
            [x] => Node { inputs: vec![(x.node, 2.0 * root(x))], ..Node::default() },
            [x, y] => Node { inputs: vec![(x.node, root(y)), (y.node, root(x))], ..Node::default() },
            _ => return Err("has no factors".into()),
        },
        _ if name == "ckks.mul_plain" => Node {
            inputs: vec![(operands[0].node, root(operands[1])), (operands[1].node, root(operands[0]))],
            ..Node::default()
        },
        _ if name == "ckks.mul_int" => Node { inputs: all(int(op, "value")? as f64), ..Node::default() },
        _ if name == "ckks.mul_const" => {
            let scale = scale(op, "scale").ok_or("has no scale")?;
            let constant = Addition::Constant { scale, coefficients: 1.0, message: root(operands[0]) };
            Node { inputs: all(float(op, "value")?), additions: vec![constant] }
        }
        _ if matches!(name.as_str(), "ckks.set_scale" | "ckks.mod_raise") => {
            Node { inputs: all(scale_ratio(op)?), ..Node::default() }
        }
        _ => Node { inputs: all(1.0), ..Node::default() },
    };
    let components = ct(result)?.components();
    match name.as_str() {
        "ckks.rescale" => node.additions.push(Addition::Rounding(at, components)),
        "ckks.adjust" => node.additions.push(Addition::Rounding(at, components)),
        "ckks.level_reduce" => {
            let from = placement(op.operand(0).map_err(|e| e.to_string())?)?.level;
            node.additions.push(Addition::Reduction { from, at, components });
        }
        "ckks.relinearize"
        | "ckks.rotate"
        | "ckks.hoisted_rotate"
        | "ckks.conjugate"
        | "ckks.switch_secret" => {
            node.additions.push(Addition::KeySwitch(at, 1.0));
        }
        "ckks.add_const" => {
            node.additions.push(Addition::Constant { scale: at.scale, coefficients: 1.0, message: 1.0 });
        }
        _ => {}
    }
    Ok(node)
}

/// `y_o = sum diag * rotate(x_i, d)`: errors of the inputs and of the rotations by baby steps are multiplied by the
/// diagonals, those of giant steps are not; and the diagonals are rounded.
fn linear_transform(
    op: OperationRef<'_, '_>,
    output: usize,
    operands: &[&Traced],
    squares: BTreeMap<usize, [f64; 2]>,
) -> Result<Node, String> {
    let matrix = matrix_of(op)?;
    let result = placement(op.result(output).map_err(|e| e.to_string())?.into())?;
    let input = placement(op.operand(0).map_err(|e| e.to_string())?)?;
    let scale = scale(op, "scale").ok_or("has no scale")?;
    let mut node = Node::default();
    let mut giants = BTreeSet::new();
    for block in matrix.slots.blocks.iter().filter(|b| b.output == output) {
        let traced = operands[block.input];
        let [all, moved] = squares.get(&block.input).copied().unwrap_or_default();
        node.inputs.push((traced.node, all.sqrt()));
        node.additions.push(Addition::KeySwitch(input.clone(), moved.sqrt()));
        node.additions.push(Addition::Constant {
            scale: scale.clone(),
            coefficients: 2.0 * matrix.slots.period as f64,
            message: (traced.mean_square * block.diagonals.len() as f64).sqrt(),
        });
        giants.extend(block.diagonals.iter().map(|d| matrix.slots.bsgs.giant(*d)));
    }
    let rotations = giants.iter().filter(|g| **g != 0).count();
    node.additions.push(Addition::KeySwitch(result, (rotations as f64).sqrt()));
    Ok(node)
}
