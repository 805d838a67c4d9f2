//! What the type rules of `infer` do not say.
//!
//! Checked here, by op:
//! * types: an unplaced type has scale 1; a ciphertext has at least two components;
//! * constants are finite; constants, coefficients and steps exist;
//! * `adjust` goes down at least one level and keeps the size;
//! * bootstrapping: `mod_raise` goes up from level 0 to scale Q0, `switch_secret` to the sparse secret is at level 0,
//!   `set_scale` keeps level and size, `bootstrap` ends at the canonical scale of its target level; parameters, when
//!   attached, are for bootstrapping;
//! * `hoisted_rotate` has distinct steps;
//! * `linear_transform`: placement of operands and results; number of operands and results, when the matrix is found;
//! * `matrix`, `vector`: extents, diagonals, one source of numbers;
//! * levels exist, when parameters are attached: for the results of `adjust`, `encode`, `linear_transform`.
//!
//! Not checked here, because it is not local: sizes of messages against the modulus (`ckks-verify-scale`).

use super::{
    Placement,
    attributes::{float, floats, int, ints, scale, symbol},
    bootstrap::{self, VARIANTS},
    infer::scaled,
    matrix::{Matrix, Vector},
    types::{ct, pt},
};
use crate::{bridge::hooks::*, interpret, params_of};
use ceria_runtime::format::{params::Bootstrap, scale::Scale};

/// The parameters of `!ckks.ct`.
pub fn verify_ct_type(level: i64, scale: &Scale, size: i64) -> HookResult {
    if !(2..=16).contains(&size) {
        return Err(format!("a ciphertext has 2 to 16 components, got {size}"));
    }
    verify_pt_type(level, scale)
}

/// The parameters of `!ckks.pt`.
pub fn verify_pt_type(level: i64, scale: &Scale) -> HookResult {
    match level {
        -1 if *scale == Scale::one() => Ok(()),
        -1 => Err("an unplaced value has no scale".into()),
        0..=1023 => Ok(()),
        _ => Err(format!("level {level} is not in 0 to 1023")),
    }
}

fn finite(op: OperationRef<'_, '_>, name: &str) -> HookResult {
    match float(op, name)? {
        value if value.is_finite() => Ok(()),
        value => Err(format!("has the constant {value}")),
    }
}

/// Levels in the results exist in the parameters, where there are some.
fn level_exists(op: OperationRef<'_, '_>, placement: Option<&Placement>) -> HookResult {
    match (placement, params_of(op)) {
        (Some(Placement { level, .. }), Some(params)) if *level > params.max_level() => {
            Err(format!("has a result at level {level}, but the parameters end at {}", params.max_level()))
        }
        _ => Ok(()),
    }
}

verifier!(ckks_add_const, |op: OperationRef| finite(op, "value"));

verifier!(ckks_mul_const, |op: OperationRef| finite(op, "value"));

verifier!(ckks_mul_int, |op: OperationRef| {
    let value = int(op, "value")?;
    if value.unsigned_abs() > 1 << 30 {
        return Err(format!("multiplies by {value}, more than 2^30"));
    }
    Ok(())
});

verifier!(ckks_adjust, |op: OperationRef| {
    let input = ct(op.operand(0).map_err(|e| e.to_string())?)?;
    let result = ct(Value::from(op.result(0).map_err(|e| e.to_string())?))?;
    let (Some(from), Some(to)) = (input.placement(), result.placement()) else {
        return Err("needs placed types".into());
    };
    if input.components() != result.components() {
        return Err("changes the number of components".into());
    }
    if from != to && to.level >= from.level {
        return Err(format!("goes from level {} to {}, it has to go down", from.level, to.level));
    }
    level_exists(op, Some(&to))
});

verifier!(ckks_hoisted_rotate, |op: OperationRef| {
    let mut steps = ints(op, "steps")?;
    steps.sort_unstable();
    match steps.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("has step {} twice", pair[0])),
        None => Ok(()),
    }
});

/// The types of an op's only operand and result.
fn in_and_out<'c>(op: OperationRef<'c, '_>) -> Result<[crate::ckks::CtType<'c>; 2], String> {
    let input = ct(op.operand(0).map_err(|e| e.to_string())?)?;
    Ok([input, ct(Value::from(op.result(0).map_err(|e| e.to_string())?))?])
}

/// Parameters, where there are some, are for bootstrapping.
fn can_bootstrap(op: OperationRef<'_, '_>) -> Result<Option<Bootstrap>, String> {
    let Some(params) = params_of(op) else { return Ok(None) };
    params.bootstrap.map(Some).ok_or_else(|| "needs parameters with `bootstrap`".into())
}

verifier!(ckks_mod_raise, |op: OperationRef| {
    let [input, result] = in_and_out(op)?;
    let (Some(from), Some(to)) = (input.placement(), result.placement()) else {
        return Err("needs placed types".into());
    };
    if from.level != 0 || to.level == 0 {
        return Err(format!("goes from level {} to {}, it has to go up from level 0", from.level, to.level));
    }
    if to.scale != Scale::q0() {
        return Err(format!("has a result at scale {}, expected Q0", to.scale));
    }
    if input.components() != 2 || result.components() != 2 {
        return Err("needs ciphertexts of 2 components".into());
    }
    can_bootstrap(op)?;
    level_exists(op, Some(&to))
});

verifier!(ckks_switch_secret, |op: OperationRef| {
    let [input, _] = in_and_out(op)?;
    let Some(placement) = input.placement() else { return Err("needs placed types".into()) };
    if op.has_attribute("sparse") && placement.level != 0 {
        return Err(format!(
            "goes to the sparse secret at level {}, its key is one of level 0",
            placement.level
        ));
    }
    can_bootstrap(op).map(|_| ())
});

