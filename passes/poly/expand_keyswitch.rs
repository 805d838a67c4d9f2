//! `poly-expand-keyswitch`: key switching as transforms and base conversions.
//!
//! Before: any `poly` ops. After: no `decompose`, `mod_up`, `mod_down` or `rescale`; the residues are the same.

use super::rewrite::{Rewritten, Site};
use ceria_dialects::bridge::pass::{OptionValues, PassDescriptor, PassError};
use ceria_dialects::bridge::rewrite::{RewriteOptions, rewrite_greedily};
use ceria_dialects::poly::infer;
use ceria_dialects::poly::ring::{Ring, inv_mod};
use ceria_dialects::{PARAMS, params_of};
use melior::ir::operation::OperationLike;
use melior::ir::{OperationRef, Value};
use std::sync::Arc;

/// The pass `poly-expand-keyswitch`.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "poly-expand-keyswitch",
    summary: "Expand decompose, mod_up, mod_down and rescale",
    description: r#"
`decompose` becomes `extract_limbs`, `mod_up` an inverse NTT, a base conversion, an NTT and `concat_limbs`,
`mod_down` the same with a difference and a product with the inverse of what is dropped, `rescale` a `scale_up`
where primes are restored and a `mod_down`. The factors of a base conversion are a `mul_const` of their own,
which kernels fold into the inverse NTT.

```mlir
%b = poly.mod_down %a : !poly.rns<q[0:2]+p[0:1], eval> -> !poly.rns<q[0:2], eval>
```
becomes
```mlir
%0 = poly.extract_limbs %a : !poly.rns<q[0:2]+p[0:1], eval> -> !poly.rns<q[0:2], eval>
%1 = poly.extract_limbs %a : !poly.rns<q[0:2]+p[0:1], eval> -> !poly.rns<p[0:1], eval>
%2 = poly.intt %1 : !poly.rns<p[0:1], eval>
%3 = poly.bconv prescaled %2 : !poly.rns<p[0:1], coeff> -> !poly.rns<q[0:2], coeff>
%4 = poly.ntt %3 : !poly.rns<q[0:2], coeff>
%5 = poly.sub %0, %4 : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
%b = poly.mul_const %5 [7, 9] : !poly.rns<q[0:2], eval>
```
"#,
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

/// Expands key switching in a module.
pub fn run(module: OperationRef<'_, '_>, _: &OptionValues) -> Result<(), PassError> {
    let params =
        params_of(module).ok_or_else(|| PassError::op(&module, format!("has no attribute `{PARAMS}`")))?;
    let ring = Arc::new(Ring::new(&params).map_err(|e| PassError::op(&module, e))?);
    rewrite_greedily(module, RewriteOptions::default(), |set| {
        type Expand = for<'c, 'r> fn(&Site<'c, 'r>, &Ring) -> Rewritten<Vec<Value<'c, 'c>>>;
        let rules: [(&str, Expand); 4] = [
            ("poly.decompose", decompose),
            ("poly.mod_up", mod_up),
            ("poly.mod_down", mod_down),
            ("poly.rescale", rescale),
        ];
        for (name, expand) in rules {
            let ring = ring.clone();
            set.add(name, 1, move |op, rewriter| Site::rewrite(op, rewriter, |site| expand(site, &ring)));
        }
    })
}

fn decompose<'c>(site: &Site<'c, '_>, _: &Ring) -> Rewritten<Vec<Value<'c, 'c>>> {
    let input = site.operand(0)?;
    let digit = |index| site.rebase("poly.extract_limbs", input, &site.result(index)?.basis());
    (0..site.op.result_count()).map(digit).collect()
}

fn mod_up<'c>(site: &Site<'c, '_>, ring: &Ring) -> Rewritten<Vec<Value<'c, 'c>>> {
    let input = site.operand(0)?;
    let added = site.result(0)?.basis().difference(&infer::rns_of(input)?.basis());
    if added.is_empty() {
        return Ok(vec![input]);
    }
    let converted = site.convert(ring, input, &added)?;
    Ok(vec![site.inferred("poly.concat_limbs", &[input, converted])?])
}

fn mod_down<'c>(site: &Site<'c, '_>, ring: &Ring) -> Rewritten<Vec<Value<'c, 'c>>> {
    let input = site.operand(0)?;
    let to = site.result(0)?.basis();
    let dropped = infer::rns_of(input)?.basis().difference(&to);
    if dropped.is_empty() {
        return Ok(vec![input]);
    }
    let kept = site.rebase("poly.extract_limbs", input, &to)?;
    let rest = site.rebase("poly.extract_limbs", input, &dropped)?;
    let difference = site.inferred("poly.sub", &[kept, site.convert(ring, rest, &to)?])?;
    let moduli = ring.moduli(&to).map_err(|e| e.to_string())?;
    let products = ring.product_mod(&dropped, &to).map_err(|e| e.to_string())?;
    let inverses: Vec<i64> =
        products.into_iter().zip(moduli).map(|(product, q)| inv_mod(product as u64, q) as i64).collect();
    Ok(vec![site.mul_const(difference, &inverses)?])
}

fn rescale<'c>(site: &Site<'c, '_>, _: &Ring) -> Rewritten<Vec<Value<'c, 'c>>> {
    let mut value = site.operand(0)?;
    let from = infer::rns_of(value)?.basis();
    let to = site.result(0)?.basis();
    if !to.is_subset(&from) {
        value = site.rebase("poly.scale_up", value, &from.union(&to))?;
    }
    Ok(vec![site.rebase("poly.mod_down", value, &to)?])
}
