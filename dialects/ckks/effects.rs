//! What analyses ask of an op: how it moves levels and scales, which keys it uses.
//!
//! One table for the dialect, so that a pass asks [`effect`] and never lists op names itself.

use super::{
    attributes::{int, ints, symbol},
    matrix::Matrix,
    types::{ct, is_ct},
};
use crate::interpret::{self, name_of};
use melior::ir::{OperationRef, ValueLike, operation::OperationLike};
use std::collections::BTreeSet;

/// How an op's result relates to its ciphertext operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A sum: operands and result share level and scale.
    Sum,
    /// Level and scale of its one ciphertext operand stay; slots, components or constants change.
    Keep,
    /// A product of ciphertexts: scales multiply.
    Product,
    /// A product with constants whose scale is free until it is placed.
    FreeProduct,
    /// Divides by the primes between two levels.
    Rescale,
    /// Lowers the level, not the scale.
    LevelReduce,
    /// Sets any lower level and any scale.
    Adjust,
    /// A polynomial, which becomes products and sums.
    Polynomial,
    /// Starts at a level of its own and ends at any, with the canonical scale.
    Refresh,
}

/// The effect of an op of this dialect on ciphertexts; none for other ops.
pub fn effect(op: OperationRef<'_, '_>) -> Option<Effect> {
    Some(match name_of(op).strip_prefix("ckks.")? {
        "add" | "sub" => Effect::Sum,
        "add_plain" | "sub_plain" | "add_const" | "negate" | "mul_int" | "mul_i" | "relinearize"
        | "rotate" | "hoisted_rotate" | "conjugate" | "switch_secret" => Effect::Keep,
        "mul" | "square" => Effect::Product,
        "mul_plain" | "mul_const" | "linear_transform" => Effect::FreeProduct,
        "rescale" => Effect::Rescale,
        "level_reduce" => Effect::LevelReduce,
        "adjust" => Effect::Adjust,
        "eval_poly" => Effect::Polynomial,
        "bootstrap" => Effect::Refresh,
        _ => return None,
    })
}

/// Whether an op moves slots or switches keys and so needs operands of two components; `relinearize` is what
/// makes them.
pub fn needs_two_components(op: OperationRef<'_, '_>) -> bool {
    matches!(
        name_of(op).as_str(),
        "ckks.rotate"
            | "ckks.hoisted_rotate"
            | "ckks.conjugate"
            | "ckks.bootstrap"
            | "ckks.linear_transform"
            | "ckks.mul"
            | "ckks.square"
            | "ckks.eval_poly"
    )
}

/// A key-switching key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// From the square of the secret.
    Relinearization,
    /// From the conjugate of the secret.
    Conjugation,
    /// From the secret rotated by this step, 0 < step < slots.
    Rotation(i64),
    /// From the secret to the sparse one of bootstrapping.
    ToSparse,
    /// From the sparse secret of bootstrapping to the secret.
    FromSparse,
}

/// The keys that an op uses, without level. Steps are normalised modulo `slots`.
pub fn keys(op: OperationRef<'_, '_>, slots: usize) -> Result<BTreeSet<Key>, String> {
    let rotations = |steps: &[i64]| -> BTreeSet<Key> {
        let steps = steps.iter().map(|s| s.rem_euclid(slots as i64));
        steps.filter(|s| *s != 0).map(Key::Rotation).collect()
    };
    Ok(match name_of(op).as_str() {
        "ckks.relinearize" => {
            let operand = op.operand(0).map_err(|e| e.to_string())?;
            if ct(operand)?.components() > 2 {
                BTreeSet::from([Key::Relinearization])
            } else {
                BTreeSet::new()
            }
        }
        "ckks.conjugate" => BTreeSet::from([Key::Conjugation]),
        "ckks.switch_secret" if op.has_attribute("sparse") => BTreeSet::from([Key::ToSparse]),
        "ckks.switch_secret" => BTreeSet::from([Key::FromSparse]),
        "ckks.rotate" => rotations(&[int(op, "step")?]),
        "ckks.hoisted_rotate" => rotations(&ints(op, "steps")?),
        "ckks.linear_transform" => {
            let steps: Vec<i64> = matrix_of(op)?.slots.steps().distinct().into_iter().collect();
            rotations(&steps)
        }
        _ => BTreeSet::new(),
    })
}

/// The level at which an op switches keys: that of its first ciphertext operand, when it is placed.
pub fn key_level(op: OperationRef<'_, '_>) -> Option<u32> {
    let operand = op.operands().find(|v| is_ct(v.r#type()))?;
    Some(ct(operand).ok()?.placement()?.level)
}

/// The matrix of a `linear_transform`.
pub fn matrix_of(op: OperationRef<'_, '_>) -> Result<Matrix, String> {
    let name = symbol(op, "matrix")?;
    Matrix::read(module_symbol(op, &name)?)
}

/// The op that defines a module-level symbol.
pub fn module_symbol<'c, 'a>(op: OperationRef<'c, 'a>, name: &str) -> Result<OperationRef<'c, 'a>, String> {
    // The nearest module: while a file is parsed, its module is nested in another one.
    let mut at = op;
    while interpret::name_of(at) != "builtin.module" {
        match at.parent_operation() {
            Some(parent) => at = parent,
            None => break,
        }
    }
    interpret::symbol(at, name).ok_or_else(|| format!("refers to @{name}, which the module does not define"))
}

/// The largest slot count that an op's matrix or steps assume, for ops that say one.
pub fn slots_of(op: OperationRef<'_, '_>) -> Option<usize> {
    if name_of(op) != "ckks.matrix" {
        return None;
    }
    usize::try_from(int(op, "slots").ok()?).ok()
}
