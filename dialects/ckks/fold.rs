//! Folds: identities and involutions, no new ops.

use super::{
    attributes::{float, int},
    types::ct,
};
use crate::{bridge::hooks::*, interpret, params_of};
use melior::ir::operation::OperationResult;

fn input<'c, 'a>(op: OperationRef<'c, 'a>) -> Option<Value<'c, 'a>> {
    op.operand(0).ok()
}

/// The op that defines a value, if it has this name.
pub(super) fn definition<'c, 'a>(value: Value<'c, 'a>, name: &str) -> Option<OperationRef<'c, 'a>> {
    let op = OperationResult::try_from(value).ok()?.owner();
    (interpret::name_of(op) == name).then_some(op)
}

/// Replaces the result by a value, if that has its type: before relinearisations are placed the size may differ.
fn replace<'c, 'a>(op: OperationRef<'c, 'a>, value: Option<Value<'c, 'a>>) -> Fold<'c, 'a> {
    match (value, op.result(0)) {
        (Some(value), Ok(result)) if value.r#type() == Value::from(result).r#type() => value.into(),
        _ => Fold::None,
    }
}

fn identity_if<'c, 'a>(op: OperationRef<'c, 'a>, identity: bool) -> Fold<'c, 'a> {
    replace(op, input(op).filter(|_| identity))
}

fn involution<'c, 'a>(op: OperationRef<'c, 'a>, name: &str) -> Fold<'c, 'a> {
    replace(op, input(op).and_then(|v| definition(v, name)).and_then(input))
}

// x + 0 -> x
folder!(ckks_add_const, |op, _| identity_if(op, float(op, "value") == Ok(0.0)));

// 1 x -> x
folder!(ckks_mul_int, |op, _| identity_if(op, int(op, "value") == Ok(1)));

// -(-x) -> x
folder!(ckks_negate, |op, _| involution(op, "ckks.negate"));

// conj(conj(x)) -> x
folder!(ckks_conjugate, |op, _| involution(op, "ckks.conjugate"));

// set_scale(x) to x's own scale -> x
folder!(ckks_set_scale, |op, _| replace(op, input(op)));

// relinearize(x) -> x if x has two components
folder!(ckks_relinearize, |op, _| identity_if(
    op,
    input(op).and_then(|v| ct(v).ok()).is_some_and(|t| t.components() == 2)
));

// level_reduce(x, 0) -> x
folder!(ckks_level_reduce, |op, _| identity_if(op, int(op, "by") == Ok(0)));

// rotate(x, 0) -> x, also modulo the number of slots
folder!(ckks_rotate, |op, _| {
    let step = int(op, "step").unwrap_or(1);
    identity_if(op, step == 0 || params_of(op).is_some_and(|p| step % p.slots() as i64 == 0))
});
