//! Reductions and changes of shape.

use super::{Call, Resolved};
use crate::onnx::{
    error::OnnxError,
    graph::{Operator, broadcast_shapes},
};

/// A list that is an attribute in old versions of the operator set and operand `index` from `since` on.
fn list_or_attribute(
    call: &Call<'_>,
    name: &str,
    index: usize,
    since: i64,
) -> Result<Option<Vec<i64>>, OnnxError> {
    if call.opset < since { Ok(call.ints(name)?.map(<[i64]>::to_vec)) } else { call.integers(index, name) }
}

/// Sums and means.
pub(super) fn reduce(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 2)?;
    let input = call.shape(0)?;
    let mean = call.node.op_type == "ReduceMean";
    let listed = list_or_attribute(call, "axes", 1, if mean { 18 } else { 13 })?;
    let all = listed.as_ref().is_none_or(Vec::is_empty);
    let axes = match listed {
        _ if all && call.flag("noop_with_empty_axes", false)? => {
            return Ok(Resolved {
                operator: Operator::Identity,
                inputs: vec![call.input(0)?],
                shape: input.to_vec(),
            });
        }
        Some(axes) if !all => call.axes(&axes, input.len())?,
        _ => (0..input.len()).collect(),
    };
    let keep_dims = call.flag("keepdims", true)?;
    let shape = (0..input.len())
        .filter_map(|axis| match (axes.contains(&axis), keep_dims) {
            (true, true) => Some(1),
            (true, false) => None,
            (false, _) => Some(input[axis]),
        })
        .collect();
    let operator =
        if mean { Operator::ReduceMean { axes, keep_dims } } else { Operator::ReduceSum { axes, keep_dims } };
    Ok(Resolved { operator, inputs: vec![call.input(0)?], shape })
}

/// A resolved change of shape that keeps elements in order.
fn reshaped(call: &Call<'_>, shape: Vec<usize>) -> Result<Resolved, OnnxError> {
    Ok(Resolved { operator: Operator::Reshape, inputs: vec![call.input(0)?], shape })
}

/// Extents may be -1 (what remains) and 0 (as before).
pub(super) fn reshape(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 2)?;
    let input = call.shape(0)?;
    let wanted = list_or_attribute(call, "shape", 1, 5)?.ok_or_else(|| call.invalid("it has no shape"))?;
    let allow_zero = call.flag("allowzero", false)?;
    let mismatch = || call.invalid(format!("{input:?} cannot become {wanted:?}"));
    let mut shape = Vec::with_capacity(wanted.len());
    let mut free = None;
    for (axis, &extent) in wanted.iter().enumerate() {
        shape.push(match extent {
            -1 if free.is_none() => {
                free = Some(axis);
                1
            }
            0 if !allow_zero => *input.get(axis).ok_or_else(mismatch)?,
            _ => usize::try_from(extent).map_err(|_| mismatch())?,
        });
    }
    let count: usize = input.iter().product();
    let known =
        shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent)).ok_or_else(mismatch)?;
    if let Some(axis) = free {
        if known == 0 || !count.is_multiple_of(known) {
            return Err(mismatch());
        }
        shape[axis] = count / known;
    } else if known != count {
        return Err(mismatch());
    }
    reshaped(call, shape)
}

/// A matrix: axes before `axis` and from it on.
pub(super) fn flatten(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 1)?;
    let input = call.shape(0)?;
    let axis = call.int("axis")?.unwrap_or(1);
    // It may also be the rank itself: one column.
    let axis = if axis == input.len() as i64 { input.len() } else { call.axis(axis, input.len())? };
    let (front, back) = input.split_at(axis);
    reshaped(call, vec![front.iter().product(), back.iter().product()])
}

/// Without axes of extent 1: those listed, or all.
pub(super) fn squeeze(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 2)?;
    let input = call.shape(0)?;
    let axes = match list_or_attribute(call, "axes", 1, 13)? {
        Some(axes) => call.axes(&axes, input.len())?,
        None => (0..input.len()).filter(|&axis| input[axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| input[axis] != 1) {
        return Err(call.invalid(format!("axis {axis} has extent {}, not 1", input[*axis])));
    }
    reshaped(call, (0..input.len()).filter(|axis| !axes.contains(axis)).map(|axis| input[axis]).collect())
}

/// With axes of extent 1 at the places listed, which count in the result.
pub(super) fn unsqueeze(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 2)?;
    let input = call.shape(0)?;
    let axes = list_or_attribute(call, "axes", 1, 13)?.ok_or_else(|| call.invalid("it has no axes"))?;
    let rank = input.len() + axes.len();
    let axes = call.axes(&axes, rank)?;
    let mut rest = input.iter();
    reshaped(
        call,
        (0..rank)
            .map(|axis| if axes.contains(&axis) { 1 } else { rest.next().copied().unwrap_or(1) })
            .collect(),
    )
}

/// Reversed axes unless a permutation is given.
pub(super) fn transpose(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 1)?;
    let input = call.shape(0)?;
    let permutation = match call.ints("perm")? {
        None => (0..input.len()).rev().collect(),
        Some(listed) => {
            if call.axes(listed, input.len())?.len() != input.len() {
                return Err(call.invalid("attribute `perm` is not a permutation"));
            }
            listed.iter().map(|&axis| call.axis(axis, input.len())).collect::<Result<Vec<_>, _>>()?
        }
    };
    let shape = permutation.iter().map(|&axis| input[axis]).collect();
    Ok(Resolved { operator: Operator::Transpose { permutation }, inputs: vec![call.input(0)?], shape })
}

