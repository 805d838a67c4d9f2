//! `ckks-annotate-bootstraps`: what each bootstrap may take for granted of its slots.
//!
//! Before: `ckks.bootstrap` ops, whose slots may be anything of size 1. After: each has `bound`, a power of two that no
//! slot exceeded in runs in the clear, and `slots` where its slots repeat with a smaller period: fewer butterfly stages
//! then do. Precision is relative to the bound; a slot somewhat larger loses a little of it (the cubic term of the sine),
//! nothing breaks.
//!
//! Periods follow from the program alone: arguments have those of their layouts, matrices and vectors their own, and any
//! op's result repeats with the largest period of its operands.

use super::{
    estimate_noise::{entry, function_name},
    ir::{Id, arguments, body, ciphertexts, functions, id, name_of, ops_below, results, set_attribute},
    noise::random_inputs,
    select_params::slots,
};
use ceria_dialects::{
    bridge::{
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::{
        LayoutAttr,
        attributes::{make_float, make_int, optional, symbol},
        effects::{matrix_of, module_symbol},
        interpret::{Ckks, Slots},
        matrix::{Vector, VectorSource, Weights},
    },
    fhe::{self, signature},
    interpret::{Datum, Evaluator, Frame, Interpreter},
    params_of,
};
use melior::ir::{OperationRef, Value, operation::OperationLike};
use std::{cell::RefCell, collections::HashMap, rc::Rc};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-annotate-bootstraps",
    summary: "Find the sizes and periods of the slots that are bootstrapped",
    description: "Sizes come from a run in the clear on random inputs as those of `ckks-estimate-noise`; bootstraps \
        that have a `bound` keep it.\n\n\
        ```mlir\n\
        %1 = ckks.bootstrap %0 {target_level = 3 : i64} : !ckks.ct<0, S(0)> to !ckks.ct<3, S(3)>\n\
        ```\n\
        becomes\n\
        ```mlir\n\
        %1 = ckks.bootstrap %0 {bound = 4.0 : f64, slots = 1024 : i64, target_level = 3 : i64} : ..\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[
        PassOption::text("entry", "", "the function to run; by default main, or the only function"),
        PassOption::float("size", 1.0, "the largest size of an input"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    if bootstraps(module).is_empty() {
        return Ok(());
    }
    let entry = entry(module, options.text("entry"))?;
    let slots = params_of(module).map_or_else(|| slots(module), |params| params.slots());
    let reader = fhe::weights::Weights::of(module);
    let weights = |name: &str| reader.get(name).map_err(|e| e.to_string());
    let inputs = random_inputs(entry, slots, options.float("size"));
    annotate(module, &function_name(entry), &weights, vec![inputs])
}

/// Annotates the bootstraps of a module after runs of a function on these slots, one vector a ciphertext.
pub fn annotate(
    module: OperationRef<'_, '_>,
    function: &str,
    weights: &Weights<'_>,
    runs: Vec<Vec<Slots>>,
) -> Result<(), PassError> {
    let count = runs.iter().flatten().map(|slots| slots.0.len()).max().unwrap_or(1);
    let largest = Rc::new(RefCell::new(HashMap::new()));
    for run in runs {
        let recorder = Recorder { exact: Ckks::exact(weights), largest: largest.clone() };
        let arguments = run.into_iter().map(Datum::object).collect();
        let interpreter = Interpreter::new(module).with(recorder);
        interpreter.call(function, arguments).map_err(|error| PassError::new(error.to_string()))?;
    }
    let periods = periods(module, count)?;
    let context = context_of(module);
    for op in bootstraps(module) {
        let size = largest.borrow().get(&(op.to_raw().ptr as Id)).copied();
        if let (None, Some(size)) = (optional(op, "bound"), size) {
            set_attribute(op, "bound", make_float(context, bound(size)));
        }
        let period = periods.get(&id(op.operand(0)?)).copied().unwrap_or(count);
        if optional(op, "slots").is_none() && period < count {
            // One slot alone would leave no butterfly stage.
            set_attribute(op, "slots", make_int(context, period.max(2) as i64));
        }
    }
    Ok(())
}

/// The power of two that bounds slots of this size.
fn bound(size: f64) -> f64 {
    // Numbers that are all zero in the runs need not be.
    size.max(LEAST_BOUND).log2().ceil().exp2()
}

/// The smallest bound.
const LEAST_BOUND: f64 = 1.0 / 1024.0;

fn bootstraps<'c, 'a>(module: OperationRef<'c, 'a>) -> Vec<OperationRef<'c, 'a>> {
    ops_below(module).into_iter().filter(|op| name_of(*op) == "ckks.bootstrap").collect()
}

/// Runs ops exactly and records the largest slot that each bootstrap gets.
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
        if let ("ckks.bootstrap", [operand]) = (name_of(op).as_str(), operands) {
            let size = operand.get::<Slots>()?.0.iter().map(|slot| slot.norm()).fold(0.0, f64::max);
            let mut largest = self.largest.borrow_mut();
            let known = largest.entry(op.to_raw().ptr as Id).or_insert(0.0);
            *known = f64::max(*known, size);
        }
        self.exact.evaluate(op, operands, frame)
    }
}

/// The period of the slots of each ciphertext and plaintext, a power of two up to `slots`.
fn periods(module: OperationRef<'_, '_>, slots: usize) -> Result<HashMap<Id, usize>, PassError> {
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
