//! What the types of `fhe` ops do not say by themselves.
//!
//! Checked of the type: extents are positive, the tensor is not huge, its layout covers it. Checked of each op below:
//! attributes in range, shapes related, a symbol that exists and has the type once the op is inside a module. Ops whose
//! types are inferred have their shapes checked by the inference ([`super::shapes`]).

use super::{
    access::{self, Attributes, function_of, is_encrypted, layout_of, shape_of, value_shape},
    linear,
    shapes::{broadcast, show},
    weights,
};
use crate::{
    bridge::{generated::fhe::Function, hooks::*},
    verifier,
};
use ceria_runtime::format::{layout::Layout, text::TextParam};

/// The largest number of elements of a tensor.
const MAX_ELEMENTS: i64 = 1 << 31;

/// Verifies the parameters of `!fhe.tensor`.
pub fn verify_tensor_type(shape: &[i64], layout: &[i64]) -> Result<(), String> {
    let mut elements = 1i64;
    for &extent in shape {
        if extent < 1 {
            return Err(format!("has an extent of {extent}"));
        }
        elements = elements.saturating_mul(extent);
    }
    if elements >= MAX_ELEMENTS {
        return Err("has 2^31 elements or more".into());
    }
    if !layout.is_empty() {
        let layout = Layout::from_words(layout).map_err(|e| e.to_string())?;
        let shape: Vec<usize> = shape.iter().map(|&s| s as usize).collect();
        layout.verify_shape(&shape).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn operand<'c, 'a>(op: OperationRef<'c, 'a>, index: usize) -> Result<Value<'c, 'a>, String> {
    op.operand(index).map_err(|e| e.to_string())
}

fn result_type<'c>(op: OperationRef<'c, '_>) -> Result<Type<'c>, String> {
    Ok(op.result(0).map_err(|e| e.to_string())?.r#type())
}

fn result_shape(op: OperationRef<'_, '_>) -> Result<Vec<usize>, String> {
    let ty = result_type(op)?;
    shape_of(ty).ok_or_else(|| format!("has a result of type {ty}"))
}

/// Both operands' layouts agree and one of them is encrypted.
fn verify_binary(op: OperationRef<'_, '_>) -> HookResult {
    let types = [operand(op, 0)?.r#type(), operand(op, 1)?.r#type()];
    if !types.iter().any(|t| is_encrypted(*t)) {
        return Err("needs an encrypted operand".into());
    }
    if types.iter().all(|t| is_encrypted(*t)) && layout_of(types[0]) != layout_of(types[1]) {
        return Err("has encrypted operands of different layouts".into());
    }
    Ok(())
}

verifier!(fhe_add, verify_binary);
verifier!(fhe_sub, verify_binary);
verifier!(fhe_mul, verify_binary);
verifier!(fhe_matmul, verify_binary);

verifier!(fhe_scale, |op: OperationRef| finite(&[op.f64("factor").unwrap_or(f64::NAN)], "factor"));

fn finite(values: &[f64], name: &str) -> HookResult {
    match values.iter().find(|v| !v.is_finite()) {
        Some(bad) => Err(format!("has {bad} in '{name}'")),
        None => Ok(()),
    }
}

verifier!(fhe_weights, |op: OperationRef| {
    let ty = op.of_type("type").ok_or("requires attribute 'type'")?;
    match (op.text("file"), op.text("key"), op.get("value")) {
        (Some(_), Some(_), None) => Ok(()),
        (None, None, Some(value)) if value.r#type() == ty => Ok(()),
        (None, None, Some(value)) => Err(format!("has a value of type {}", value.r#type())),
        _ => Err("needs either a file with a key or a value".into()),
    }
});

verifier!(fhe_get_weights, |op: OperationRef| {
    let name = op.symbol("weights").ok_or("requires attribute 'weights'")?;
    let ty = result_type(op)?;
    match weights::lookup(op, name) {
        weights::Lookup::Detached => Ok(()),
        weights::Lookup::Missing => Err(format!("refers to @{name}, which is no fhe.weights of the module")),
        weights::Lookup::Found(symbol) => match symbol.of_type("type") {
            Some(found) if found == ty => Ok(()),
            Some(found) => Err(format!("reads @{name}, whose type is {found}")),
            None => Ok(()),
        },
    }
});

verifier!(fhe_batch_norm, |op: OperationRef| {
    let input = value_shape(operand(op, 0)?)?;
    let channels = input.get(1).ok_or("needs an input of rank 2 or more")?;
    let statistics = value_shape(operand(op, 1)?)?;
    if statistics != [*channels] {
        return Err(format!("has {channels} channels and statistics of shape {}", show(&statistics)));
    }
    match op.f64("epsilon") {
        Some(epsilon) if epsilon < 0.0 || !epsilon.is_finite() => Err(format!("has {epsilon} in 'epsilon'")),
        _ => Ok(()),
    }
});

verifier!(fhe_conv2d, |op: OperationRef| match op.i64("groups") {
    Some(groups) if groups < 1 => Err(format!("has {groups} in 'groups'")),
    _ => Ok(()),
});

fn no_layout(op: OperationRef<'_, '_>) -> HookResult {
    let packed = op.operands().map(|v| v.r#type()).any(|t| layout_of(t).is_some());
    if packed {
        Err("has an operand with a layout; only elementwise ops, linear and convert_layout may".into())
    } else {
        Ok(())
    }
}

verifier!(fhe_avg_pool, no_layout);
verifier!(fhe_reduce_sum, no_layout);
verifier!(fhe_reduce_mean, no_layout);
verifier!(fhe_transpose, no_layout);
verifier!(fhe_slice, no_layout);
verifier!(fhe_concat, no_layout);
verifier!(fhe_pad, |op: OperationRef| {
    no_layout(op)?;
    finite(&[op.f64("value").unwrap_or(0.0)], "value")
});

verifier!(fhe_reshape, |op: OperationRef| {
    no_layout(op)?;
    let (from, to) = (value_shape(operand(op, 0)?)?, result_shape(op)?);
    if from.iter().product::<usize>() != to.iter().product::<usize>() {
        return Err(format!("changes the number of elements: {} to {}", show(&from), show(&to)));
    }
    Ok(())
});

verifier!(fhe_expand, |op: OperationRef| {
    no_layout(op)?;
    let (from, to) = (value_shape(operand(op, 0)?)?, result_shape(op)?);
    if broadcast(&from, &to) != Ok(to.clone()) {
        return Err(format!("cannot broadcast {} to {}", show(&from), show(&to)));
    }
    Ok(())
});

/// Checks `[lower, upper]`.
fn verify_interval(values: &[f64], name: &str) -> HookResult {
    match values {
        [lower, upper] if lower < upper && lower.is_finite() && upper.is_finite() => Ok(()),
        [lower, upper] if lower == upper && lower.is_finite() && name == "range" => Ok(()),
        _ => Err(format!("needs two ascending numbers in '{name}'")),
    }
}

verifier!(fhe_activation, |op: OperationRef| {
    let function = function_of(op)?;
    let parameters = op.f64s("parameters").unwrap_or_default();
    finite(&parameters, "parameters")?;
    match (function, parameters.as_slice()) {
        (Function::Clip, [lower, upper]) if lower <= upper => {}
        (Function::Clip, _) => return Err("clip needs two ascending numbers in 'parameters'".into()),
        (Function::LeakyRelu, [_]) => {}
        (Function::LeakyRelu, _) => return Err("leaky_relu needs one number in 'parameters'".into()),
        (_, []) => {}
        _ => return Err("takes no 'parameters'".into()),
    }
    match op.f64s("range") {
        Some(range) => verify_interval(&range, "range"),
        None => Ok(()),
    }
});

verifier!(fhe_pow, |op: OperationRef| match op.i64("exponent") {
    Some(1..=64) => Ok(()),
    _ => Err("needs an exponent from 1 to 64".into()),
});

verifier!(fhe_eval_poly, |op: OperationRef| {
    let coefficients = op.f64s("coefficients").unwrap_or_default();
    if coefficients.is_empty() {
        return Err("has no coefficients".into());
    }
    finite(&coefficients, "coefficients")?;
    verify_interval(&op.f64s("domain").unwrap_or_default(), "domain")
});

verifier!(fhe_linear, |op: OperationRef| {
    let (form, names) = linear::of_linear(op)?;
    let (from, to) = (value_shape(operand(op, 0)?)?, result_shape(op)?);
    if form.input_shape() != from || form.output_shape() != to {
        let (from, to) = (show(form.input_shape()), show(form.output_shape()));
        return Err(format!("has a map from {from} to {to}"));
    }
    let check = |name: &str, shape: &[usize]| match weights::lookup(op, name) {
        weights::Lookup::Detached => Ok(()),
        weights::Lookup::Missing => Err(format!("refers to @{name}, which is no fhe.weights of the module")),
        weights::Lookup::Found(symbol) => {
            let found = symbol.of_type("type").and_then(shape_of).unwrap_or_default();
            if found == shape {
                return Ok(());
            }
            Err(format!("needs @{name} of shape {}, which has {}", show(shape), show(&found)))
        }
    };
    for (name, shape) in names.iter().zip(form.weights()) {
        check(name, shape)?;
    }
    if let Some(bias) = op.symbol("bias") {
        check(bias, &to)?;
    }
    let (from, to) = (layout_of(operand(op, 0)?.r#type()), layout_of(result_type(op)?));
    match (from, to) {
        (Some(from), Some(to)) if from.slots() != to.slots() => {
            Err(format!("has layouts of {} and {} slots", from.slots(), to.slots()))
        }
        (None, Some(_)) | (Some(_), None) => Err("has only one layout".into()),
        _ => Ok(()),
    }
});

verifier!(fhe_convert_layout, |op: OperationRef| {
    let types = [operand(op, 0)?.r#type(), result_type(op)?];
    if access::shape_of(types[0]) != access::shape_of(types[1]) {
        return Err("changes the shape".into());
    }
    match (layout_of(types[0]), layout_of(types[1])) {
        (Some(from), Some(to)) if from.slots() == to.slots() => Ok(()),
        (Some(_), Some(_)) => Err("changes the number of slots".into()),
        _ => Err("needs layouts on both sides".into()),
    }
});
