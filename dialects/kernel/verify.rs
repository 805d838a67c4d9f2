//! What the verifiers of the kernel dialect check.
//!
//! * `buf`: positive extents whose product is a sane number of words.
//! * operations on tiles: limbs, shapes, constants and primes agree with the kernel and the module's parameters
//!   (see [`super::decode`]), when the module has some.
//! * `func`: the body holds operations on tiles only; tiles are independent of one another.
//! * `table`: the shape is the one that kind, values and primes imply.
//! * `launch`: the kernel exists, operands have the types of its arguments, and what it stores to is passed once.
//! * `subview`, `read`, `free`, `alloc`: shapes; a table is not freed.

use super::{
    decode::{Decoder, integer, integers, moduli},
    model::Kernel,
};
use crate::{
    bridge::{
        generated::kernel::{BufType, TableKind, TableKindAttr},
        hooks::{BlockLike, HookResult, OperationLike, OperationRef, RegionLike, ValueLike},
    },
    module::params_of,
    region_verifier, verifier,
};
use melior::ir::{
    attribute::{FlatSymbolRefAttribute, StringAttribute, TypeAttribute},
    operation::OperationResult,
};

/// Checks the extents of a buffer type.
pub fn verify_buf_type(shape: &[i64]) -> Result<(), String> {
    if shape.is_empty() || shape.iter().any(|&extent| extent < 1) {
        return Err("a buffer needs positive extents".into());
    }
    let words = shape.iter().try_fold(1i64, |all, &extent| all.checked_mul(extent));
    if words.is_none_or(|words| words > 1 << 40) {
        return Err("a buffer of this shape fits no memory".into());
    }
    Ok(())
}

