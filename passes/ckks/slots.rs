//! What is known of the slots of values: with which period they repeat, whether they are real, how large they get.
//!
//! Periods and whether slots are real follow from the program alone: arguments have the periods of their layouts, and as
//! tensors are real; matrices and vectors have their own; any op's result repeats with the largest period of its operands.
//! Sizes are those of runs in the clear.

use super::ir::{Id, arguments, body, ciphertexts, functions, id, name_of, ops_below, results};
use ceria_dialects::{
    bridge::pass::PassError,
    ckks::{
        LayoutAttr,
        attributes::{optional, symbol, text},
        bootstrap,
        effects::{matrix_of, module_symbol},
        interpret::{Ckks, Slots},
        matrix::{Vector, VectorSource, Weights},
    },
    fhe::signature,
    interpret::{Datum, Evaluator, Frame, Interpreter},
};
use melior::ir::{OperationRef, Value, block::BlockLike, operation::OperationLike};
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

/// The power of two that bounds slots of this size.
pub fn bound(size: f64) -> f64 {
    // Numbers that are all zero in the runs need not be.
    size.max(LEAST_BOUND).log2().ceil().exp2()
}

/// The smallest bound.
const LEAST_BOUND: f64 = 1.0 / 1024.0;

/// The largest slot of each ciphertext that an op uses, over runs of a function on these slots.
pub fn sizes(
    module: OperationRef<'_, '_>,
    function: &str,
    weights: &Weights<'_>,
    runs: Vec<Vec<Slots>>,
) -> Result<HashMap<Id, f64>, PassError> {
    let largest = Rc::new(RefCell::new(HashMap::new()));
    for run in runs {
        let recorder = Recorder { exact: Ckks::exact(weights), largest: largest.clone() };
        let arguments = run.into_iter().map(Datum::object).collect();
        let interpreter = Interpreter::new(module).with(recorder);
        interpreter.call(function, arguments).map_err(|error| PassError::new(error.to_string()))?;
    }
    Ok(largest.take())
}

/// Runs ops exactly and records the largest slot of what they use.
struct Recorder<'w> {
    exact: Ckks<'w>,
    largest: Rc<RefCell<HashMap<Id, f64>>>,
}

impl Evaluator for Recorder<'_> {
    fn dialect(&self) -> &'static str {
        "ckks"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        for (value, operand) in op.operands().zip(operands) {
            let size = operand.get::<Slots>()?.0.iter().map(|slot| slot.norm_sqr()).fold(0.0, f64::max);
            let mut largest = self.largest.borrow_mut();
            let known = largest.entry(id(value)).or_insert(0.0);
            *known = f64::max(*known, size.sqrt());
        }
        self.exact.evaluate(op, operands, frame)
    }
}

/// The period of the slots of each ciphertext and plaintext, a power of two up to `slots`.
pub fn periods(module: OperationRef<'_, '_>, slots: usize) -> Result<HashMap<Id, usize>, PassError> {
    let mut periods = HashMap::new();
    for function in functions(module) {
        for (index, argument) in body(function).map(arguments).unwrap_or_default().into_iter().enumerate() {
            let layout = signature::get(function, signature::Side::Arguments, index, "ckks.layout")
                .and_then(|attribute| LayoutAttr::try_from(attribute).ok());
            periods.insert(id(argument), layout.map_or(slots, |layout| layout.layout().period()));
        }
    }
    // What a loop carries may grow once with each turn of this one; periods are powers of two.
    for _ in 0..=slots.ilog2() {
        let mut changed = false;
        for op in functions(module).into_iter().flat_map(ops_below) {
            changed |= step(op, slots, &mut periods).map_err(|message| PassError::op(&op, message))?;
        }
        if !changed {
            break;
        }
    }
    Ok(periods)
}

