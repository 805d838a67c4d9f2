//! Canonicalisation patterns: rewrites that are always better and never trade.

use super::access::{self, Attributes, constant_of, defining_as, is_encrypted, splat_of};
use crate::{bridge::hooks::*, canonicalizer};
use melior::ir::{
    Identifier,
    attribute::{FloatAttribute, IntegerAttribute},
};

/// Replaces an op by a new one of these operands and attributes and the same result type.
fn replace<'c>(
    rewriter: &Rewriter<'c, '_>,
    op: OperationRef<'c, '_>,
    name: &str,
    operands: &[Value<'c, '_>],
    attributes: &[(Identifier<'c>, Attribute<'c>)],
) -> bool {
    let Ok(result) = op.result(0) else { return false };
    let built = OperationBuilder::new(name, op.location())
        .add_operands(operands)
        .add_attributes(attributes)
        .add_results(&[result.r#type()])
        .build();
    let Ok(built) = built else { return false };
    rewriter.set_insertion_point_before(op);
    let new = rewriter.insert(built);
    rewriter.replace_op_with_operation(op, new);
    true
}

fn named<'c>(
    op: OperationRef<'c, '_>,
    name: &str,
    attribute: Attribute<'c>,
) -> (Identifier<'c>, Attribute<'c>) {
    (Identifier::new(context_of(op), name), attribute)
}

fn number<'c>(op: OperationRef<'c, '_>, value: f64) -> Attribute<'c> {
    let context = context_of(op);
    FloatAttribute::new(context, Type::float64(context), value).into()
}

fn operands<'c, 'a>(op: OperationRef<'c, 'a>) -> Option<(Value<'c, 'a>, Value<'c, 'a>)> {
    Some((op.operand(0).ok()?, op.operand(1).ok()?))
}

/// The clear operand of a commutative op comes second.
fn clear_second(op: OperationRef<'_, '_>, rewriter: &Rewriter<'_, '_>) -> bool {
    let Some((lhs, rhs)) = operands(op) else { return false };
    if is_encrypted(lhs.r#type()) || !is_encrypted(rhs.r#type()) {
        return false;
    }
    let name = op.name();
    let Ok(name) = name.as_string_ref().as_str() else { return false };
    replace(rewriter, op, name, &[rhs, lhs], &[])
}

/// `x + -y` is `x - y`; `x - -y` is `x + y`.
fn absorb_neg(op: OperationRef<'_, '_>, rewriter: &Rewriter<'_, '_>, other: &str) -> bool {
    let Some((lhs, rhs)) = operands(op) else { return false };
    let Some(negated) = defining_as(rhs, "fhe.neg").and_then(|neg| neg.operand(0).ok()) else { return false };
    replace(rewriter, op, other, &[lhs, negated], &[])
}

canonicalizer!(fhe_add, |set: &mut PatternSet<'_>| {
    set.add("fhe.add", 1, |op, rewriter| clear_second(op, rewriter) || absorb_neg(op, rewriter, "fhe.sub"));
});

canonicalizer!(fhe_sub, |set: &mut PatternSet<'_>| {
    set.add("fhe.sub", 1, |op, rewriter| absorb_neg(op, rewriter, "fhe.add"));
});

canonicalizer!(fhe_mul, |set: &mut PatternSet<'_>| {
    set.add("fhe.mul", 1, |op, rewriter| {
        let Some((lhs, rhs)) = operands(op) else { return false };
        if lhs == rhs {
            return replace(rewriter, op, "fhe.square", &[lhs], &[]);
        }
        let result = op.result(0).map(|r| r.r#type());
        if Ok(lhs.r#type()) == result
            && let Some(factor) = constant_of(rhs).and_then(splat_of)
        {
            let factor = named(op, "factor", number(op, factor));
            return replace(rewriter, op, "fhe.scale", &[lhs], &[factor]);
        }
        clear_second(op, rewriter)
    });
});

canonicalizer!(fhe_square, |set: &mut PatternSet<'_>| {
    // The sign does not matter.
    set.add("fhe.square", 1, |op, rewriter| {
        let negated =
            op.operand(0).ok().and_then(|v| defining_as(v, "fhe.neg")).and_then(|n| n.operand(0).ok());
        negated.is_some_and(|value| replace(rewriter, op, "fhe.square", &[value], &[]))
    });
});

canonicalizer!(fhe_scale, |set: &mut PatternSet<'_>| {
    // (x by a) by b is x by a * b; (-x) by a is x by -a.
    set.add("fhe.scale", 1, |op, rewriter| {
        let (Ok(input), Some(factor)) = (op.operand(0), op.f64("factor")) else { return false };
        let scaled = defining_as(input, "fhe.scale").and_then(|inner| Some((inner, inner.f64("factor")?)));
        let negated = defining_as(input, "fhe.neg").map(|inner| (inner, -1.0));
        let Some((inner, first)) = scaled.or(negated) else { return false };
        let Ok(source) = inner.operand(0) else { return false };
        let factor = named(op, "factor", number(op, factor * first));
        replace(rewriter, op, "fhe.scale", &[source], &[factor])
    });
});

canonicalizer!(fhe_transpose, |set: &mut PatternSet<'_>| {
    // Moving dimensions of extent 1 is a reshape.
    set.add("fhe.transpose", 1, |op, rewriter| {
        let (Ok(input), Some(permutation)) = (op.operand(0), op.i64s("permutation")) else { return false };
        let Some(shape) = access::shape_of(input.r#type()) else { return false };
        let moved: Vec<i64> =
            permutation.into_iter().filter(|&d| shape.get(d as usize).is_some_and(|&s| s > 1)).collect();
        if moved.is_sorted() { replace(rewriter, op, "fhe.reshape", &[input], &[]) } else { false }
    });
});

canonicalizer!(fhe_pow, |set: &mut PatternSet<'_>| {
    // x to 2 is square x; (square x) to k is x to 2k.
    set.add("fhe.pow", 1, |op, rewriter| {
        let (Ok(input), Some(exponent)) = (op.operand(0), op.i64("exponent")) else { return false };
        if exponent == 2 {
            return replace(rewriter, op, "fhe.square", &[input], &[]);
        }
        let Some(source) = defining_as(input, "fhe.square").and_then(|inner| inner.operand(0).ok()) else {
            return false;
        };
        if 2 * exponent > 64 {
            return false;
        }
        let ty = melior::ir::r#type::IntegerType::new(context_of(op), 64).into();
        let exponent = named(op, "exponent", IntegerAttribute::new(ty, 2 * exponent).into());
        replace(rewriter, op, "fhe.pow", &[source], &[exponent])
    });
});

canonicalizer!(fhe_eval_poly, |set: &mut PatternSet<'_>| {
    // Leading zeros are dropped.
    set.add("fhe.eval_poly", 1, |op, rewriter| {
        let (Ok(input), Some(mut coefficients)) = (op.operand(0), op.f64s("coefficients")) else {
            return false;
        };
        let before = coefficients.len();
        while coefficients.len() > 1 && coefficients.last() == Some(&0.0) {
            coefficients.pop();
        }
        let (Some(basis), Some(domain)) = (op.get("basis"), op.get("domain")) else { return false };
        if coefficients.len() == before {
            return false;
        }
        let coefficients = access::f64_array_attribute(context_of(op), &coefficients);
        let attributes =
            [named(op, "basis", basis), named(op, "coefficients", coefficients), named(op, "domain", domain)];
        replace(rewriter, op, "fhe.eval_poly", &[input], &attributes)
    });
});
