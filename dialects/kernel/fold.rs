//! Folds and canonicalisation patterns of the kernel dialect: what is always better and changes no word.

use super::decode::integers;
use crate::{
    bridge::hooks::{
        Fold, OperationBuilder, OperationLike, OperationRef, PatternSet, Rewriter, Value, ValueLike,
        context_of,
    },
    canonicalizer, folder,
    module::params_of,
};
use ceria_runtime::format::primes::mul_mod;
use melior::ir::{Identifier, attribute::DenseI64ArrayAttribute, operation::OperationResult};

/// The op that makes a value, if it has this name.
fn maker<'c, 'a>(value: Value<'c, 'a>, name: &str) -> Option<OperationRef<'c, 'a>> {
    let op = OperationResult::try_from(value).ok()?.owner();
    super::verify::is(op, name).then_some(op)
}

fn is_constant(op: OperationRef<'_, '_>, value: i64) -> bool {
    matches!(integers(op, "constants"), Ok(Some(all)) if all.iter().all(|&c| c == value))
}

fn is_zero(value: Value<'_, '_>) -> bool {
    maker(value, "kernel.splat").is_some_and(|op| is_constant(op, 0))
}

folder!(kernel_addm, |op, _| match (op.operand(0), op.operand(1)) {
    // 0 + x => x
    (Ok(lhs), Ok(rhs)) if is_zero(lhs) => rhs.into(),
    // x + 0 => x
    (Ok(lhs), Ok(rhs)) if is_zero(rhs) => lhs.into(),
    _ => Fold::None,
});

folder!(kernel_subm, |op, _| match (op.operand(0), op.operand(1)) {
    // x - 0 => x
    (Ok(lhs), Ok(rhs)) if is_zero(rhs) => lhs.into(),
    _ => Fold::None,
});

folder!(kernel_negm, |op, _| {
    // -(-x) => x
    let inner = op.operand(0).ok().and_then(|x| maker(x, "kernel.negm")).and_then(|op| op.operand(0).ok());
    inner.map_or(Fold::None, Fold::from)
});

folder!(kernel_mul_const, |op, _| match op.operand(0) {
    // 1 * x => x
    Ok(input) if is_constant(op, 1) => input.into(),
    _ => Fold::None,
});

folder!(kernel_add_const, |op, _| match op.operand(0) {
    // x + 0 => x
    Ok(input) if is_constant(op, 0) => input.into(),
    _ => Fold::None,
});

folder!(kernel_subview, |op, _| match op.operand(0) {
    // No coordinate is fixed: the buffer itself.
    Ok(buffer) if op.operand_count() == 1 => buffer.into(),
    _ => Fold::None,
});

canonicalizer!(kernel_copy, |set: &mut PatternSet<'_>| {
    // copy x, x => nothing
    set.add("kernel.copy", 1, |op: OperationRef<'_, '_>, rewriter: &Rewriter<'_, '_>| {
        match (op.operand(0), op.operand(1)) {
            (Ok(source), Ok(target)) if source == target => {
                rewriter.erase_op(op);
                true
            }
            _ => false,
        }
    });
});

canonicalizer!(kernel_mul_const, |set: &mut PatternSet<'_>| {
    // (intt x) * c => intt x scale c, when nothing else reads the transform
    set.add("kernel.mul_const", 1, |op: OperationRef<'_, '_>, rewriter: &Rewriter<'_, '_>| {
        scale_inverse_transform(op, rewriter).is_some()
    });
});

fn scale_inverse_transform(op: OperationRef<'_, '_>, rewriter: &Rewriter<'_, '_>) -> Option<()> {
    let transform = maker(op.operand(0).ok()?, "kernel.intt")?;
    let uses = transform.result(0).ok()?;
    let first = unsafe { mlir_sys::mlirValueGetFirstUse(uses.to_raw()) };
    if first.ptr.is_null() || !unsafe { mlir_sys::mlirOpOperandGetNextUse(first) }.ptr.is_null() {
        return None;
    }
    let constants = integers(op, "constants").ok()??;
    let constants = match integers(transform, "scale").ok()? {
        None => constants,
        Some(scale) => {
            let basis = super::decode::moduli(op.parent_operation()?, "moduli").ok()??;
            let primes = params_of(op)?.primes(&basis);
            let product = |((a, b), q): ((&i64, &i64), &u32)| i64::from(mul_mod(*a as u32, *b as u32, *q));
            constants.iter().zip(&scale).zip(&primes).map(product).collect()
        }
    };
    let context = context_of(op);
    let scaled = OperationBuilder::new("kernel.intt", op.location())
        .add_operands(&[transform.operand(0).ok()?])
        .add_results(&[op.result(0).ok()?.r#type()])
        .add_attributes(&[(
            Identifier::new(context, "scale"),
            DenseI64ArrayAttribute::new(context, &constants).into(),
        )])
        .build()
        .ok()?;
    let scaled = rewriter.insert(scaled);
    rewriter.replace_op_with_operation(op, scaled);
    Some(())
}