/// The periods of an op's results, and of what its region carries; whether any grew.
fn step(op: OperationRef<'_, '_>, slots: usize, periods: &mut HashMap<Id, usize>) -> Result<bool, String> {
    let operands = op.operands().filter_map(|value| periods.get(&id(value)).copied()).max().unwrap_or(1);
    let mut changed = false;
    let mut grow = |value: Value<'_, '_>, period: usize| {
        let known = periods.entry(id(value)).or_insert(1);
        changed |= *known < period;
        *known = period.max(*known);
    };
    match name_of(op).as_str() {
        "ckks.encode" => {
            let vector = Vector::read(module_symbol(op, &symbol(op, "vector")?)?)?;
            let period = match vector.source {
                VectorSource::Values(parts) => parts.iter().map(Vec::len).max().unwrap_or(1),
                VectorSource::Tensor { layout, .. } => layout.period(),
            };
            results(op).into_iter().for_each(|result| grow(result, period));
        }
        "ckks.linear_transform" => {
            let period = operands.max(matrix_of(op)?.slots.period);
            results(op).into_iter().for_each(|result| grow(result, period));
        }
        "scf.for" => {
            let carried = body(op).map(arguments).unwrap_or_default();
            for (index, result) in results(op).into_iter().enumerate() {
                grow(result, operands);
                if let Some(argument) = carried.get(1 + index) {
                    grow(*argument, operands);
                }
            }
        }
        "scf.yield" => {
            if let Some(parent) = op.parent_operation() {
                let carried = body(parent).map(arguments).unwrap_or_default();
                let carried = carried.into_iter().skip(1);
                results(parent).into_iter().chain(carried).for_each(|value| grow(value, operands));
            }
        }
        // What a function makes of its arguments is not followed.
        "func.call" => ciphertexts(results(op)).into_iter().for_each(|result| grow(result, slots)),
        _ => results(op).into_iter().for_each(|result| grow(result, operands)),
    }
    Ok(changed)
}

/// The ciphertexts and plaintexts whose slots need not be real.
pub fn complex(module: OperationRef<'_, '_>) -> Result<HashSet<Id>, PassError> {
    let mut complex: HashSet<Id> = HashSet::new();
    let called: HashSet<String> =
        ops_below(module).into_iter().filter_map(|op| symbol(op, "callee").ok()).collect();
    for function in functions(module) {
        if text(function, "sym_name").is_some_and(|name| called.contains(&name)) {
            continue;
        }
        for (index, argument) in body(function).map(arguments).unwrap_or_default().into_iter().enumerate() {
            if signature::get(function, signature::Side::Arguments, index, "ckks.layout").is_none() {
                complex.insert(id(argument));
            }
        }
    }
    let ops: Vec<_> = functions(module).into_iter().flat_map(ops_below).collect();
    // Each round makes more values complex, or is the last.
    loop {
        let before = complex.len();
        for op in &ops {
            spread(*op, module, &mut complex).map_err(|message| PassError::op(op, message))?;
        }
        if complex.len() == before {
            return Ok(complex);
        }
    }
}

/// What an op makes complex.
fn spread(
    op: OperationRef<'_, '_>,
    module: OperationRef<'_, '_>,
    complex: &mut HashSet<Id>,
) -> Result<(), String> {
    let operands: Vec<bool> = op.operands().map(|value| complex.contains(&id(value))).collect();
    let any = operands.contains(&true);
    let mut mark = |values: Vec<Value<'_, '_>>| complex.extend(values.into_iter().map(id));
    match name_of(op).as_str() {
        "ckks.mul_i" => mark(results(op)),
        "ckks.bootstrap" if bootstrap::variant(op) == bootstrap::SLOTS_TO_COEFFICIENTS_FIRST => {}
        "ckks.linear_transform"
            if optional(module_symbol(op, &symbol(op, "matrix")?)?, "fourier").is_some() =>
        {
            mark(results(op))
        }
        "scf.for" => {
            let carried = body(op).map(arguments).unwrap_or_default().into_iter().skip(1);
            for (index, (argument, result)) in carried.zip(results(op)).enumerate() {
                if operands.get(3 + index) == Some(&true) {
                    mark(vec![argument, result]);
                }
            }
        }
        "scf.yield" => {
            if let Some(parent) = op.parent_operation() {
                let carried = body(parent).map(arguments).unwrap_or_default();
                let carried = carried.into_iter().skip(usize::from(name_of(parent) == "scf.for"));
                for ((yielded, result), argument) in
                    operands.iter().zip(results(parent)).zip(carried.map(Some).chain(std::iter::repeat(None)))
                {
                    if *yielded {
                        mark([Some(result), argument].into_iter().flatten().collect());
                    }
                }
            }
        }
        "func.call" => {
            let callee = ceria_dialects::interpret::symbol(module, &symbol(op, "callee")?);
            let block = callee.and_then(body);
            for (argument, is_complex) in block.map(arguments).unwrap_or_default().into_iter().zip(&operands)
            {
                if *is_complex {
                    mark(vec![argument]);
                }
            }
            // What a function returns is complex if what it returns is.
            let returned = block.and_then(|block| block.terminator());
            for (result, value) in results(op)
                .into_iter()
                .zip(returned.map(|op| op.operands().collect::<Vec<_>>()).unwrap_or_default())
            {
                if complex.contains(&id(value)) {
                    complex.insert(id(result));
                }
            }
        }
        _ if any => mark(results(op)),
        _ => {}
    }
    Ok(())
}
