//! What the verifier of each `poly` op checks beyond its traits.
//!
//! Local facts only: the op, its types and, once it is inside a module, that module's parameters and the
//! table it names.
//!
//! * `rns`: the basis has a limb; a period is a power of two and goes with evaluation form.
//! * `mac`: factors in the accumulator's basis, evaluation form.
//! * `mul_const`, `add_const`: one constant a limb, each a residue; `add_const` in evaluation form.
//! * basis changes: the bases nest as the op says, the form stays; `decompose` yields the parameters' digits.
//! * `table`: the type fits the kind, the values fit the source.
//! * `at`: the table exists and its type is the result's.

use super::infer::{common_type, rns_of, rns_tensor};
use super::{Form, RnsType, TableKind, ops};
use crate::bridge::hooks::*;
use crate::{params_of, verifier};
use ceria_runtime::format::basis::Basis;
use ceria_runtime::format::scale::Scale;
use ceria_runtime::format::text::TextParam;

/// Parameters of `!poly.rns`.
pub fn verify_rns_type(basis: &Basis, form: u32, period: u32) -> Result<(), String> {
    if basis.is_empty() {
        return Err("a polynomial needs a limb".into());
    }
    if period != 0 && (!period.is_power_of_two() || form != Form::Eval as u32) {
        return Err(format!("period {period} is not a power of two of an `eval` polynomial"));
    }
    Ok(())
}

fn in_and_out<'c>(op: OperationRef<'c, '_>) -> Result<(RnsType<'c>, RnsType<'c>), String> {
    let input = op.operand(0).map_err(|e| e.to_string())?;
    let output: Value = op.result(0).map_err(|e| e.to_string())?.into();
    Ok((rns_of(input)?, rns_of(output)?))
}

fn same_form(a: RnsType<'_>, b: RnsType<'_>) -> HookResult {
    if a.form() != b.form() || a.period() != b.period() {
        return Err("must keep the form".into());
    }
    Ok(())
}

/// The second basis must lie in the first.
fn nested(outer: &Basis, inner: &Basis) -> HookResult {
    if !inner.is_subset(outer) {
        return Err(format!("{} is not in {outer}", inner.difference(outer)));
    }
    Ok(())
}

fn known_primes(op: OperationRef<'_, '_>, basis: &Basis) -> HookResult {
    let Some(params) = params_of(op) else { return Ok(()) };
    let (q, p) = basis.bounds();
    if q as usize > params.q.len() || p as usize > params.p.len() {
        return Err(format!("{basis} has primes that the parameters lack"));
    }
    Ok(())
}

fn verify_mac(op: OperationRef<'_, '_>) -> HookResult {
    let operand = |i| op.operand(i).map_err(|e| e.to_string()).and_then(rns_of);
    let sum = operand(0)?;
    let product = common_type(operand(1)?, operand(2)?)?;
    if product.form() != Form::Eval {
        return Err("products need evaluation form".into());
    }
    if common_type(sum, product)? != sum {
        return Err("the accumulator is sparser than the product".into());
    }
    Ok(())
}

fn verify_constants(op: OperationRef<'_, '_>) -> HookResult {
    let (ty, _) = in_and_out(op)?;
    let constants = ops::i64_array(op, "constants")?;
    let basis = ty.basis();
    if constants.len() != basis.len() {
        return Err(format!("has {} constants for {} limbs", constants.len(), basis.len()));
    }
    known_primes(op, &basis)?;
    let params = params_of(op);
    for (prime, constant) in basis.iter().zip(constants) {
        let bound = params.as_ref().map_or(i64::from(u32::MAX), |params| i64::from(params.prime(prime)));
        if constant < 0 || constant >= bound {
            return Err(format!("{constant} is not a residue modulo {prime}"));
        }
    }
    Ok(())
}

fn verify_add_const(op: OperationRef<'_, '_>) -> HookResult {
    let (ty, _) = in_and_out(op)?;
    if ty.form() != Form::Eval {
        return Err("expects eval form".into());
    }
    verify_constants(op)
}

/// The result has fewer limbs than the operand.
fn verify_smaller(op: OperationRef<'_, '_>) -> HookResult {
    let (from, to) = in_and_out(op)?;
    same_form(from, to)?;
    known_primes(op, &from.basis())?;
    nested(&from.basis(), &to.basis())
}

/// The result has more limbs than the operand.
fn verify_larger(op: OperationRef<'_, '_>) -> HookResult {
    let (from, to) = in_and_out(op)?;
    same_form(from, to)?;
    known_primes(op, &to.basis())?;
    nested(&to.basis(), &from.basis())
}

fn verify_rescale(op: OperationRef<'_, '_>) -> HookResult {
    let (from, to) = in_and_out(op)?;
    same_form(from, to)?;
    known_primes(op, &from.basis().union(&to.basis()))?;
    if from.basis().is_subset(&to.basis()) {
        return Err("drops no prime".into());
    }
    Ok(())
}

fn verify_bconv(op: OperationRef<'_, '_>) -> HookResult {
    let (from, to) = in_and_out(op)?;
    if from.form() != Form::Coeff || to.form() != Form::Coeff {
        return Err("expects coeff form".into());
    }
    known_primes(op, &from.basis().union(&to.basis()))?;
    let common = from.basis().intersect(&to.basis());
    if !common.is_empty() {
        return Err(format!("{common} is in both bases"));
    }
    Ok(())
}

