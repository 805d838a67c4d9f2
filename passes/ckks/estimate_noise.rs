//! `ckks-estimate-noise`: the predicted error of a placed program's results.

use super::{
    ir::{functions, set_attribute},
    noise::Trace,
};
use ceria_dialects::{
    bridge::{
        diagnostic::emit_remark,
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::attributes::make_floats,
    fhe, interpret, params_of,
};
use ceria_runtime::format::params::Params;
use melior::ir::{OperationRef, operation::OperationLike};

/// The name of the function attribute that holds the standard deviation of each result's error.
pub const ERROR: &str = "ckks.error";

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-estimate-noise",
    summary: "Predict the standard deviation of the error of each result",
    description: "Runs `entry` once in the clear on random inputs in [-size, size] and follows the scheme's errors \
        through it: encryption, roundings of rescales, key switches and encodings. The standard deviation in a real \
        slot of each result is the function's attribute `ckks.error`; with `report=true` it is a remark too, and so is \
        which op makes most of the largest.\n\n\
        ```mlir\n\
        func.func @main(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<0, S(0)> attributes {ckks.error = array<f64: 1.1e-06>}\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[
        PassOption::text("entry", "", "the function to look at; by default main, or the only function"),
        PassOption::float("size", 1.0, "the largest size of an input"),
        PassOption::bool("report", false, "emit a remark"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let params = params_of(module)
        .ok_or_else(|| PassError::op(&module, "has no parameters (run ckks-select-params before)"))?;
    let entry = entry(module, options.text("entry"))?;
    let trace = estimate(module, entry, &params, options.float("size"))?;
    let errors = trace.errors(&params);
    set_attribute(entry, ERROR, make_floats(context_of(module), &errors));
    if options.bool("report") {
        for (index, error) in errors.iter().enumerate() {
            let text = format!(
                "result {index} has an error of {error:.3e}, {:.1} bits of precision",
                precision_bits(*error)
            );
            emit_remark(entry.location(), &text);
        }
        if let Some((source, part)) = trace.loudest(&params) {
            let text = format!("{:.0} % of the largest error's variance is from {source}", 100.0 * part);
            emit_remark(entry.location(), &text);
        }
    }
    Ok(())
}

/// Bits of precision of a number near 1 whose error has this standard deviation.
pub fn precision_bits(error: f64) -> f64 {
    -error.log2()
}

/// How errors spread in a function of a placed module under its parameters.
pub fn estimate(
    module: OperationRef<'_, '_>,
    entry: OperationRef<'_, '_>,
    params: &Params,
    size: f64,
) -> Result<Trace, PassError> {
    trace(module, entry, params.slots(), size)
}

/// How errors spread in a function of a placed module whose ciphertexts have this many slots.
pub fn trace(
    module: OperationRef<'_, '_>,
    entry: OperationRef<'_, '_>,
    slots: usize,
    size: f64,
) -> Result<Trace, PassError> {
    let name = function_name(entry);
    let reader = fhe::weights::Weights::of(module);
    let weights = |name: &str| reader.get(name).map_err(|e| e.to_string());
    Trace::run(module, &name, &weights, slots, size)
}

/// The entry function: the one named, or `main`, or the only one.
pub fn entry<'c, 'a>(module: OperationRef<'c, 'a>, name: &str) -> Result<OperationRef<'c, 'a>, PassError> {
    if !name.is_empty() {
        return interpret::symbol(module, name)
            .ok_or_else(|| PassError::op(&module, format!("has no function @{name}")));
    }
    let functions = functions(module);
    let main = functions.iter().find(|f| function_name(**f) == "main");
    match (main, &functions[..]) {
        (Some(main), _) => Ok(*main),
        (None, [only]) => Ok(*only),
        _ => Err(PassError::op(&module, "has no function @main and not exactly one function")),
    }
}

/// The symbol of a function.
pub fn function_name(function: OperationRef<'_, '_>) -> String {
    ceria_dialects::ckks::attributes::text(function, "sym_name").unwrap_or_default()
}
