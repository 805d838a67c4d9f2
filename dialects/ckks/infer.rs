//! Result types from operand types and attributes: the type rules of the dialect.
//!
//! The verifier of every op here compares its results with what these functions infer, so that each rule is
//! written once.

use super::{
    CtType, Placement, PtType, ScaleAttr,
    attributes::{to_int, to_ints},
    types,
};
use crate::bridge::hooks::*;
use ceria_runtime::format::scale::Scale;

type Inferred<'c> = Result<Vec<Type<'c>>, String>;

fn ct<'c>(args: &InferArgs<'c, '_>, index: usize) -> Result<CtType<'c>, String> {
    types::ct(args.operand(index)?)
}

fn result<'c>(args: &InferArgs<'c, '_>, placement: Option<&Placement>, size: u32) -> Inferred<'c> {
    Ok(vec![CtType::of(args.context, placement, size)?.into()])
}

/// The common level of two placed operands; none when both are unplaced.
fn same_level(
    left: &Option<Placement>,
    right: &Option<Placement>,
) -> Result<Option<(Placement, Placement)>, String> {
    match (left, right) {
        (Some(l), Some(r)) if l.level == r.level => Ok(Some((l.clone(), r.clone()))),
        (Some(l), Some(r)) => Err(format!("has operands at different levels, {} and {}", l.level, r.level)),
        (None, None) => Ok(None),
        _ => Err("has a placed and an unplaced operand".into()),
    }
}

fn sum(left: Option<Placement>, right: Option<Placement>) -> Result<Option<Placement>, String> {
    match same_level(&left, &right)? {
        Some((l, r)) if l.scale != r.scale => {
            Err(format!("has operands at different scales, {} and {}", l.scale, r.scale))
        }
        _ => Ok(left),
    }
}

fn product(left: Option<Placement>, right: Option<Placement>) -> Result<Option<Placement>, String> {
    Ok(same_level(&left, &right)?.map(|(l, r)| Placement::new(l.level, l.scale * r.scale)))
}

fn infer_sum<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let (left, right) = (ct(args, 0)?, ct(args, 1)?);
    let placement = sum(left.placement(), right.placement())?;
    result(args, placement.as_ref(), left.components().max(right.components()))
}

fn infer_plain_sum<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let (input, plain) = (ct(args, 0)?, PtType::try_from(args.operand(1)?.r#type())?);
    let placement = sum(input.placement(), plain.placement())?;
    result(args, placement.as_ref(), input.components())
}

fn infer_product<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let (left, right) = (ct(args, 0)?, ct(args, 1)?);
    let placement = product(left.placement(), right.placement())?;
    result(args, placement.as_ref(), product_size(&placement, left.components(), right.components()))
}

/// The size of a product. Where relinearisations are not decided yet, factors count as relinearised.
fn product_size(placement: &Option<Placement>, left: u32, right: u32) -> u32 {
    if placement.is_some() { left + right - 1 } else { 3 }
}

fn infer_square<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let input = ct(args, 0)?;
    let placement = product(input.placement(), input.placement())?;
    result(args, placement.as_ref(), product_size(&placement, input.components(), input.components()))
}

fn infer_plain_product<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let (input, plain) = (ct(args, 0)?, PtType::try_from(args.operand(1)?.r#type())?);
    let placement = product(input.placement(), plain.placement())?;
    result(args, placement.as_ref(), input.components())
}

fn infer_const_product<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let input = ct(args, 0)?;
    let scale = args.attribute("scale").and_then(|a| ScaleAttr::try_from(a).ok()).map(|s| s.scale());
    let placement = scaled(input.placement(), scale)?;
    result(args, placement.as_ref(), input.components())
}

