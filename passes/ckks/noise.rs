//! How errors spread through a program, average-case.
//!
//! A program is run once on random inputs, without errors, by the reference interpreter; the run leaves a tape of how every
//! ciphertext's error comes from those of its operands, and of what each op adds ([`ceria_dialects::ckks::noise`]). Then
//! random signs in the used slots of each output go back along the tape: what arrives at a value says how much of an
//! error added there reaches the output, also where it does so on several ways that amplify or cancel one another. Under
//! parameters each addition is a variance, and the error of an output is one sum, which is cheap enough to try many
//! parameter sets.

use ceria_dialects::{
    bridge::pass::PassError,
    ckks::{
        NoiseTransfer,
        attributes::{symbol, to_floats},
        interpret::{Ckks, Diagonals, Slots},
        matrix::Weights,
        noise::{Addition, Transfer},
        types::ct,
    },
    fhe::signature,
    interpret::{Datum, Evaluator, Frame, Interpreter, name_of},
};
use ceria_runtime::format::params::Params;
use melior::ir::{OperationRef, operation::OperationLike};
use num_complex::Complex64;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// Random signs an output: they are averaged, which matters where few sums make all of its slots.
const PROBES: usize = 4;

/// How errors reach the outputs of one run of a function.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What is added where, in the order of the run.
    additions: Vec<Vec<Addition>>,
    /// The ops that add it: their names and locations.
    sources: Vec<String>,
    /// For each output and value: the mean over the output's used slots of the squares of what the value's error is
    /// multiplied by.
    gains: Vec<Vec<f64>>,
    /// The largest slot of any ciphertext.
    pub largest: f64,
    /// The largest slot of each output.
    pub output_sizes: Vec<f64>,
}

/// Where the error of one value comes from.
enum Origin {
    /// From nowhere else.
    Fresh,
    /// Errors times numbers.
    Sum(Vec<(usize, f64)>),
    /// Errors times slots.
    Products(Vec<(usize, Datum)>),
    /// An error rotated to the left.
    Rotated(usize, i64),
    /// The conjugate of an error.
    Conjugate(usize),
    /// An error times i.
    Turned(usize),
    /// One output of a matrix.
    Transform(Vec<usize>, Rc<Diagonals>, usize),
}

/// One value of the run.
struct Node {
    origin: Origin,
    slots: usize,
}

/// A value in the traced run.
struct Traced {
    slots: Datum,
    node: usize,
}

impl Trace {
    /// Runs a placed function on [`random_inputs`] of this many slots. Independent inputs of full size may leave the
    /// ranges on which polynomials stand for activations, so `size` may be less than 1.
    pub fn run(
        module: OperationRef<'_, '_>,
        function: &str,
        weights: &Weights<'_>,
        slots: usize,
        size: f64,
    ) -> Result<Self, PassError> {
        let op = ceria_dialects::interpret::symbol(module, function)
            .ok_or_else(|| PassError::op(&module, format!("has no function @{function}")))?;
        Self::on(module, function, weights, random_inputs(op, slots, size))
    }

    /// Runs a placed function on these slots, one vector a ciphertext.
    pub fn on(
        module: OperationRef<'_, '_>,
        function: &str,
        weights: &Weights<'_>,
        arguments: Vec<Slots>,
    ) -> Result<Self, PassError> {
        let op = ceria_dialects::interpret::symbol(module, function)
            .ok_or_else(|| PassError::op(&module, format!("has no function @{function}")))?;
        let tracer = Rc::new(Tracer {
            trace: RefCell::default(),
            tape: RefCell::default(),
            exact: Ckks::exact(weights),
        });
        let values = super::ir::body(op).map(super::ir::arguments).unwrap_or_default();
        let mut inputs = Vec::new();
        for (argument, slots) in values.into_iter().zip(arguments) {
            let ty = ct(argument)
                .map_err(|m| PassError::op(&op, format!("has an argument that is no ciphertext: {m}")))?;
            let placement = ty.placement().ok_or_else(|| PassError::op(&op, "is not placed"))?;
            inputs.push(tracer.push(
                Origin::Fresh,
                (vec![Addition::Fresh(placement)], "encryption".into()),
                Datum::object(slots),
                true,
            )?);
        }
        let mut random = ChaCha8Rng::seed_from_u64(0x7369_676e);
        let interpreter = Interpreter::new(module).with(SharedTracer(tracer.clone()));
        let outputs = interpreter.call(function, inputs).map_err(|e| PassError::new(e.to_string()))?;
        drop(interpreter);
        let (mut trace, tape) = (tracer.trace.take(), tracer.tape.take());
        for output in &outputs {
            let traced = output.get::<Traced>()?;
            let slots = traced.slots.get::<Slots>()?;
            let mut gains = vec![0.0; tape.len()];
            for _ in 0..PROBES {
                let (probe, used) = probe(slots, &mut random);
                back(&tape, traced.node, probe, |node, square| {
                    gains[node] += square / (used * PROBES) as f64;
                });
            }
            trace.gains.push(gains);
            trace.output_sizes.push(largest(slots));
        }
        Ok(trace)
    }

