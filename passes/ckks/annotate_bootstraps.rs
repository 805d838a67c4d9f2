//! `ckks-annotate-bootstraps`: what each bootstrap may take for granted of its slots.
//!
//! Before: `ckks.bootstrap` ops, whose slots may be anything of size 1. After: each has `bound`, a power of two that no
//! slot exceeded in runs in the clear, and `slots` where its slots repeat with a smaller period: fewer butterfly stages
//! then do. Precision is relative to the bound; a slot somewhat larger loses a little of it (the cubic term of the sine),
//! nothing breaks.
//!
//! Periods follow from the program alone ([`super::slots`]).

use super::{
    estimate_noise::{entry, function_name},
    ir::{id, name_of, ops_below, set_attribute},
    noise::random_inputs,
    select_params::slots,
    slots::{bound, periods, sizes},
};
use ceria_dialects::{
    bridge::{
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::{
        attributes::{make_float, make_int, optional},
        interpret::Slots,
        matrix::Weights,
    },
    fhe, params_of,
};
use melior::ir::{OperationRef, operation::OperationLike};

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
    let sizes = sizes(module, function, weights, runs)?;
    let periods = periods(module, count)?;
    let context = context_of(module);
    for op in bootstraps(module) {
        let operand = id(op.operand(0)?);
        if let (None, Some(size)) = (optional(op, "bound"), sizes.get(&operand)) {
            set_attribute(op, "bound", make_float(context, bound(*size)));
        }
        let period = periods.get(&operand).copied().unwrap_or(count);
        if optional(op, "slots").is_none() && period < count {
            // One slot alone would leave no butterfly stage.
            set_attribute(op, "slots", make_int(context, period.max(2) as i64));
        }
    }
    Ok(())
}

fn bootstraps<'c, 'a>(module: OperationRef<'c, 'a>) -> Vec<OperationRef<'c, 'a>> {
    ops_below(module).into_iter().filter(|op| name_of(*op) == "ckks.bootstrap").collect()
}
