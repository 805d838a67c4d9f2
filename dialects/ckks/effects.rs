//! What analyses ask of an op: the interfaces `LevelEffect` (how it moves levels and scales) and `UsesKeys` (which keys it
//! uses), implemented for every op that declares them.
//!
//! Before: ops with their operands. After: the same; nothing here changes an op, and no pass lists op names.

use super::{
    LevelEffect, UsesKeys,
    attributes::{int, ints, symbol},
    bootstrap,
    matrix::Matrix,
    types::{ct, is_ct},
};
use crate::{
    bridge::hooks::interface_method,
    interpret::{self, name_of},
};
use melior::ir::{OperationRef, ValueLike, operation::OperationLike};
use std::collections::BTreeSet;

/// How an op's results relate to its ciphertext operands.
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
    /// Divides by the primes of the levels that it goes down.
    Rescale {
        /// The number of levels.
        by: u32,
    },
    /// The result's type alone says level and scale: only placed programs have it.
    Stated,
    /// A polynomial, which becomes products and sums.
    Polynomial,
    /// Starts at a level of its own and ends at any, with the canonical scale.
    Refresh {
        /// The level to which the operand is brought.
        start: u32,
    },
}

/// The effect of an op on ciphertexts; none for ops that do not implement [`LevelEffect`].
pub fn effect(op: OperationRef<'_, '_>) -> Option<Effect> {
    LevelEffect::of(op).map(LevelEffect::effect)
}

interface_method!(ckks::level_effect::effect, [ckks_add, ckks_sub], |_, _| Effect::Sum);
interface_method!(
    ckks::level_effect::effect,
    [
        ckks_add_plain,
        ckks_sub_plain,
        ckks_add_const,
        ckks_negate,
        ckks_mul_int,
        ckks_mul_i,
        ckks_relinearize,
        ckks_rotate,
        ckks_hoisted_rotate,
        ckks_conjugate,
        ckks_switch_secret,
    ],
    |_, _| Effect::Keep
);
interface_method!(ckks::level_effect::effect, [ckks_mul, ckks_square], |_, _| Effect::Product);
interface_method!(
    ckks::level_effect::effect,
    [ckks_mul_plain, ckks_mul_const, ckks_linear_transform],
    |_, _| Effect::FreeProduct
);
interface_method!(ckks::level_effect::effect, [ckks_rescale], |op, _| {
    let by = int(op, "by").ok().and_then(|by| u32::try_from(by).ok());
    Effect::Rescale { by: by.unwrap_or(1) }
});
interface_method!(
    ckks::level_effect::effect,
    [ckks_level_reduce, ckks_adjust, ckks_set_scale, ckks_mod_raise],
    |_, _| Effect::Stated
);
interface_method!(ckks::level_effect::effect, [ckks_eval_poly], |_, _| Effect::Polynomial);
interface_method!(ckks::level_effect::effect, [ckks_bootstrap], |op, _| Effect::Refresh {
    start: bootstrap::start_level(&bootstrap::variant(op))
});

/// Whether an op moves slots, multiplies or refreshes and so needs operands of two components.
pub fn needs_two_components(op: OperationRef<'_, '_>) -> bool {
    LevelEffect::of(op).is_some_and(LevelEffect::needs_two_components)
}

interface_method!(
    ckks::level_effect::needs_two_components,
    [
        ckks_rotate,
        ckks_hoisted_rotate,
        ckks_conjugate,
        ckks_bootstrap,
        ckks_linear_transform,
        ckks_mul,
        ckks_square,
        ckks_eval_poly,
    ],
    |_, _| true
);
interface_method!(
    ckks::level_effect::needs_two_components,
    [
        ckks_add,
        ckks_sub,
        ckks_add_plain,
        ckks_sub_plain,
        ckks_add_const,
        ckks_negate,
        ckks_mul_plain,
        ckks_mul_const,
        ckks_mul_int,
        ckks_mul_i,
        ckks_relinearize,
        ckks_rescale,
        ckks_level_reduce,
        ckks_adjust,
        ckks_set_scale,
        ckks_mod_raise,
        ckks_switch_secret,
    ],
    |_, _| false
);

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

/// The keys that an op uses, without level; none for ops that do not implement [`UsesKeys`]. Steps are normalised
/// modulo `slots`.
pub fn keys(op: OperationRef<'_, '_>, slots: usize) -> Result<BTreeSet<Key>, String> {
    UsesKeys::of(op).map_or(Ok(BTreeSet::new()), |op| op.keys(&slots))
}

fn rotations(steps: &[i64], slots: usize) -> BTreeSet<Key> {
    let steps = steps.iter().map(|s| s.rem_euclid(slots as i64));
    steps.filter(|s| *s != 0).map(Key::Rotation).collect()
}

interface_method!(ckks::uses_keys::keys, [ckks_relinearize], |op, _| {
    let larger = ct(op.operand(0).map_err(|e| e.to_string())?)?.components() > 2;
    Ok(larger.then_some(Key::Relinearization).into_iter().collect())
});
interface_method!(ckks::uses_keys::keys, [ckks_conjugate], |_, _| Ok(BTreeSet::from([Key::Conjugation])));
interface_method!(ckks::uses_keys::keys, [ckks_switch_secret], |op, _| {
    Ok(BTreeSet::from([if op.has_attribute("sparse") { Key::ToSparse } else { Key::FromSparse }]))
});
interface_method!(ckks::uses_keys::keys, [ckks_rotate], |op, slots| Ok(rotations(
    &[int(op, "step")?],
    *slots
)));
interface_method!(ckks::uses_keys::keys, [ckks_hoisted_rotate], |op, slots| {
    Ok(rotations(&ints(op, "steps")?, *slots))
});
interface_method!(ckks::uses_keys::keys, [ckks_linear_transform], |op, slots| {
    let matrix = matrix_of(op)?.slots;
    let steps: Vec<i64> = matrix.key_steps(matrix.chain).into_iter().collect();
    Ok(rotations(&steps, *slots))
});
// That of the first ciphertext operand.
interface_method!(
    ckks::uses_keys::level,
    [
        ckks_relinearize,
        ckks_conjugate,
        ckks_switch_secret,
        ckks_rotate,
        ckks_hoisted_rotate,
        ckks_linear_transform,
    ],
    |op, _| {
        let operand = op.operands().find(|v| is_ct(v.r#type()))?;
        Some(ct(operand).ok()?.placement()?.level)
    }
);

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