    /// The standard deviation of the error in the real slots of each output, over the slots that are used.
    pub fn errors(&self, params: &Params) -> Vec<f64> {
        self.errors_of(params, |_| true)
    }

    /// The ops that make most of the error of the worst output, all that have one name and location together, and their
    /// part of its variance.
    pub fn loudest(&self, params: &Params) -> Option<(&str, f64)> {
        let errors = self.errors(params);
        let worst = (0..errors.len()).max_by(|a, b| errors[*a].total_cmp(&errors[*b]))?;
        let mut parts = BTreeMap::<&str, f64>::new();
        for ((gain, additions), source) in self.gains[worst]
            .iter()
            .zip(&self.additions)
            .zip(&self.sources)
            .filter(|((gain, _), _)| **gain > 0.0)
        {
            let variance: f64 = additions.iter().map(|a| a.variance(params)).sum();
            *parts.entry(source).or_default() += gain * variance;
        }
        let all: f64 = parts.values().sum();
        let (source, part) = parts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (part > 0.0).then_some((source, part / all))
    }

    /// The part of [`Trace::errors`] that some additions make.
    pub fn errors_of(&self, params: &Params, count: impl Fn(&Addition) -> bool) -> Vec<f64> {
        let variance = |additions: &Vec<Addition>| {
            additions.iter().filter(|a| count(a)).map(|a| a.variance(params)).sum::<f64>()
        };
        let added: Vec<f64> = self.additions.iter().map(variance).collect();
        // A real slot has half of a complex one's variance.
        let error = |gains: &Vec<f64>| {
            let sum: f64 =
                gains.iter().zip(&added).filter(|(gain, _)| **gain > 0.0).map(|(g, v)| g * v).sum();
            (sum / 2.0).sqrt()
        };
        self.gains.iter().map(error).collect()
    }
}

/// Random real slots for each argument of a function. They lie in the argument's `ckks.range`, or else in [-1, 1], drawn
/// together around zero by the factor `size`.
pub fn random_inputs(function: OperationRef<'_, '_>, slots: usize, size: f64) -> Vec<Slots> {
    let count = super::ir::body(function).map(super::ir::arguments).unwrap_or_default().len();
    let mut random = ChaCha8Rng::seed_from_u64(0x6365_7269);
    let mut input = |index| {
        let [low, high] = range(function, index).unwrap_or([-1.0, 1.0]);
        let centre = 0f64.clamp(low, high);
        let (low, high) = (centre + (low - centre) * size, centre + (high - centre) * size);
        Slots::real(&(0..slots).map(|_| random.random_range(low..=high)).collect::<Vec<_>>())
    };
    (0..count).map(&mut input).collect()
}

/// Random signs in the slots that are used, or in all if none is, and their number.
fn probe(slots: &Slots, random: &mut ChaCha8Rng) -> (Vec<Complex64>, usize) {
    let all = slots.0.iter().all(|value| value.norm() < 1e-9);
    let mut used = 0;
    let signs = slots.0.iter().map(|value| {
        if !all && value.norm() < 1e-9 {
            return Complex64::default();
        }
        used += 1;
        Complex64::from(if random.random::<bool>() { 1.0 } else { -1.0 })
    });
    (signs.collect(), used.max(1))
}

