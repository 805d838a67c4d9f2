//! `ckks-verify-scale`: what the types of a placed program mean under its parameters.
//!
//! Types say that summands have equal scales. This pass checks the numbers behind the symbols: every level exists,
//! every scale has a value, leaves room for the message below the level's modulus, and constants are encoded with enough
//! bits.

use super::ir::{arguments, body, functions, name_of, ops_below, results};
use ceria_dialects::{
    bridge::pass::{OptionValues, PassDescriptor, PassError, PassOption},
    ckks::{
        Placement, attributes,
        types::{ct, pt},
    },
    params_of,
};
use ceria_runtime::format::params::Params;
use melior::ir::{Location, OperationRef, Value, operation::OperationLike};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-verify-scale",
    summary: "Check levels and scales of a placed program against its parameters",
    description: "Every level exists; every scale is a number of at least `min-bits` bits and at least `headroom` bits \
        below the modulus of its level; constants are encoded with at least `constant-bits` bits. The module is \
        unchanged.\n\n\
        ```mlir\n\
        %1 = ckks.square %0 : !ckks.ct<0, S(0)>  // error: the scale has 60 bits, level 0 has 60\n\
        ```",
    options: &[
        PassOption::int("headroom", 2, "bits left for the message between scale and modulus"),
        PassOption::int("min-bits", 10, "the fewest bits of a ciphertext's scale"),
        PassOption::int("constant-bits", 8, "the fewest bits at which constants and plaintexts are encoded"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

/// The limits that a scale is checked against.
struct Limits {
    headroom: f64,
    least: f64,
    constants: f64,
}

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let params = params_of(module)
        .ok_or_else(|| PassError::op(&module, "has no parameters (run ckks-select-params before)"))?;
    let limits = Limits {
        headroom: options.int("headroom") as f64,
        least: options.int("min-bits") as f64,
        constants: options.int("constant-bits") as f64,
    };
    for function in functions(module) {
        for argument in body(function).map(arguments).unwrap_or_default() {
            check(argument, function.location(), &params, &limits)?;
        }
        for op in ops_below(function) {
            let at = |e: PassError| PassError::op(&op, e);
            for result in results(op) {
                check(result, op.location(), &params, &limits).map_err(at)?;
            }
            if let Some(scale) = attributes::scale(op, "scale").filter(|_| name_of(op).starts_with("ckks.")) {
                let bits = scale.log2(&params);
                if bits.is_nan() || bits < limits.constants {
                    return Err(PassError::op(
                        &op,
                        format!(
                            "encodes its constants at {scale}, {bits:.1} bits; at least {} are needed",
                            limits.constants
                        ),
                    ));
                }
            }
        }
    }
    Ok(())
}

fn check(
    value: Value<'_, '_>,
    location: Location<'_>,
    params: &Params,
    limits: &Limits,
) -> Result<(), PassError> {
    let (placement, least) = match (ct(value), pt(value)) {
        (Ok(ty), _) => (ty.placement(), limits.least),
        (_, Ok(ty)) => (ty.placement(), limits.constants),
        _ => return Ok(()),
    };
    let fail = |message: String| Err(PassError::at(location, message));
    let Some(Placement { level, scale }) = placement else {
        return fail("has an unplaced value (run ckks-infer-levels before)".into());
    };
    let Some(basis) = params.get_level(level) else {
        return fail(format!("has a value at level {level}, the parameters end at {}", params.max_level()));
    };
    let bits = scale.log2(params);
    let modulus: f64 = params.primes(basis).iter().map(|q| f64::from(*q).log2()).sum();
    if bits.is_nan() {
        return fail(format!("has the scale {scale}, which has no value under the parameters"));
    }
    if bits < least {
        return fail(format!("has the scale {scale} of {bits:.1} bits, at least {least} are needed"));
    }
    if bits + limits.headroom > modulus {
        return fail(format!(
            "has the scale {scale} of {bits:.1} bits at level {level}, whose modulus has {modulus:.1}: \
             {} are needed for the message",
            limits.headroom
        ));
    }
    Ok(())
}
