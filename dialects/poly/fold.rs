//! Folds and canonical forms of the `poly` ops: algebraic identities that are always better, one line each.
//!
//! Folds return values that exist; patterns make ops. Neither changes the residues of any result.

use super::ops::{self, constant_index, defining_op, name_of};
use super::ring::mul_mod;
use crate::bridge::hooks::*;
use crate::{canonicalizer, folder, params_of};
use melior::ir::attribute::DenseI64ArrayAttribute;

fn operand<'c, 'a>(op: OperationRef<'c, 'a>, index: usize) -> Option<Value<'c, 'a>> {
    op.operand(index).ok()
}

/// The operand of the op that defines a value, when that op has the given name.
fn through<'c: 'a, 'a>(value: Value<'c, 'a>, name: &str) -> Option<Value<'c, 'a>> {
    let op = defining_op(value)?;
    if name_of(op) == name { op.operand(0).ok() } else { None }
}

fn is_zero(value: Value<'_, '_>) -> bool {
    defining_op(value).is_some_and(|op| name_of(op) == "poly.zero")
}

/// Folds to a value if it has the result's type.
fn to<'c, 'a>(op: OperationRef<'c, 'a>, value: Option<Value<'c, 'a>>) -> Fold<'c, 'a> {
    match (value, op.result(0)) {
        (Some(value), Ok(result)) if value.r#type() == result.r#type() => value.into(),
        _ => Fold::None,
    }
}

fn fold_add<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    match (operand(op, 0), operand(op, 1)) {
        // x + 0 => x
        (x, Some(zero)) if is_zero(zero) => to(op, x),
        // 0 + x => x
        (Some(zero), x) if is_zero(zero) => to(op, x),
        _ => Fold::None,
    }
}

fn fold_sub<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    match (operand(op, 0), operand(op, 1)) {
        // x - 0 => x
        (x, Some(zero)) if is_zero(zero) => to(op, x),
        _ => Fold::None,
    }
}

fn fold_mul<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    match (operand(op, 0), operand(op, 1)) {
        // x * 0 => 0
        (_, Some(zero)) if is_zero(zero) => to(op, Some(zero)),
        // 0 * x => 0
        (Some(zero), _) if is_zero(zero) => to(op, Some(zero)),
        _ => Fold::None,
    }
}

// -(-x) => x
fn fold_neg<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    to(op, operand(op, 0).and_then(|x| through(x, "poly.neg")))
}

// x * 1 => x
fn fold_mul_const<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    match ops::i64_array(op, "constants") {
        Ok(constants) if constants.iter().all(|&c| c == 1) => to(op, operand(op, 0)),
        _ => Fold::None,
    }
}

// x + 0 => x
fn fold_add_const<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    match ops::i64_array(op, "constants") {
        Ok(constants) if constants.iter().all(|&c| c == 0) => to(op, operand(op, 0)),
        _ => Fold::None,
    }
}

// ntt(intt(x)) => x
fn fold_ntt<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    to(op, operand(op, 0).and_then(|x| through(x, "poly.intt")))
}

// intt(ntt(x)) => x
fn fold_intt<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    to(op, operand(op, 0).and_then(|x| through(x, "poly.ntt")))
}

// X -> X^1 is the identity
fn fold_automorphism<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    match operand(op, 1).and_then(constant_index) {
        Some(1) => to(op, operand(op, 0)),
        _ => Fold::None,
    }
}

// all limbs of x => x
fn fold_extract<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    to(op, operand(op, 0))
}

// the limbs of one polynomial => that polynomial
fn fold_concat<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    if op.operand_count() == 1 { to(op, operand(op, 0)) } else { Fold::None }
}

fn fold_mod_down<'c, 'a>(op: OperationRef<'c, 'a>, _: &[Option<Attribute<'c>>]) -> Fold<'c, 'a> {
    let Some(x) = operand(op, 0) else { return Fold::None };
    // x / 1 => x
    let Fold::None = to(op, Some(x)) else { return to(op, Some(x)) };
    // (x * P) / P => x
    to(op, through(x, "poly.scale_up"))
}

/// extract(extract(x)) => extract(x)
fn compose_extract(op: OperationRef<'_, '_>, rewriter: &Rewriter<'_, '_>) -> bool {
    let Some(inner) = operand(op, 0).and_then(|x| through(x, "poly.extract_limbs")) else { return false };
    replace(op, rewriter, inner, &[])
}

/// (x * a) * b => x * (a b)
fn compose_mul_const(op: OperationRef<'_, '_>, rewriter: &Rewriter<'_, '_>) -> bool {
    let Some(product) = operand(op, 0).and_then(defining_op) else { return false };
    if name_of(product) != "poly.mul_const" {
        return false;
    }
    let (Some(params), Some(x)) = (params_of(op), operand(product, 0)) else { return false };
    let (Ok(a), Ok(b)) = (ops::i64_array(product, "constants"), ops::i64_array(op, "constants")) else {
        return false;
    };
    let Ok(ty) = super::infer::rns_of(x) else { return false };
    let composed: Vec<i64> = ty
        .basis()
        .iter()
        .zip(a.iter().zip(&b))
        .map(|(prime, (&a, &b))| mul_mod(a as u64, b as u64, u64::from(params.prime(prime))) as i64)
        .collect();
    replace(op, rewriter, x, &composed)
}

/// Replaces an op by one of the same name on another operand, with new constants if there are any.
fn replace(
    op: OperationRef<'_, '_>,
    rewriter: &Rewriter<'_, '_>,
    x: Value<'_, '_>,
    constants: &[i64],
) -> bool {
    // The pattern's closure is generic in both lifetimes; all of these values live in the op's context.
    let op: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(op.to_raw()) };
    let x: Value<'_, '_> = unsafe { Value::from_raw(x.to_raw()) };
    let Ok(result) = op.result(0) else { return false };
    let context = context_of(op);
    // The builder keeps a reference to the name.
    let name = name_of(op);
    let mut builder =
        OperationBuilder::new(&name, op.location()).add_operands(&[x]).add_results(&[result.r#type()]);
    if !constants.is_empty() {
        let attribute = DenseI64ArrayAttribute::new(context, constants);
        builder = builder.add_attributes(&[(Identifier::new(context, "constants"), attribute.into())]);
    }
    let Ok(new) = builder.build() else { return false };
    let new = rewriter.insert(new);
    rewriter.replace_op_with_operation(op, new);
    true
}

folder!(poly_add, fold_add);
folder!(poly_sub, fold_sub);
folder!(poly_mul, fold_mul);
folder!(poly_neg, fold_neg);
folder!(poly_mul_const, fold_mul_const);
folder!(poly_add_const, fold_add_const);
folder!(poly_ntt, fold_ntt);
folder!(poly_intt, fold_intt);
folder!(poly_automorphism, fold_automorphism);
folder!(poly_extract_limbs, fold_extract);
folder!(poly_concat_limbs, fold_concat);
folder!(poly_mod_down, fold_mod_down);

canonicalizer!(poly_extract_limbs, |set: &mut PatternSet<'_>| {
    set.add("poly.extract_limbs", 1, compose_extract)
});
canonicalizer!(poly_mul_const, |set: &mut PatternSet<'_>| set.add("poly.mul_const", 1, compose_mul_const));