fn verify_decompose(op: OperationRef<'_, '_>) -> HookResult {
    let input = rns_of(op.operand(0).map_err(|e| e.to_string())?)?;
    let mut covered = Basis::empty();
    let mut digits = Vec::new();
    for result in op.results() {
        let digit = rns_of(result.into())?;
        same_form(input, digit)?;
        if !digit.basis().is_disjoint(&covered) {
            return Err("has overlapping digits".into());
        }
        covered = covered.union(&digit.basis());
        digits.push(digit.basis());
    }
    if covered != input.basis() {
        return Err(format!("has digits that cover {covered}, not {}", input.basis()));
    }
    known_primes(op, &covered)?;
    match params_of(op) {
        Some(params) if params.digits(&covered) != digits => {
            Err("has digits that are not the parameters'".into())
        }
        _ => Ok(()),
    }
}

fn verify_table(op: OperationRef<'_, '_>) -> HookResult {
    let table = ops::Table::read(op)?;
    let count = table.values.len();
    let odd = || match table.values.iter().find(|&&g| g % 2 == 0 || g < 1) {
        Some(g) => Err(format!("{g} is not an odd positive Galois element")),
        None => Ok(()),
    };
    let key = || {
        let (shape, element) = rns_tensor(table.entry)?;
        if shape.len() != 2 || shape[1] != 2 || element.form() != Form::Eval || element.period() != 0 {
            return Err("has keys that are not digits x 2 polynomials in eval form".to_string());
        }
        known_primes(op, &element.basis())
    };
    let index = || if table.entry.is_index() { Ok(()) } else { Err("has entries of type index".to_string()) };
    let plain = matches!(table.kind, TableKind::Plaintext | TableKind::Diagonals);
    if !plain && (table.source.is_some() || table.scale.is_some()) {
        return Err("has a source or scale, which only plaintexts have".into());
    }
    match table.kind {
        TableKind::Index => index(),
        TableKind::Galois => index().and_then(|()| odd()),
        TableKind::GaloisKey => key().and_then(|()| odd()),
        TableKind::RelinKey | TableKind::SparseKey | TableKind::DenseKey if count != 0 => {
            Err("is one key and has no values".into())
        }
        TableKind::RelinKey | TableKind::SparseKey | TableKind::DenseKey => key(),
        TableKind::Monomial => {
            let element = RnsType::try_from(table.entry).map_err(|_| "has entries that are polynomials")?;
            if element.form() != Form::Eval {
                return Err("has monomials in eval form".into());
            }
            known_primes(op, &element.basis())?;
            let Some(params) = params_of(op) else { return Ok(()) };
            let n = params.n() as i64;
            let period = if element.period() == 0 { n } else { i64::from(element.period()) };
            match table.values.iter().find(|&&k| k < 0 || k >= 2 * n || k * period % n != 0) {
                Some(k) => Err(format!("has the monomial X^{k}, which is not one of period {period}")),
                None => Ok(()),
            }
        }
        TableKind::Diagonals if count % 4 != 0 => Err("needs four values an entry".into()),
        TableKind::Plaintext | TableKind::Diagonals => {
            let element = RnsType::try_from(table.entry).map_err(|_| "has entries that are polynomials")?;
            if element.form() != Form::Eval {
                return Err("has plaintexts in eval form".into());
            }
            let (Some(_), Some(scale)) = (table.source, &table.scale) else {
                return Err("needs the source and the scale of its plaintexts".into());
            };
            Scale::parse(scale).map_err(|error| format!("has a wrong scale: {error}"))?;
            known_primes(op, &element.basis())
        }
    }
}

fn verify_at(op: OperationRef<'_, '_>) -> HookResult {
    let name = ops::symbol(op, "table")?;
    let result = op.result(0).map_err(|e| e.to_string())?.r#type();
    let Some(table) = ops::find_symbol(op, &name)? else { return Ok(()) };
    let table = ops::Table::read(table)?;
    if table.entry == result {
        return Ok(());
    }
    let key = matches!(
        table.kind,
        TableKind::GaloisKey | TableKind::RelinKey | TableKind::SparseKey | TableKind::DenseKey
    );
    let fits = key
        && match (rns_tensor(table.entry), rns_tensor(result)) {
            (Ok((whole, held)), Ok((part, read))) => {
                part.len() == 2
                    && part[0] <= whole[0]
                    && part[1] == whole[1]
                    && read.form() == Form::Eval
                    && read.basis().is_subset(&held.basis())
            }
            _ => false,
        };
    if fits { Ok(()) } else { Err(format!("gives {result}, but @{name} holds {}", table.entry)) }
}

verifier!(poly_mac, verify_mac);
verifier!(poly_mul_const, verify_constants);
verifier!(poly_add_const, verify_add_const);
verifier!(poly_extract_limbs, verify_smaller);
verifier!(poly_mod_down, verify_smaller);
verifier!(poly_scale_up, verify_larger);
verifier!(poly_mod_up, verify_larger);
verifier!(poly_rescale, verify_rescale);
verifier!(poly_bconv, verify_bconv);
verifier!(poly_decompose, verify_decompose);
verifier!(poly_table, verify_table);
verifier!(poly_at, verify_at);
