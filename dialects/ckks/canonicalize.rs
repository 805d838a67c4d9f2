//! Canonicalisation patterns. Each is an improvement whatever the levels are, and none depends on another's order;
//! what trades level against latency is a pass.

use super::{
    attributes::{float, floats, int, ints, optional},
    build::{Build, Built},
    fold::definition,
    types::ct,
};
use crate::{bridge::hooks::*, interpret::name_of, params_of};
use mlir_sys::{mlirOpOperandGetNextUse, mlirOpOperandIsNull, mlirValueGetFirstUse};

/// One pattern: builds what replaces the op's only result, or does not apply.
type Rule = for<'c, 'a> fn(Match<'c, 'a>) -> Option<Replacement<'c, 'a>>;

/// An op under a pattern.
#[derive(Clone, Copy)]
struct Match<'c, 'a> {
    op: OperationRef<'c, 'a>,
    rewriter: Rewriter<'c, 'a>,
}

enum Replacement<'c, 'a> {
    Value(Value<'c, 'a>),
    Op(Operation<'c>),
}

impl<'c, 'a> Match<'c, 'a> {
    fn operand(&self, index: usize) -> Option<Value<'c, 'a>> {
        self.op.operand(index).ok()
    }

    fn build(&self) -> Build<'c> {
        Build::at(self.op.location())
    }

    /// Inserts an op before the matched one.
    fn insert(&self, op: Built<'c>) -> Option<Value<'c, 'a>> {
        let inserted = self.rewriter.insert(op.ok()?).to_raw();
        // The op lives as long as the function that it was inserted into.
        let inserted: OperationRef<'c, 'a> = unsafe { OperationRef::from_raw(inserted) };
        Some(inserted.result(0).ok()?.into())
    }
}

/// The op and the rewriter under one pair of lifetimes: both belong to one context and live while the pattern runs.
fn matched<'c, 'a>(op: OperationRef<'_, '_>, rewriter: &Rewriter<'_, '_>) -> Match<'c, 'a> {
    unsafe { Match { op: OperationRef::from_raw(op.to_raw()), rewriter: std::mem::transmute_copy(rewriter) } }
}

fn rule(set: &mut PatternSet<'_>, root: &str, apply: Rule) {
    set.add(root, 1, move |op, rewriter| {
        let Match { op, rewriter } = matched(op, rewriter);
        match apply(Match { op, rewriter }) {
            None => false,
            Some(Replacement::Value(value)) => {
                rewriter.replace_op_with_values(op, &[value]);
                true
            }
            Some(Replacement::Op(new)) => {
                let new = rewriter.insert(new);
                rewriter.replace_op_with_operation(op, new);
                true
            }
        }
    });
}

fn new(op: Built<'_>) -> Option<Replacement<'_, '_>> {
    op.ok().map(Replacement::Op)
}

/// The number of uses of a value, up to two.
fn uses(value: Value<'_, '_>) -> usize {
    unsafe {
        let first = mlirValueGetFirstUse(value.to_raw());
        if mlirOpOperandIsNull(first) {
            return 0;
        }
        if mlirOpOperandIsNull(mlirOpOperandGetNextUse(first)) { 1 } else { 2 }
    }
}

/// The op that defines the value, if it has this name and no other use.
fn only<'c, 'a>(value: Value<'c, 'a>, name: &str) -> Option<OperationRef<'c, 'a>> {
    definition(value, name).filter(|_| uses(value) == 1)
}

/// f(a) + f(b) -> f(a + b), for rescale by the same number of levels and for relinearize
fn sink<'c>(m: Match<'c, '_>, name: &str) -> Option<Operation<'c>> {
    let (left, right) = (only(m.operand(0)?, name)?, only(m.operand(1)?, name)?);
    let (a, b) = (left.operand(0).ok()?, right.operand(0).ok()?);
    if a.r#type() != b.r#type() || optional(left, "by") != optional(right, "by") {
        return None;
    }
    let sum = m.insert(m.build().op(&name_of(m.op), &[a, b], &[]))?;
    match int(left, "by") {
        Ok(by) => m.build().rescale(sum, by as u32).ok(),
        Err(_) => m.build().op(name, &[sum], &[]).ok(),
    }
}

canonicalizer!(ckks_add, |set| {
    // x + -y -> x - y
    rule(set, "ckks.add", |m| {
        let negated = definition(m.operand(1)?, "ckks.negate")?;
        new(m.build().op("ckks.sub", &[m.operand(0)?, negated.operand(0).ok()?], &[]))
    });
    // -x + y -> y - x
    rule(set, "ckks.add", |m| {
        let negated = definition(m.operand(0)?, "ckks.negate")?;
        new(m.build().op("ckks.sub", &[m.operand(1)?, negated.operand(0).ok()?], &[]))
    });
    // rescale(x) + rescale(y) -> rescale(x + y)
    rule(set, "ckks.add", |m| sink(m, "ckks.rescale").map(Replacement::Op));
    // relinearize(x) + relinearize(y) -> relinearize(x + y)
    rule(set, "ckks.add", |m| sink(m, "ckks.relinearize").map(Replacement::Op));
});