/// The shape of a value of buffer type.
pub fn shape_of<'c>(value: impl ValueLike<'c>) -> Result<Vec<i64>, String> {
    Ok(BufType::try_from(value.r#type())?.shape().to_vec())
}

/// The symbol of this name in the module around `op`.
pub fn lookup<'c, 'a>(op: OperationRef<'c, 'a>, symbol: &str) -> Option<OperationRef<'c, 'a>> {
    let mut at = op.parent_operation();
    while let Some(parent) = at {
        if parent.name().as_string_ref().as_str() == Ok("builtin.module") {
            let mut next = parent.region(0).ok()?.first_block()?.first_operation();
            while let Some(inner) = next {
                let name = inner.attribute("sym_name").ok().and_then(|a| StringAttribute::try_from(a).ok());
                if name.is_some_and(|name| name.value() == symbol) {
                    return Some(inner);
                }
                next = inner.next_in_block();
            }
        }
        at = parent.parent_operation();
    }
    None
}

/// The symbol that an attribute refers to.
pub fn symbol<'c>(op: OperationRef<'c, '_>, name: &str) -> Result<&'c str, String> {
    let attribute = op.attribute(name).map_err(|e| e.to_string())?;
    Ok(FlatSymbolRefAttribute::try_from(attribute).map_err(|e| e.to_string())?.value())
}

/// Whether an op has this name.
pub fn is(op: OperationRef<'_, '_>, name: &str) -> bool {
    op.name().as_string_ref().as_str() == Ok(name)
}

fn verify_tile_op(op: OperationRef<'_, '_>) -> HookResult {
    let (Some(params), Some(func)) = (params_of(op), op.parent_operation()) else { return Ok(()) };
    // A broken kernel reports itself.
    let Ok(mut decoder) = Decoder::new(func, &params) else { return Ok(()) };
    decoder.operation(op).map(drop)
}

verifier!(kernel_load, verify_tile_op);
verifier!(kernel_load_permuted, verify_tile_op);
verifier!(kernel_load_periodic, verify_tile_op);
verifier!(kernel_store, verify_tile_op);
verifier!(kernel_splat, verify_tile_op);
verifier!(kernel_mul_const, verify_tile_op);
verifier!(kernel_add_const, verify_tile_op);
verifier!(kernel_intt, verify_tile_op);
verifier!(kernel_bconv_tile, verify_tile_op);
verifier!(kernel_weighted_sum, verify_tile_op);

verifier!(kernel_func, |op| {
    let Some(params) = params_of(op) else { return Ok(()) };
    Decoder::new(op, &params).map(drop)
});

region_verifier!(kernel_func, |op| {
    let Some(params) = params_of(op) else { return Ok(()) };
    Kernel::decode(op, &params).map(drop)
});

verifier!(kernel_table, |op| {
    let kind = TableKindAttr::try_from(op.attribute("kind").map_err(|_| "has no kind")?)?.value();
    let values = integers(op, "values")?.unwrap_or_default();
    let ty = op.attribute("type").ok().and_then(|a| TypeAttribute::try_from(a).ok()).ok_or("has no type")?;
    let shape = BufType::try_from(ty.value())?.shape().to_vec();
    let primes = moduli(op, "moduli")?;
    let is_source = matches!(kind, TableKind::Plaintext | TableKind::Diagonals);
    if is_source && !(op.has_attribute("source") && op.has_attribute("scale")) {
        return Err("needs a source and a scale".into());
    }
    let Some(params) = params_of(op) else { return Ok(()) };
    if let Some(primes) = &primes
        && !params.contains(primes)
    {
        return Err(format!("has moduli {primes} that are not in the module's parameters"));
    }
    let n = params.n() as i64;
    let primes = || primes.as_ref().ok_or("needs moduli");
    let expected = match kind {
        TableKind::Index => vec![values.len() as i64],
        TableKind::Automorphism => vec![values.len() as i64, n],
        TableKind::GaloisKey | TableKind::RelinKey | TableKind::SparseKey | TableKind::DenseKey => {
            let primes = primes()?;
            let entries = if kind == TableKind::GaloisKey { values.len() as i64 } else { 1 };
            let digits = params.digits(&primes.q_part()).len() as i64;
            vec![entries, digits, 2, primes.len() as i64, n]
        }
        TableKind::Monomial => {
            let period = shape.last().copied().unwrap_or(0);
            let whole = |k: &i64| (0..2 * n).contains(k) && k * period % n == 0;
            if period < 1 || period > n || !values.iter().all(whole) {
                return Err(format!("has a monomial that is not one of period {period}"));
            }
            vec![values.len() as i64, primes()?.len() as i64, period]
        }
        TableKind::Plaintext | TableKind::Diagonals => {
            let each = if kind == TableKind::Diagonals { 4 } else { 1 };
            if !values.len().is_multiple_of(each) {
                return Err("needs four numbers an entry".into());
            }
            let period = shape.last().copied().unwrap_or(0);
            if period < 1 || period > n || !(period as u64).is_power_of_two() {
                return Err(format!("has a period of {period} words in a ring of degree {n}"));
            }
            vec![(values.len() / each) as i64, primes()?.len() as i64, period]
        }
    };
    let elements = matches!(kind, TableKind::Automorphism | TableKind::GaloisKey);
    if elements && values.iter().any(|&g| g < 1 || g >= 2 * n || g % 2 == 0) {
        return Err("has a Galois element that is not odd and below 2N".into());
    }
    if kind == TableKind::Index && values.iter().any(|&v| u32::try_from(v).is_err()) {
        return Err("has a number that is not of 32 bits".into());
    }
    if expected != shape { Err(format!("has shape {shape:?}, expected {expected:?}")) } else { Ok(()) }
});

verifier!(kernel_subview, |op| {
    let shape = shape_of(op.operand(0).map_err(|e| e.to_string())?)?;
    let result = shape_of(op.result(0).map_err(|e| e.to_string())?)?;
    let fixed = op.operand_count() - 1;
    if fixed >= shape.len() || shape[fixed..] != result {
        return Err(format!("fixes {fixed} coordinates of {shape:?}, which does not give {result:?}"));
    }
    Ok(())
});

verifier!(kernel_read, |op| {
    match shape_of(op.operand(0).map_err(|e| e.to_string())?)?.len() {
        1 => Ok(()),
        _ => Err("reads from a buffer with more than one extent".into()),
    }
});

verifier!(kernel_alloc, |op| {
    match integer(op, "offset") {
        Some(offset) if offset < 0 || offset % 64 != 0 => {
            Err("needs an offset that is a multiple of 64".into())
        }
        _ => Ok(()),
    }
});

verifier!(kernel_free, |op| {
    let buffer = op.operand(0).map_err(|e| e.to_string())?;
    match OperationResult::try_from(buffer) {
        Ok(result) if !is(result.owner(), "kernel.alloc") => {
            Err("frees what is not the result of an alloc".into())
        }
        _ => Ok(()),
    }
});

verifier!(kernel_launch, |op| {
    let name = symbol(op, "kernel")?;
    // A launch in a fragment without a module refers to nothing yet.
    if params_of(op).is_none() {
        return Ok(());
    }
    let func = lookup(op, name)
        .filter(|f| is(*f, "kernel.func"))
        .ok_or(format!("launches @{name}, which is not a kernel"))?;
    let block = func
        .region(0)
        .ok()
        .and_then(|r| r.first_block())
        .ok_or(format!("launches @{name}, which has no body"))?;
    if block.argument_count() != op.operand_count() {
        return Err(format!(
            "passes {} arguments to @{name}, which has {}",
            op.operand_count(),
            block.argument_count()
        ));
    }
    let mut operands = Vec::new();
    for i in 0..op.operand_count() {
        let (operand, argument) =
            (op.operand(i).map_err(|e| e.to_string())?, block.argument(i).map_err(|e| e.to_string())?);
        if operand.r#type() != argument.r#type() {
            return Err(format!(
                "passes {} as argument {i} of @{name}, which is {}",
                operand.r#type(),
                argument.r#type()
            ));
        }
        operands.push(operand);
    }
    let mut next = block.first_operation();
    while let Some(inner) = next {
        if is(inner, "kernel.store")
            && let Ok(buffer) = inner.operand(1)
            && let Ok(argument) = melior::ir::block::BlockArgument::try_from(buffer)
        {
            let stored = argument.argument_number();
            let again = (0..operands.len()).find(|&i| i != stored && operands[i] == operands[stored]);
            if let Some(again) = again {
                return Err(format!(
                    "passes the buffer that @{name} stores to as arguments {stored} and {again}"
                ));
            }
        }
        next = inner.next_in_block();
    }
    Ok(())
});