verifier!(ckks_set_scale, |op: OperationRef| {
    let [input, result] = in_and_out(op)?;
    let (Some(from), Some(to)) = (input.placement(), result.placement()) else {
        return Err("needs placed types".into());
    };
    if from.level != to.level || input.components() != result.components() {
        return Err(format!("makes {result} of {input}, only the scale may differ"));
    }
    Ok(())
});

verifier!(ckks_bootstrap, |op: OperationRef| {
    let [input, result] = in_and_out(op)?;
    let target = int(op, "target_level")?;
    let variant = bootstrap::variant(op);
    if !VARIANTS.contains(&variant.as_str()) {
        return Err(format!("has the variant \"{variant}\", there are {}", VARIANTS.join(", ")));
    }
    let bound = bootstrap::bound(op)?;
    if !(bound > 0.0 && bound.is_finite()) {
        return Err(format!("has the bound {bound}, it must be a positive number"));
    }
    if let Some(slots) = bootstrap::period(op)? {
        let most = params_of(op).map_or(i64::MAX, |params| params.slots() as i64);
        if slots < 1 || !(slots as u64).is_power_of_two() || slots > most {
            return Err(format!("has {slots} slots, which is no power of two up to the number of slots"));
        }
    }
    if result.components() != 2 {
        return Err("needs a result of 2 components".into());
    }
    match (input.placement(), result.placement()) {
        (None, None) => {}
        (Some(_), Some(to)) if i64::from(to.level) == target && to.scale == Scale::level(to.level) => {}
        (Some(_), Some(to)) => {
            return Err(format!("has a result of {to}, expected level {target} at its canonical scale"));
        }
        _ => return Err("has a placed and an unplaced type".into()),
    }
    match can_bootstrap(op)? {
        Some(bootstrap) if target < 1 || target > i64::from(bootstrap.level) => {
            Err(format!("has target level {target}, it must be 1 to {}", bootstrap.level))
        }
        None if target < 1 => Err(format!("has target level {target}")),
        _ => Ok(()),
    }
});

verifier!(ckks_eval_poly, |op: OperationRef| {
    let coefficients = floats(op, "coefficients")?;
    if coefficients.is_empty() {
        return Err("has no coefficients".into());
    }
    match coefficients.iter().find(|c| !c.is_finite()) {
        Some(bad) => Err(format!("has the coefficient {bad}")),
        None => Ok(()),
    }
});

/// The module-level op that a symbol names, when the op is attached to a module.
fn lookup<'c, 'a>(op: OperationRef<'c, 'a>, name: &str) -> Option<OperationRef<'c, 'a>> {
    crate::ckks::effects::module_symbol(op, name).ok()
}

/// The op that `name` refers to, if there is one, has to be a `kind`.
fn refers_to<'c, 'a>(
    op: OperationRef<'c, 'a>,
    name: &str,
    kind: &str,
) -> Result<Option<OperationRef<'c, 'a>>, String> {
    match lookup(op, name) {
        Some(found) if interpret::name_of(found) == kind => Ok(Some(found)),
        Some(found) => Err(format!("refers to @{name}, a {}, not a {kind}", interpret::name_of(found))),
        // A fragment without module, or inside another op that is being built.
        None if op.parent_operation().is_none_or(|p| p.parent_operation().is_none()) => Ok(None),
        None => Err(format!("refers to @{name}, which the module does not define")),
    }
}

verifier!(ckks_encode, |op: OperationRef| {
    let name = symbol(op, "vector")?;
    let part = int(op, "part")?;
    if part < 0 {
        return Err(format!("takes part {part}"));
    }
    if let Some(vector) = refers_to(op, &name, "ckks.vector")? {
        let parts = int(vector, "parts")?;
        if part >= parts {
            return Err(format!("takes part {part} of @{name}, which has {parts}"));
        }
    }
    let result = pt(Value::from(op.result(0).map_err(|e| e.to_string())?))?;
    level_exists(op, result.placement().as_ref())
});

verifier!(ckks_linear_transform, |op: OperationRef| {
    let inputs = op.operands().map(ct).collect::<Result<Vec<_>, _>>()?;
    let outputs = op.results().map(|r| ct(r.into())).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = inputs.first() else { return Err("has no operand".into()) };
    if inputs.iter().any(|i| i.placement() != first.placement()) {
        return Err("has operands of different types".into());
    }
    // Before levels are placed, relinearisations are not decided either.
    let placed = first.placement().is_some();
    if let Some(large) = inputs.iter().find(|i| placed && i.components() != 2) {
        let first = large;
        return Err(format!("needs operands of 2 components, got {}", first.components()));
    }
    let expected = scaled(first.placement(), scale(op, "scale"))?;
    for output in &outputs {
        if output.placement() != expected || output.components() != 2 {
            let expected = expected.as_ref().map_or("no placement".into(), Placement::to_string);
            return Err(format!("has a result of type {output}, expected 2 components with {expected}"));
        }
    }
    level_exists(op, expected.as_ref())?;
    let name = symbol(op, "matrix")?;
    if let Some(matrix) = refers_to(op, &name, "ckks.matrix")? {
        let (rows, columns) = (int(matrix, "outputs")?, int(matrix, "inputs")?);
        if (columns, rows) != (inputs.len() as i64, outputs.len() as i64) {
            return Err(format!(
                "maps {} ciphertexts to {}, but @{name} maps {columns} to {rows}",
                inputs.len(),
                outputs.len()
            ));
        }
    }
    Ok(())
});

verifier!(ckks_matrix, |op: OperationRef| Matrix::read(op).map(|_| ()));

verifier!(ckks_vector, |op: OperationRef| Vector::read(op).map(|_| ()));
