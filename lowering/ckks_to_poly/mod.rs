//! `ckks-to-poly`: ciphertexts become their polynomials, key switching becomes explicit.
//!
//! Before: placed ciphertexts (levels and scales in the types), parameters on the module, `eval_poly` and
//! `adjust` expanded. After: no `ckks` op but the symbols `ckks.matrix` and `ckks.vector`, which the tables of
//! plaintexts refer to; a ciphertext of size k is k values of `!poly.rns`, everywhere, also in signatures.

mod arithmetic;
mod emit;
mod keyswitch;
mod linear;
mod raise;
mod tables;
#[cfg(test)]
mod tests;

use ceria_dialects::bridge::conversion::{Conversion, Converted};
use ceria_dialects::bridge::hooks::context_of;
use ceria_dialects::bridge::pass::{OptionValues, PassDescriptor, PassError};
use ceria_dialects::ckks::CtType;
use ceria_dialects::ckks::PtType;
use ceria_dialects::poly::{Form, RnsType};
use ceria_dialects::{PARAMS, params_of};
use ceria_passes::ckks::annotate_keys;
use ceria_runtime::format::params::Params;
use melior::Context;
use melior::ir::RegionLike;
use melior::ir::attribute::StringAttribute;
use melior::ir::block::BlockLike;
use melior::ir::operation::OperationLike;
use melior::ir::{OperationRef, Type};
use std::collections::BTreeSet;
use tables::Tables;

/// The passes of this folder.
pub const PASSES: &[&PassDescriptor] = &[&PASS];

/// The pass `ckks-to-poly`.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-to-poly",
    summary: "Lower ciphertexts to their polynomials",
    description: r#"
A ciphertext becomes its polynomials, a plaintext one polynomial. Products that need a key become
`decompose`, `mod_up`, `inner_product` and `mod_down`; keys and plaintexts become tables. A linear transform
becomes loops over its baby and giant steps. The module needs `ckks.params`, and ciphertexts need levels.

```mlir
func.func @f(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<1, S(1)> {
  %y = ckks.add %x, %x : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  return %y : !ckks.ct<1, S(1)>
}
```
becomes
```mlir
func.func @f(%x0: !poly.rns<q[0:3], eval>, %x1: !poly.rns<q[0:3], eval>)
    -> (!poly.rns<q[0:3], eval>, !poly.rns<q[0:3], eval>) {
  %y0 = poly.add %x0, %x0 : !poly.rns<q[0:3], eval>, !poly.rns<q[0:3], eval>
  %y1 = poly.add %x1, %x1 : !poly.rns<q[0:3], eval>, !poly.rns<q[0:3], eval>
  return %y0, %y1 : !poly.rns<q[0:3], eval>, !poly.rns<q[0:3], eval>
}
```
"#,
    dependent_dialects: &["poly", "scf", "arith", "tensor"],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

/// The number of polynomials of a value and the level they are at.
fn convert_type<'c>(context: &'c Context, params: &Params, ty: Type<'c>) -> Converted<'c> {
    let (level, count) = match (CtType::try_from(ty), PtType::try_from(ty)) {
        (Ok(ct), _) => (ct.level(), ct.size()),
        (_, Ok(pt)) => (pt.level(), 1),
        _ => return Converted::NotMine,
    };
    let basis = u32::try_from(level).ok().and_then(|level| params.get_level(level));
    let Some(basis) = basis else { return Converted::Fail };
    match RnsType::new(context, basis, Form::Eval, 0) {
        Ok(rns) => Converted::To(vec![rns.into(); count as usize]),
        Err(_) => Converted::Fail,
    }
}

/// Lowers a module.
pub fn run(module: OperationRef<'_, '_>, _: &OptionValues) -> Result<(), PassError> {
    // SAFETY: the module outlives the pass.
    let module: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(module.to_raw()) };
    let context = context_of(module);
    let params =
        params_of(module).ok_or_else(|| PassError::op(&module, format!("has no attribute `{PARAMS}`")))?;
    let keys = annotate_keys::key_set(module, &params)?;
    let tables = Tables::new(context, &params, symbols(module), &keys);
    let body = module.region(0)?.first_block().ok_or_else(|| PassError::op(&module, "is empty"))?;

    let mut conversion = Conversion::new(module.context());
    conversion.convert_types(|ty| convert_type(context, &params, ty));
    conversion.illegal_dialects(&["ckks"]).legal_dialects(&["poly", "arith", "tensor"]);
    conversion.legal_ops(&["ckks.matrix", "ckks.vector"]);
    conversion.functions().scf();
    arithmetic::patterns(&mut conversion, &tables);
    conversion.apply_partial(module)?;

    let mut previous = None;
    for table in tables.build(module.location())? {
        previous = Some(match previous {
            None => body.insert_operation(0, table),
            Some(previous) => body.insert_operation_after(previous, table),
        });
    }
    Ok(())
}

/// The names of the module's symbols.
fn symbols(module: OperationRef<'_, '_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut next = module.region(0).ok().and_then(|r| r.first_block()).and_then(|b| b.first_operation());
    while let Some(op) = next {
        if let Ok(name) = op.attribute("sym_name")
            && let Ok(name) = StringAttribute::try_from(name)
        {
            names.insert(name.value().to_string());
        }
        next = op.next_in_block();
    }
    names
}