/// The placement of a product with constants at `scale`.
pub fn scaled(input: Option<Placement>, scale: Option<Scale>) -> Result<Option<Placement>, String> {
    match (input, scale) {
        (Some(p), Some(scale)) => Ok(Some(Placement::new(p.level, p.scale * scale))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("has a placed operand but no scale for its constants".into()),
        (None, Some(_)) => Err("has an unplaced operand, so its constants have no scale yet".into()),
    }
}

fn infer_same<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    Ok(vec![ct(args, 0)?.into()])
}

/// The type of an operand that has to have two components. Before levels are placed it may have more:
/// relinearisations are not decided yet.
fn two_components<'c>(args: &InferArgs<'c, '_>) -> Result<CtType<'c>, String> {
    let input = ct(args, 0)?;
    match input.components() {
        2 => Ok(input),
        _ if input.placement().is_none() => CtType::of(args.context, None, 2),
        size => Err(format!("needs an operand of 2 components, got {size}: relinearize it first")),
    }
}

fn infer_moved<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    Ok(vec![two_components(args)?.into()])
}

fn infer_hoisted<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let input = two_components(args)?;
    let steps = args.attribute("steps").and_then(to_ints).ok_or("has no steps")?;
    Ok(vec![input.into(); steps.len()])
}

fn infer_relinearized<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let input = ct(args, 0)?;
    match input.components() {
        2 | 3 => result(args, input.placement().as_ref(), 2),
        size => Err(format!("needs an operand of 3 components, got {size}")),
    }
}

fn by(args: &InferArgs<'_, '_>) -> Result<u32, String> {
    let by = args.attribute("by").and_then(to_int).unwrap_or(1);
    u32::try_from(by).map_err(|_| format!("goes down by {by} levels"))
}

fn infer_rescaled<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let input = ct(args, 0)?;
    let by = match by(args)? {
        0 => return Err("goes down by 0 levels".into()),
        by => by,
    };
    let Some(Placement { level, scale }) = input.placement() else {
        return result(args, None, input.components());
    };
    let below = lower(level, by)?;
    let scale = (below + 1..=level).rev().fold(scale, |scale, level| scale.rescaled(level));
    result(args, Some(&Placement::new(below, scale)), input.components())
}

fn infer_reduced<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let input = ct(args, 0)?;
    let by = by(args)?;
    let Some(Placement { level, scale }) = input.placement() else {
        return Err("needs a placed operand".into());
    };
    result(args, Some(&Placement::new(lower(level, by)?, scale)), input.components())
}

fn lower(level: u32, by: u32) -> Result<u32, String> {
    level.checked_sub(by).ok_or_else(|| format!("goes {by} levels down from level {level}"))
}

fn infer_polynomial<'c>(args: &InferArgs<'c, '_>) -> Inferred<'c> {
    let input = two_components(args)?;
    match input.placement() {
        None => Ok(vec![input.into()]),
        Some(_) => Err("needs an unplaced operand".into()),
    }
}

infer_types!(ckks_add, infer_sum);
infer_types!(ckks_sub, infer_sum);
infer_types!(ckks_add_plain, infer_plain_sum);
infer_types!(ckks_sub_plain, infer_plain_sum);
infer_types!(ckks_add_const, infer_same);
infer_types!(ckks_negate, infer_same);
infer_types!(ckks_mul, infer_product);
infer_types!(ckks_square, infer_square);
infer_types!(ckks_mul_plain, infer_plain_product);
infer_types!(ckks_mul_const, infer_const_product);
infer_types!(ckks_mul_int, infer_same);
infer_types!(ckks_mul_i, infer_same);
infer_types!(ckks_relinearize, infer_relinearized);
infer_types!(ckks_rescale, infer_rescaled);
infer_types!(ckks_level_reduce, infer_reduced);
infer_types!(ckks_rotate, infer_moved);
infer_types!(ckks_conjugate, infer_moved);
infer_types!(ckks_switch_secret, infer_moved);
infer_types!(ckks_hoisted_rotate, infer_hoisted);
infer_types!(ckks_eval_poly, infer_polynomial);