/// Starts and ends are clamped as in Python.
pub(super) fn slice(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 5)?;
    let input = call.shape(0)?;
    let from = list_or_attribute(call, "starts", 1, 10)?.ok_or_else(|| call.invalid("it has no starts"))?;
    let to = list_or_attribute(call, "ends", 2, 10)?.ok_or_else(|| call.invalid("it has no ends"))?;
    let axes = list_or_attribute(call, "axes", 3, 10)?.unwrap_or_else(|| (0..from.len() as i64).collect());
    let by = call.integers(4, "steps")?.unwrap_or_else(|| vec![1; from.len()]);
    if to.len() != from.len() || axes.len() != from.len() || by.len() != from.len() {
        return Err(call.invalid("its lists have different lengths"));
    }
    call.axes(&axes, input.len())?;
    let mut shape = input.to_vec();
    let mut starts = vec![0; input.len()];
    let mut steps = vec![1; input.len()];
    for (k, &axis) in axes.iter().enumerate() {
        let axis = call.axis(axis, input.len())?;
        let extent = input[axis] as i64;
        let from_front = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
        let step = by[k];
        let (start, count) = match step {
            0 => return Err(call.invalid("a step is 0")),
            1.. => {
                let (start, end) = (from_front(from[k]).clamp(0, extent), from_front(to[k]).clamp(0, extent));
                (start, (end - start).max(0) as u64)
            }
            _ => {
                let start = from_front(from[k]).clamp(0, extent - 1);
                let end = from_front(to[k]).clamp(-1, extent - 1);
                (start, (start - end).max(0) as u64)
            }
        };
        shape[axis] = count.div_ceil(step.unsigned_abs()) as usize;
        starts[axis] = start as usize;
        // A step past the end is never taken.
        steps[axis] = step.clamp(-extent, extent);
    }
    Ok(Resolved { operator: Operator::Slice { starts, steps }, inputs: vec![call.input(0)?], shape })
}

/// Operands one after the other.
pub(super) fn concat(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, usize::MAX)?;
    let first = call.shape(0)?;
    let axis = match call.int("axis")? {
        Some(axis) => call.axis(axis, first.len())?,
        None if call.opset < 4 => call.axis(1, first.len())?,
        None => return Err(call.invalid("attribute `axis` is missing")),
    };
    let mut shape = first.to_vec();
    shape[axis] = 0;
    let mut inputs = Vec::with_capacity(call.inputs.len());
    for index in 0..call.inputs.len() {
        let other = call.shape(index)?;
        let fits = other.len() == first.len() && (0..first.len()).all(|d| d == axis || other[d] == first[d]);
        if !fits {
            return Err(call.invalid(format!("operands {first:?} and {other:?} do not fit")));
        }
        shape[axis] += other[axis];
        inputs.push(call.input(index)?);
    }
    Ok(Resolved { operator: Operator::Concat { axis }, inputs, shape })
}

/// A border of one number.
pub(super) fn pad(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 4)?;
    let input = call.shape(0)?;
    let mode = call.text("mode")?.unwrap_or("constant");
    if mode != "constant" {
        return Err(call.unsupported(format!("its mode is `{mode}`")));
    }
    let pads = list_or_attribute(call, "pads", 1, 11)?.ok_or_else(|| call.invalid("it has no pads"))?;
    let value = if call.opset < 11 { call.float("value")? } else { call.number(2, "value")? }.unwrap_or(0.0);
    let axes = call.integers(3, "axes")?.unwrap_or_else(|| (0..input.len() as i64).collect());
    call.axes(&axes, input.len())?;
    if pads.len() != 2 * axes.len() {
        return Err(call.invalid(format!("it has {} pads for {} axes", pads.len(), axes.len())));
    }
    let (mut low, mut high) = (vec![0; input.len()], vec![0; input.len()]);
    let mut shape = input.to_vec();
    for (k, &axis) in axes.iter().enumerate() {
        let axis = call.axis(axis, input.len())?;
        (low[axis], high[axis]) = (pads[k], pads[k + axes.len()]);
        shape[axis] = (input[axis] as i64)
            .checked_add(low[axis])
            .and_then(|extent| extent.checked_add(high[axis]))
            .and_then(|extent| usize::try_from(extent).ok())
            .ok_or_else(|| call.invalid(format!("axis {axis} becomes negative or too large")))?;
        if low[axis].min(0).saturating_add(high[axis].min(0)) <= -(input[axis] as i64) {
            return Err(call.unsupported(format!("it cuts all of axis {axis}")));
        }
    }
    Ok(Resolved { operator: Operator::Pad { low, high, value }, inputs: vec![call.input(0)?], shape })
}

/// Copies along axes of extent 1.
pub(super) fn expand(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(2, 2)?;
    let input = call.shape(0)?;
    let wanted = call.integers(1, "shape")?.ok_or_else(|| call.invalid("it has no shape"))?;
    let mismatch = || call.invalid(format!("{input:?} does not broadcast to {wanted:?}"));
    let target = wanted.iter().map(|&extent| usize::try_from(extent)).collect::<Result<Vec<_>, _>>();
    let shape = broadcast_shapes(input, &target.map_err(|_| mismatch())?).ok_or_else(mismatch)?;
    Ok(Resolved { operator: Operator::Expand, inputs: vec![call.input(0)?], shape })
}
