//! Folds: each op that is one of its operands, or that can skip the op before.
//!
//! A folder creates no op. In-place folds replace an operand by what the op before reads and merge attributes.

use super::access::{self, Attributes, constant_of, defining_as, function_of, shape_of, splat_of};
use crate::{
    bridge::{generated::fhe::Function, hooks::*},
    folder,
};
use melior::ir::attribute::DenseI64ArrayAttribute;

/// An operand, if its type is that of the result.
fn as_result<'c, 'a>(op: OperationRef<'c, 'a>, index: usize) -> Option<Value<'c, 'a>> {
    let value = op.operand(index).ok()?;
    (value.r#type() == op.result(0).ok()?.r#type()).then_some(value)
}

fn keep<'c, 'a>(value: Option<Value<'c, 'a>>) -> Fold<'c, 'a> {
    value.map_or(Fold::None, Fold::from)
}

/// Whether operand `index` is a constant whose elements are all `number`.
fn is_splat(op: OperationRef<'_, '_>, operands: &[Option<Attribute<'_>>], index: usize, number: f64) -> bool {
    let known =
        operands.get(index).copied().flatten().or_else(|| op.operand(index).ok().and_then(constant_of));
    known.and_then(splat_of) == Some(number)
}

// x + 0 // x
folder!(fhe_add, |op: OperationRef<'_, '_>, operands: &[Option<Attribute<'_>>]| {
    fold_neutral(op, operands, 0.0)
});

// x - 0 // x
folder!(fhe_sub, |op: OperationRef<'_, '_>, operands: &[Option<Attribute<'_>>]| {
    if is_splat(op, operands, 1, 0.0) { keep(as_result(op, 0)) } else { Fold::None }
});

// x * 1 // x
folder!(fhe_mul, |op: OperationRef<'_, '_>, operands: &[Option<Attribute<'_>>]| {
    fold_neutral(op, operands, 1.0)
});

fn fold_neutral<'c, 'a>(
    op: OperationRef<'c, 'a>,
    operands: &[Option<Attribute<'c>>],
    neutral: f64,
) -> Fold<'c, 'a> {
    if is_splat(op, operands, 1, neutral) {
        return keep(as_result(op, 0));
    }
    if is_splat(op, operands, 0, neutral) {
        return keep(as_result(op, 1));
    }
    Fold::None
}

fn inner<'c, 'a>(op: OperationRef<'c, 'a>, name: &str) -> Option<OperationRef<'c, 'a>> {
    defining_as(op.operand(0).ok()?, name)
}

// -(-x) // x
folder!(fhe_neg, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    keep(inner(op, "fhe.neg").and_then(|inner| inner.operand(0).ok()))
});

// x by 1 // x
folder!(fhe_scale, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    if op.f64("factor") == Some(1.0) { keep(as_result(op, 0)) } else { Fold::None }
});

/// A reduction over dimensions of extent 1 that are kept, or over none, is its operand.
fn fold_reduction<'c, 'a>(op: OperationRef<'c, 'a>) -> Fold<'c, 'a> {
    keep(as_result(op, 0))
}

folder!(fhe_reduce_sum, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| fold_reduction(op));
folder!(fhe_reduce_mean, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| fold_reduction(op));

/// Reads past an op of the same name.
fn skip<'c, 'a>(op: OperationRef<'c, 'a>, name: &str) -> Fold<'c, 'a> {
    match inner(op, name).and_then(|inner| inner.operand(0).ok()) {
        Some(source) => {
            access::set_operand(op, 0, source);
            Fold::InPlace
        }
        None => Fold::None,
    }
}

// reshape to the same shape // x;  reshape(reshape(x)) // reshape(x)
folder!(fhe_reshape, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    match as_result(op, 0) {
        Some(value) => value.into(),
        None => skip(op, "fhe.reshape"),
    }
});

// expand to the same shape // x;  expand(expand(x)) // expand(x)
folder!(fhe_expand, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    match as_result(op, 0) {
        Some(value) => value.into(),
        None => skip(op, "fhe.expand"),
    }
});

// identity permutation // x;  transpose(transpose(x, p), q) // transpose(x, q then p)
folder!(fhe_transpose, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    let Some(outer) = op.i64s("permutation") else { return Fold::None };
    if outer.iter().enumerate().all(|(i, &d)| i as i64 == d) {
        return keep(as_result(op, 0));
    }
    let Some(inner) = inner(op, "fhe.transpose") else { return Fold::None };
    let (Some(first), Ok(source)) = (inner.i64s("permutation"), inner.operand(0)) else { return Fold::None };
    let merged: Vec<i64> = outer.iter().filter_map(|&d| first.get(d as usize).copied()).collect();
    let attribute = DenseI64ArrayAttribute::new(context_of(op), &merged);
    access::set_operand(op, 0, source);
    access::set_attribute(op, "permutation", attribute.into());
    Fold::InPlace
});

// the whole tensor // x
folder!(fhe_slice, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    let whole = op.i64s("offsets").is_some_and(|o| o.iter().all(|&v| v == 0));
    if whole { keep(as_result(op, 0)) } else { Fold::None }
});

// one part // x
folder!(fhe_concat, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    if op.operand_count() == 1 { keep(as_result(op, 0)) } else { Fold::None }
});

// nothing around // x
folder!(fhe_pad, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| keep(as_result(op, 0)));

// relu(relu(x)) // relu(x);  relu(x), x >= 0 // x;  clip to more than the range // x
folder!(fhe_activation, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    let Ok(function) = function_of(op) else { return Fold::None };
    if function == Function::Relu
        && let Some(inner) = inner(op, "fhe.activation")
        && function_of(inner) == Ok(Function::Relu)
    {
        return keep(as_result(op, 0));
    }
    let range = op.f64s("range");
    let identity = match (function, range.as_deref(), op.f64s("parameters").as_deref()) {
        (Function::Relu | Function::LeakyRelu, Some([lower, _]), _) => *lower >= 0.0,
        (Function::Clip, Some([lower, upper]), Some([least, most])) => lower >= least && upper <= most,
        _ => false,
    };
    if identity { keep(as_result(op, 0)) } else { Fold::None }
});

// x to 1 // x
folder!(fhe_pow, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    if op.i64("exponent") == Some(1) { keep(as_result(op, 0)) } else { Fold::None }
});

// the polynomial x // x
folder!(fhe_eval_poly, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    let (Some(coefficients), Some(domain)) = (op.f64s("coefficients"), op.f64s("domain")) else {
        return Fold::None;
    };
    let power = access::in_power_basis(op);
    if coefficients == [0.0, 1.0] && (power || domain == [-1.0, 1.0]) {
        keep(as_result(op, 0))
    } else {
        Fold::None
    }
});

// the same layout // x;  convert(convert(x)) // convert(x)
folder!(fhe_convert_layout, |op: OperationRef<'_, '_>, _: &[Option<Attribute<'_>>]| {
    match as_result(op, 0) {
        Some(value) if shape_of(value.r#type()).is_some() => value.into(),
        _ => skip(op, "fhe.convert_layout"),
    }
});
