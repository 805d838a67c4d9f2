//! Raising the modulus: the exact reading of residues as integers, and the two key switches around it.

use super::emit::{Built, Emit};
use super::keyswitch::Pair;
use super::tables::Tables;
use ceria_runtime::format::basis::{Basis, Prime};
use melior::ir::Value;

/// A polynomial over a few primes, read as integers in (-Q/2, Q/2), over a larger basis.
///
/// A base conversion of several primes is right up to a multiple of Q. Here that multiple would add to what the modular
/// reduction has to remove, so one prime is converted at a time: with `a = x mod t` centred, `x = a + t ((x - a) / t)`.
pub fn exact_raise<'c, 'a>(
    emit: Emit<'c, 'a, '_>,
    tables: &Tables<'c>,
    (x, from): (Value<'c, 'a>, &Basis),
    to: &Basis,
) -> Built<Value<'c, 'a>> {
    let Some(last) = from.iter().last().filter(|_| from.len() > 1) else {
        return emit.rebase("poly.mod_up", x, to);
    };
    let single = Basis::from_primes([last]);
    let low = emit.rebase("poly.extract_limbs", x, &single)?;
    let low = emit.rebase("poly.mod_up", low, to)?;
    let rest = from.difference(&single);
    let high = emit.rebase("poly.mod_down", x, &rest)?;
    let high = exact_raise(emit, tables, (high, &rest), to)?;
    let params = tables.params();
    let factor = params.prime(last);
    let residue = |prime: Prime| i64::from(factor % params.prime(prime));
    let constants: Vec<i64> = to.iter().map(residue).collect();
    emit.add(low, emit.constants("poly.mul_const", high, &constants)?)
}

/// A ciphertext under another secret: `key` is the table of one key over `key_basis`.
pub fn switch<'c, 'a>(
    emit: Emit<'c, 'a, '_>,
    tables: &Tables<'c>,
    (pair, basis): (Pair<'c, 'a>, &Basis),
    (key, key_basis): (&str, &Basis),
) -> Built<Pair<'c, 'a>> {
    let digits = emit.decompose(pair[1], &tables.params().digits(basis))?;
    let raised = digits
        .into_iter()
        .map(|digit| emit.rebase("poly.mod_up", digit, key_basis))
        .collect::<Built<Vec<_>>>()?;
    let digits = emit.tensor(&raised, key_basis)?;
    let key = emit.at(key, emit.index(0)?, tables.key_type_over(key_basis)?)?;
    let [u0, u1] = emit.inner_product(digits, key)?;
    let first = emit.add(u0, emit.rebase("poly.scale_up", pair[0], key_basis)?)?;
    Ok([emit.rebase("poly.mod_down", first, basis)?, emit.rebase("poly.mod_down", u1, basis)?])
}