canonicalizer!(ckks_sub, |set| {
    // x - -y -> x + y
    rule(set, "ckks.sub", |m| {
        let negated = definition(m.operand(1)?, "ckks.negate")?;
        new(m.build().op("ckks.add", &[m.operand(0)?, negated.operand(0).ok()?], &[]))
    });
    // rescale(x) - rescale(y) -> rescale(x - y)
    rule(set, "ckks.sub", |m| sink(m, "ckks.rescale").map(Replacement::Op));
    // relinearize(x) - relinearize(y) -> relinearize(x - y)
    rule(set, "ckks.sub", |m| sink(m, "ckks.relinearize").map(Replacement::Op));
});

canonicalizer!(ckks_mul, |set| {
    // x x -> x^2
    rule(set, "ckks.mul", |m| {
        let x = m.operand(0)?;
        if x != m.operand(1)? {
            return None;
        }
        new(m.build().op("ckks.square", &[x], &[]))
    });
});

canonicalizer!(ckks_add_const, |set| {
    // (x + a) + b -> x + (a + b)
    rule(set, "ckks.add_const", |m| {
        let inner = definition(m.operand(0)?, "ckks.add_const")?;
        let sum = float(inner, "value").ok()? + float(m.op, "value").ok()?;
        new(m.build().add_const(inner.operand(0).ok()?, sum))
    });
});

canonicalizer!(ckks_mul_const, |set| {
    // b (a x) -> (a b) x, before levels are placed
    rule(set, "ckks.mul_const", |m| {
        let inner = definition(m.operand(0)?, "ckks.mul_const")?;
        if ct(m.operand(0)?).ok()?.placement().is_some() {
            return None;
        }
        let product = float(inner, "value").ok()? * float(m.op, "value").ok()?;
        new(m.build().mul_const(inner.operand(0).ok()?, product, None))
    });
    // a x with a small integer a costs no level
    rule(set, "ckks.mul_const", |m| {
        let value = float(m.op, "value").ok()?;
        let small = value.fract() == 0.0 && value != 0.0 && value.abs() <= 1024.0;
        if !small || ct(m.operand(0)?).ok()?.placement().is_some() {
            return None;
        }
        new(m.build().mul_int(m.operand(0)?, value as i64))
    });
});

canonicalizer!(ckks_mul_int, |set| {
    // b (a x) -> (a b) x
    rule(set, "ckks.mul_int", |m| {
        let inner = definition(m.operand(0)?, "ckks.mul_int")?;
        let product = int(inner, "value").ok()?.checked_mul(int(m.op, "value").ok()?)?;
        if product.unsigned_abs() > 1 << 30 {
            return None;
        }
        new(m.build().mul_int(inner.operand(0).ok()?, product))
    });
    // (-1) x -> -x
    rule(set, "ckks.mul_int", |m| {
        if int(m.op, "value") != Ok(-1) {
            return None;
        }
        new(m.build().op("ckks.negate", &[m.operand(0)?], &[]))
    });
});

canonicalizer!(ckks_mul_i, |set| {
    // i (i x) -> -x
    rule(set, "ckks.mul_i", |m| {
        let inner = definition(m.operand(0)?, "ckks.mul_i")?;
        new(m.build().op("ckks.negate", &[inner.operand(0).ok()?], &[]))
    });
});

canonicalizer!(ckks_rescale, |set| {
    // rescale(rescale(x, i), j) -> rescale(x, i + j)
    rule(set, "ckks.rescale", |m| {
        let inner = only(m.operand(0)?, "ckks.rescale")?;
        let by = int(inner, "by").ok()? + int(m.op, "by").ok()?;
        new(m.build().rescale(inner.operand(0).ok()?, u32::try_from(by).ok()?))
    });
});

canonicalizer!(ckks_level_reduce, |set| {
    // level_reduce(level_reduce(x, i), j) -> level_reduce(x, i + j)
    rule(set, "ckks.level_reduce", |m| {
        let inner = definition(m.operand(0)?, "ckks.level_reduce")?;
        let by = int(inner, "by").ok()? + int(m.op, "by").ok()?;
        new(m.build().level_reduce(inner.operand(0).ok()?, u32::try_from(by).ok()?))
    });
    // level_reduce(f(x)) -> f(level_reduce(x)) for f that keeps the level: it then runs on fewer limbs
    rule(set, "ckks.level_reduce", |m| {
        const KEEPERS: [&str; 7] = [
            "ckks.rotate",
            "ckks.conjugate",
            "ckks.negate",
            "ckks.relinearize",
            "ckks.mul_int",
            "ckks.add_const",
            "ckks.square",
        ];
        let inner = KEEPERS.iter().find_map(|name| only(m.operand(0)?, name))?;
        let by = u32::try_from(int(m.op, "by").ok()?).ok()?;
        let reduced = m.insert(m.build().level_reduce(inner.operand(0).ok()?, by))?;
        let attributes: Vec<_> =
            ["step", "value"].iter().filter_map(|n| optional(inner, n).map(|a| (*n, a))).collect();
        new(Build::at(inner.location()).op(&name_of(inner), &[reduced], &attributes))
    });
});

