//! What ops cost, as tallies: on programs with and without levels, and on bootstraps that are written out.
//!
//! Keys, levels and components say it all but for matrices, which name their steps, and for raising the modulus, whose
//! transforms are no key switch's.

use ceria_dialects::ckks::{
    effects::{Effect, effect, keys, matrix_of},
    types::{ct, is_ct},
};
use ceria_runtime::format::{
    cost::{KEY_SWITCH, Tally},
    params::Params,
};
use melior::ir::{OperationRef, Value, ValueLike, operation::OperationLike};

use super::ir::{definition, name_of, results, uses};

/// The tally of an op on ciphertexts of `slots` slots. Prices are those of the level of its operands ([`level`]).
pub fn tally(op: OperationRef<'_, '_>, slots: usize) -> Tally {
    let components = || op.operands().filter_map(|value| Some(f64::from(ct(value).ok()?.components())));
    let first = components().next().unwrap_or(2.0);
    if is_transform(op) {
        return matrix_of(op).map_or(Tally::NONE, |matrix| Tally::of_matrix(&matrix.slots, slots));
    }
    match switches(op) {
        0 => {}
        1 => return KEY_SWITCH,
        rotations => return Tally::hoisted(rotations),
    }
    match effect(op) {
        Some(Effect::Product) => {
            let all: Vec<f64> = components().collect();
            let products = if let [x, y] = all[..] { x * y } else { first * (first + 1.0) / 2.0 };
            Tally { products, ..Tally::NONE }
        }
        Some(Effect::Rescale { by }) if merges(op) => Tally { merged: first * f64::from(by), ..Tally::NONE },
        Some(Effect::Rescale { by }) => Tally { rescaled: first * f64::from(by), ..Tally::NONE },
        Some(Effect::Stated) => match name_of(op).as_str() {
            "ckks.mod_raise" => RAISE,
            "ckks.adjust" => Tally { products: first, rescaled: first, ..Tally::NONE },
            _ => Tally::NONE,
        },
        // Products with numbers; an addition moves as much memory.
        Some(_) => Tally { products: first, ..Tally::NONE },
        None => Tally::NONE,
    }
}

/// Raising the modulus: that of level 0 has two primes, and each polynomial is read and transformed for each.
pub const RAISE: Tally = Tally { transformed: 4.0, ..Tally::NONE };

fn is_transform(op: OperationRef<'_, '_>) -> bool {
    name_of(op) == "ckks.linear_transform"
}

/// How often an op switches keys. Steps are counted, not normalised: any large power of two of slots does.
fn switches(op: OperationRef<'_, '_>) -> usize {
    keys(op, 1 << 17).map_or(0, |keys| keys.len())
}

/// Whether a value is used once and the result of a division by the special primes.
fn ends(value: Value<'_, '_>) -> bool {
    let divides = |op: OperationRef<'_, '_>| is_transform(op) || switches(op) > 0;
    definition(value).is_some_and(divides) && uses(value).len() == 1
}

/// Whether a rescale is done in one with the division that ends a key switch.
fn merges(rescale: OperationRef<'_, '_>) -> bool {
    let Ok(operand) = rescale.operand(0) else { return false };
    // Through a sum, the other term of which is multiplied by the special primes.
    let sum = |op: OperationRef<'_, '_>| {
        effect(op) == Some(Effect::Sum) && op.operands().any(ends) && uses(operand).len() == 1
    };
    ends(operand) || definition(operand).is_some_and(sum)
}

/// The level whose prices a placed op has.
pub fn level(op: OperationRef<'_, '_>) -> Option<u32> {
    let first = op.operands().chain(results(op)).filter(|value| is_ct(value.r#type()));
    let levels = first.filter_map(|value| Some(ct(value).ok()?.placement()?.level));
    // Only what raises the modulus makes more of it than there was.
    match effect(op) {
        Some(Effect::Stated) => levels.max(),
        _ => levels.into_iter().next(),
    }
}

/// The cost of placed ops, in modular multiplications; each counts once.
pub fn cost<'c: 'a, 'a>(ops: impl IntoIterator<Item = OperationRef<'c, 'a>>, params: &Params) -> f64 {
    let prices = params.price_table();
    let price = |op: OperationRef<'c, 'a>| {
        let prices = level(op).and_then(|level| prices.get(level as usize));
        prices.map_or(0.0, |prices| tally(op, params.slots()).at(prices))
    };
    ops.into_iter().map(price).sum()
}
