//! `poly-merge-mod-down`: a rescale after a mod-down drops its primes together with the special primes.
//!
//! Before: any `poly` ops. After: no `rescale` whose operand is a `mod_down`, or a sum with one, that nothing else
//! uses. The residues change by the rounding of one division instead of two.

use super::rewrite::{Rewritten, Site};
use ceria_dialects::bridge::pass::{OptionValues, PassDescriptor, PassError};
use ceria_dialects::bridge::rewrite::{RewriteOptions, rewrite_greedily};
use ceria_dialects::poly::infer;
use melior::ir::operation::OperationLike;
use melior::ir::{OperationRef, Value};

/// The pass `poly-merge-mod-down`.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "poly-merge-mod-down",
    summary: "Let a mod-down take the following rescale along",
    description: r#"
A rescale costs an inverse NTT of the dropped limbs and an NTT of the kept ones, and so does a mod-down:
dropping the special primes and the level's primes at once saves one round. Sums in between move to the larger
basis, where the other term is multiplied by the special primes.

```mlir
%b = poly.mod_down %a : !poly.rns<q[0:3]+p[0:1], eval> -> !poly.rns<q[0:3], eval>
%c = poly.rescale %b : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>
```
becomes
```mlir
%c = poly.mod_down %a : !poly.rns<q[0:3]+p[0:1], eval> -> !poly.rns<q[0:2], eval>
```
"#,
    create: || Box::new(run),
    ..PassDescriptor::ANY
};

/// Merges below an op.
pub fn run(op: OperationRef<'_, '_>, _: &OptionValues) -> Result<(), PassError> {
    rewrite_greedily(op, RewriteOptions::default(), |set| {
        set.add("poly.rescale", 2, |op, rewriter| Site::rewrite(op, rewriter, rescale_of_mod_down));
        set.add("poly.rescale", 1, |op, rewriter| Site::rewrite(op, rewriter, rescale_of_sum));
        set.add("poly.add", 1, |op, rewriter| Site::rewrite(op, rewriter, sum_of_mod_downs));
    })
}

/// `mod_down` to the rescale's result; primes that the rescale restores are multiplied in before.
fn to_result<'c>(site: &Site<'c, '_>, mut value: Value<'c, 'c>) -> Rewritten<Vec<Value<'c, 'c>>> {
    let from = infer::rns_of(value)?.basis();
    let to = site.result(0)?.basis();
    if !to.is_subset(&from) {
        value = site.rebase("poly.scale_up", value, &from.union(&to))?;
    }
    Ok(vec![site.rebase("poly.mod_down", value, &to)?])
}

/// rescale(mod_down(x)) => mod_down(x)
fn rescale_of_mod_down<'c>(site: &Site<'c, '_>) -> Rewritten<Vec<Value<'c, 'c>>> {
    let down = site.only_use(site.operand(0)?, "poly.mod_down")?;
    let x = down.operand(0).map_err(|e| e.to_string())?;
    to_result(site, x)
}

/// rescale(mod_down(x) + y) => mod_down(x + P y)
fn rescale_of_sum<'c>(site: &Site<'c, '_>) -> Rewritten<Vec<Value<'c, 'c>>> {
    let sum = site.only_use(site.operand(0)?, "poly.add")?;
    for (one, other) in [(0, 1), (1, 0)] {
        let operand = |index| sum.operand(index).map_err(|e| e.to_string());
        let Ok(down) = site.only_use(operand(one)?, "poly.mod_down") else { continue };
        let x = down.operand(0).map_err(|e| e.to_string())?;
        let other = operand(other)?;
        if infer::rns_of(other)?.period() != 0 {
            continue;
        }
        let raised = site.rebase("poly.scale_up", other, &infer::rns_of(x)?.basis())?;
        let sum = site.inferred("poly.add", &[x, raised])?;
        return to_result(site, sum);
    }
    Err("has no mod_down".into())
}

/// mod_down(x) + mod_down(y) => mod_down(x + y)
fn sum_of_mod_downs<'c>(site: &Site<'c, '_>) -> Rewritten<Vec<Value<'c, 'c>>> {
    let operand = |index| {
        let down = site.only_use(site.operand(index)?, "poly.mod_down")?;
        down.operand(0).map_err(|e| e.to_string())
    };
    let (x, y) = (operand(0)?, operand(1)?);
    if infer::rns_of(x)? != infer::rns_of(y)? {
        return Err("drops different primes".into());
    }
    let sum = site.inferred("poly.add", &[x, y])?;
    Ok(vec![site.rebase("poly.mod_down", sum, &site.result(0)?.basis())?])
}