canonicalizer!(ckks_adjust, |set| {
    // adjust(x) to x's own type -> x
    rule(set, "ckks.adjust", |m| {
        let same = m.operand(0)?.r#type() == Value::from(m.op.result(0).ok()?).r#type();
        same.then_some(Replacement::Value(m.operand(0)?))
    });
    // adjust(adjust(x)) -> adjust(x)
    rule(set, "ckks.adjust", |m| {
        let inner = definition(m.operand(0)?, "ckks.adjust")?;
        let to = ct(m.op.result(0).ok()?.into()).ok()?.placement()?;
        new(m.build().adjust(inner.operand(0).ok()?, &to))
    });
});

canonicalizer!(ckks_rotate, |set| {
    // rotate(rotate(x, i), j) -> rotate(x, i + j)
    rule(set, "ckks.rotate", |m| {
        let inner = definition(m.operand(0)?, "ckks.rotate")?;
        let step = int(inner, "step").ok()?.checked_add(int(m.op, "step").ok()?)?;
        new(m.build().rotate(inner.operand(0).ok()?, step))
    });
    // steps are 0 <= step < slots where parameters are attached
    rule(set, "ckks.rotate", |m| {
        let step = int(m.op, "step").ok()?;
        let normal = step.rem_euclid(params_of(m.op)?.slots() as i64);
        if step == normal {
            return None;
        }
        new(m.build().rotate(m.operand(0)?, normal))
    });
});

canonicalizer!(ckks_hoisted_rotate, |set| {
    // rotations that are not used, and rotations by 0, go; one alone is a rotate
    set.add("ckks.hoisted_rotate", 1, |op, rewriter| {
        let m = matched(op, rewriter);
        thin_out(m.op, &m.rewriter).is_some()
    });
});

fn thin_out<'c, 'a>(op: OperationRef<'c, 'a>, rewriter: &Rewriter<'c, 'a>) -> Option<()> {
    let steps = ints(op, "steps").ok()?;
    let input = op.operand(0).ok()?;
    if ct(input).ok()?.components() != 2 {
        return None;
    }
    let results: Vec<Value<'c, 'a>> = op.results().map(Value::from).collect();
    let kept: Vec<i64> =
        steps.iter().zip(&results).filter(|(s, r)| **s != 0 && uses(**r) > 0).map(|(s, _)| *s).collect();
    if kept.len() == steps.len() && kept.len() > 1 {
        return None;
    }
    let build = Build::at(op.location());
    let new = match kept[..] {
        [] => None,
        [step] => Some(build.rotate(input, step).ok()?),
        _ => Some(build.hoisted_rotate(input, &kept).ok()?),
    };
    let new = new.map(|new| rewriter.insert(new).to_raw());
    let replacements: Option<Vec<Value<'c, 'a>>> = steps
        .iter()
        .map(|step| match (kept.iter().position(|k| k == step), new) {
            (Some(at), Some(new)) => unsafe { OperationRef::from_raw(new) }.result(at).ok().map(Value::from),
            // Unused, or the operand itself.
            _ => Some(input),
        })
        .collect();
    rewriter.replace_op_with_values(op, &replacements?);
    Some(())
}

canonicalizer!(ckks_eval_poly, |set| {
    // coefficients that end in zeros end earlier; degree 1 is a product and a sum
    rule(set, "ckks.eval_poly", |m| {
        let coefficients = floats(m.op, "coefficients").ok()?;
        let degree = coefficients.iter().rposition(|c| *c != 0.0).unwrap_or(0);
        let x = m.operand(0)?;
        match (degree, coefficients.len()) {
            (0 | 1, _) => {
                let small = ct(x).ok()?.components() == 2;
                let x = if small { x } else { m.insert(m.build().op("ckks.relinearize", &[x], &[]))? };
                let slope = coefficients.get(1).copied().unwrap_or(0.0);
                let product = m.insert(m.build().mul_const(x, slope, None))?;
                new(m.build().add_const(product, coefficients[0]))
            }
            (_, len) if degree + 1 < len => new(m.build().eval_poly(x, &coefficients[..=degree])),
            _ => None,
        }
    });
});