/// Takes what multiplies an error from an output back along the tape: `found` gets every value with the sum of squares
/// that arrives there.
fn back(tape: &[Node], output: usize, probe: Vec<Complex64>, mut found: impl FnMut(usize, f64)) {
    let mut arrived: Vec<Vec<Complex64>> = vec![Vec::new(); output + 1];
    arrived[output] = probe;
    for node in (0..=output).rev() {
        let here = std::mem::take(&mut arrived[node]);
        if here.is_empty() {
            continue;
        }
        found(node, here.iter().map(|v| v.norm_sqr()).sum());
        let mut send = |to: usize, place: &dyn Fn(usize) -> usize, factor: &dyn Fn(usize) -> Complex64| {
            let count = tape[to].slots.max(1);
            arrived[to].resize(count, Complex64::default());
            for (slot, value) in here.iter().enumerate() {
                // Plaintexts of fewer slots are repeated.
                arrived[to][place(slot) % count] += value * factor(slot);
            }
        };
        let same = |slot: usize| slot;
        let one = |_: usize| Complex64::from(1.0);
        match &tape[node].origin {
            Origin::Fresh => {}
            Origin::Sum(terms) => {
                for (from, factor) in terms {
                    send(*from, &same, &|_| Complex64::from(*factor));
                }
            }
            Origin::Products(terms) => {
                for (from, factors) in terms {
                    if let Ok(Slots(factors)) = factors.get::<Slots>() {
                        send(*from, &same, &|slot| factors[slot % factors.len()].conj());
                    }
                }
            }
            Origin::Rotated(from, step) => {
                let by = step.rem_euclid(here.len() as i64) as usize;
                send(*from, &|slot| slot + by, &one);
            }
            Origin::Conjugate(from) => {
                // conj(v) arrives, which is v times conj(v) / v.
                let turned = |slot: usize| {
                    let value: Complex64 = here[slot];
                    if value == Complex64::default() { value } else { value.conj() / value }
                };
                send(*from, &same, &turned);
            }
            Origin::Turned(from) => send(*from, &same, &|_| -Complex64::I),
            Origin::Transform(inputs, diagonals, output) => {
                for diagonal in diagonals.values.iter().filter(|d| d.output == *output) {
                    let Some(from) = inputs.get(diagonal.input) else { continue };
                    // Inputs have as many slots as outputs. This is most of the work, so without calls.
                    let by = diagonal.diagonal.rem_euclid(here.len() as i64) as usize;
                    let to = &mut arrived[*from];
                    to.resize(here.len(), Complex64::default());
                    let (low, high) = to.split_at_mut(by);
                    let places = high.iter_mut().chain(low).zip(&here);
                    if diagonal.imaginary.is_empty() {
                        let weights = diagonal.values.iter().cycle();
                        places.zip(weights).for_each(|((sum, v), w)| *sum += v * w);
                    } else {
                        let weight = |slot| diagonal.at(slot).conj();
                        places.enumerate().for_each(|(slot, (sum, v))| *sum += v * weight(slot));
                    }
                }
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

fn largest(slots: &Slots) -> f64 {
    slots.0.iter().map(|v| v.norm()).fold(0.0, f64::max)
}

/// Runs ops exactly and records where errors come from.
struct Tracer<'w> {
    trace: RefCell<Trace>,
    tape: RefCell<Vec<Node>>,
    exact: Ckks<'w>,
}

struct SharedTracer<'w>(Rc<Tracer<'w>>);

impl Tracer<'_> {
    /// Records a value. The largest plaintext says nothing about room for messages.
    fn push(
        &self,
        origin: Origin,
        (additions, source): (Vec<Addition>, String),
        slots: Datum,
        ciphertext: bool,
    ) -> Result<Datum, String> {
        let mut trace = self.trace.borrow_mut();
        let mut tape = self.tape.borrow_mut();
        let values = slots.get::<Slots>()?;
        if ciphertext {
            trace.largest = trace.largest.max(largest(values));
        }
        trace.additions.push(additions);
        trace.sources.push(source);
        tape.push(Node { origin, slots: values.0.len() });
        let node = tape.len() - 1;
        Ok(Datum::object(Traced { slots, node }))
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let traced = operands.iter().map(Datum::get::<Traced>).collect::<Result<Vec<_>, _>>()?;
        let data: Vec<Datum> = traced.iter().map(|t| t.slots.clone()).collect();
        let results = self.exact.evaluate(op, &data, frame)?;
        let slots = data.iter().map(Datum::get::<Slots>).collect::<Result<Vec<_>, _>>()?;
        let mut recorded = Vec::with_capacity(results.len());
        for (index, result) in results.into_iter().enumerate() {
            let additions = self.exact.additions(op, index, &slots, frame)?;
            let source = format!("{} at {}", name_of(op), op.location());
            let ciphertext = ct(op.result(index).map_err(|e| e.to_string())?.into()).is_ok();
            let origin = self.origin(op, index, &traced, frame)?;
            recorded.push(self.push(origin, (additions, source), result, ciphertext)?);
        }
        Ok(recorded)
    }

    /// Where the error of an op's result comes from.
    fn origin(
        &self,
        op: OperationRef<'_, '_>,
        index: usize,
        operands: &[&Traced],
        frame: &Frame<'_, '_>,
    ) -> Result<Origin, String> {
        let transfer = NoiseTransfer::of(op).ok_or("has no noise model")?.transfer(&index)?;
        let nodes = operands.iter().map(|of| of.node);
        Ok(match (transfer, operands) {
            (Transfer::Fresh, _) => Origin::Fresh,
            (Transfer::Linear(factors), _) => Origin::Sum(nodes.zip(factors).collect()),
            (Transfer::Product, [x]) => {
                Origin::Products(vec![(x.node, x.slots.clone()), (x.node, x.slots.clone())])
            }
            (Transfer::Product, [x, y]) => {
                Origin::Products(vec![(x.node, y.slots.clone()), (y.node, x.slots.clone())])
            }
            (Transfer::Rotated(step), [x]) => Origin::Rotated(x.node, step),
            (Transfer::Conjugate, [x]) => Origin::Conjugate(x.node),
            (Transfer::Turned, [x]) => Origin::Turned(x.node),
            (Transfer::Matrix, _) => {
                let diagonals = self.exact.diagonals(&symbol(op, "matrix")?, frame)?;
                Origin::Transform(nodes.collect(), diagonals, index)
            }
            (transfer, _) => return Err(format!("has {} operands for {transfer:?}", operands.len())),
        })
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
