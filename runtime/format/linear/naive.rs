//! Linear operators by definition, on dense tensors.
//!
//! The oracle of the sparse matrices: it pads, slices and sums arrays and shares no index arithmetic with them.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice};

use super::op::{LinearError, LinearOp, Step};

/// Applies the steps one after another. The caller has checked the shapes of input and weights.
pub(super) fn apply(
    op: &LinearOp,
    input: &ArrayD<f64>,
    weights: &[ArrayViewD<'_, f32>],
) -> Result<ArrayD<f64>, LinearError> {
    let mut x = input.clone();
    for step in op.steps() {
        x = apply_step(step, x, weights).map_err(|reason| LinearError::Step { step: "apply", reason })?;
    }
    Ok(x)
}

fn apply_step(step: &Step, x: ArrayD<f64>, weights: &[ArrayViewD<'_, f32>]) -> Result<ArrayD<f64>, String> {
    let bound = |index: usize| weights[index].mapv(f64::from);
    match step {
        Step::MatMul { weight, weight_first, transposed } => {
            let mut w = bound(*weight);
            if *transposed {
                let rank = w.ndim();
                w.swap_axes(rank - 2, rank - 1);
            }
            if *weight_first { matmul(&w, &x) } else { matmul(&x, &w) }
        }
        Step::Conv { weight, strides, pads, dilations, groups } => {
            let w = bound(*weight);
            let rank = strides.len();
            let padded = pad(&x, &[&[0, 0], &pads[..rank]].concat(), &[&[0, 0], &pads[rank..]].concat());
            let spatial: Vec<usize> = (0..rank)
                .map(|d| (padded.shape()[d + 2] - (w.shape()[d + 2] - 1) * dilations[d] - 1) / strides[d] + 1)
                .collect();
            let mut y = ArrayD::zeros(IxDyn(&[&[x.shape()[0], w.shape()[0]], &spatial[..]].concat()));
            let per_group = w.shape()[0] / groups;
            for (channel, mut out) in y.axis_chunks_iter_mut(Axis(1), 1).enumerate() {
                let first = channel / per_group * w.shape()[1];
                for (tap, &value) in w.index_axis(Axis(0), channel).indexed_iter() {
                    let seen = padded.slice_each_axis(|axis| match axis.axis.index() {
                        0 => Slice::from(..),
                        1 => Slice::from(first + tap[0]..first + tap[0] + 1),
                        d => {
                            let from = tap[d - 1] * dilations[d - 2];
                            let last = from + (spatial[d - 2] - 1) * strides[d - 2];
                            Slice::from(from..=last).step_by(strides[d - 2] as isize)
                        }
                    });
                    out.scaled_add(value, &seen);
                }
            }
            Ok(y)
        }
        Step::AveragePool { kernel, strides, pads, dilations, ceil_mode, count_include_pad } => {
            Ok(average_pool(&x, kernel, strides, pads, dilations, *ceil_mode, *count_include_pad))
        }
        Step::Reduce { axes, mean, keep_dims } => {
            let mut y = x;
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            sorted.dedup();
            for axis in sorted.into_iter().rev().map(Axis) {
                let terms = y.len_of(axis) as f64;
                y = y.sum_axis(axis);
                if *mean {
                    y /= terms;
                }
                if *keep_dims {
                    y = y.insert_axis(axis);
                }
            }
            Ok(y)
        }
        Step::Reshape { shape } => {
            let values: Vec<f64> = x.iter().copied().collect();
            ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|e| e.to_string())
        }
        Step::Transpose { permutation } => Ok(x.permuted_axes(IxDyn(permutation))),
        Step::Slice { starts, steps, shape } => {
            let mut y = x;
            for (d, &size) in shape.iter().enumerate() {
                let picks: Vec<usize> =
                    (0..size as i64).map(|c| (starts[d] as i64 + c * steps[d]) as usize).collect();
                y = y.select(Axis(d), &picks);
            }
            Ok(y)
        }
        Step::Pad { before, after } => Ok(pad(&x, before, after)),
        Step::Expand { shape } => broadcast(&x, shape),
        Step::Scale { weight } => {
            let w = broadcast(&bound(*weight), x.shape())?;
            Ok(x * w)
        }
        Step::Factor { factor } => Ok(x * *factor),
    }
}

fn broadcast(x: &ArrayD<f64>, shape: &[usize]) -> Result<ArrayD<f64>, String> {
    let view = x.broadcast(IxDyn(shape)).ok_or_else(|| format!("{:?} to {shape:?}", x.shape()))?;
    Ok(view.to_owned())
}

fn pad(x: &ArrayD<f64>, before: &[usize], after: &[usize]) -> ArrayD<f64> {
    let shape: Vec<usize> = (0..x.ndim()).map(|d| before[d] + x.shape()[d] + after[d]).collect();
    let mut padded = ArrayD::zeros(IxDyn(&shape));
    padded
        .slice_each_axis_mut(|axis| {
            let d = axis.axis.index();
            Slice::from(before[d]..before[d] + x.shape()[d])
        })
        .assign(x);
    padded
}

fn matmul(left: &ArrayD<f64>, right: &ArrayD<f64>) -> Result<ArrayD<f64>, String> {
    let (left_vector, right_vector) = (left.ndim() == 1, right.ndim() == 1);
    let left = if left_vector { left.clone().insert_axis(Axis(0)) } else { left.clone() };
    let right = if right_vector { right.clone().insert_axis(Axis(1)) } else { right.clone() };
    let rank = left.ndim().max(right.ndim()) - 2;
    let size = |a: &ArrayD<f64>, d: usize| (d + a.ndim()).checked_sub(rank + 2).map_or(1, |i| a.shape()[i]);
    let batch: Vec<usize> = (0..rank).map(|d| size(&left, d).max(size(&right, d))).collect();
    let (rows, inner) = (left.shape()[left.ndim() - 2], left.shape()[left.ndim() - 1]);
    let columns = right.shape()[right.ndim() - 1];
    let left = broadcast(&left, &[&batch[..], &[rows, inner]].concat())?;
    let right = broadcast(&right, &[&batch[..], &[inner, columns]].concat())?;
    // The leading axes become one, over which matrices are multiplied.
    let flat = |a: &ArrayD<f64>, rows: usize, columns: usize| {
        a.to_shape((batch.iter().product::<usize>(), rows, columns)).map(|a| a.to_owned())
    };
    let left = flat(&left, rows, inner).map_err(|e| e.to_string())?;
    let right = flat(&right, inner, columns).map_err(|e| e.to_string())?;
    let products = left.outer_iter().zip(right.outer_iter()).flat_map(|(l, r)| l.dot(&r));
    let shape = IxDyn(&[&batch[..], &[rows, columns]].concat());
    let mut y = ArrayD::from_shape_vec(shape, products.collect()).map_err(|e| e.to_string())?;
    if right_vector {
        y = y.remove_axis(Axis(rank + 1));
    }
    if left_vector {
        y = y.remove_axis(Axis(rank));
    }
    Ok(y)
}

/// Sums and counts over windows of the tensor padded by explicit margins; a margin beyond the stated padding,
/// which only the last window of ceil mode reaches, never counts.
fn average_pool(
    x: &ArrayD<f64>,
    kernel: &[usize],
    strides: &[usize],
    pads: &[usize],
    dilations: &[usize],
    ceil_mode: bool,
    count_include_pad: bool,
) -> ArrayD<f64> {
    let rank = kernel.len();
    let ones = ArrayD::from_elem(x.raw_dim(), 1.0);
    let before = [&[0, 0], &pads[..rank]].concat();
    let after = [&[0, 0], &pads[rank..]].concat();
    let margin: Vec<usize> =
        [0, 0].into_iter().chain((0..rank).map(|d| strides[d] + (kernel[d] - 1) * dilations[d])).collect();
    let none = vec![0; rank + 2];
    let values = pad(&pad(x, &before, &after), &none, &margin);
    let counted = if count_include_pad {
        pad(&ArrayD::from_elem(pad(x, &before, &after).raw_dim(), 1.0), &none, &margin)
    } else {
        pad(&pad(&ones, &before, &after), &none, &margin)
    };
    let mut shape = x.shape()[..2].to_vec();
    for d in 0..rank {
        let size = x.shape()[d + 2];
        let windows = (0..)
            .map(|i| i * strides[d])
            .take_while(|start| {
                let end = start + (kernel[d] - 1) * dilations[d];
                let padded = pads[d] + size + pads[rank + d];
                end < padded || (ceil_mode && *start < pads[d] + size && end + 1 < padded + strides[d])
            })
            .count();
        shape.push(windows);
    }
    ArrayD::from_shape_fn(IxDyn(&shape), |at| {
        let (mut sum, mut count) = (0.0, 0.0);
        for tap in ndarray::indices(IxDyn(kernel)) {
            let mut from = vec![at[0], at[1]];
            from.extend((0..rank).map(|d| at[d + 2] * strides[d] + tap[d] * dilations[d]));
            sum += values[IxDyn(&from)];
            count += counted[IxDyn(&from)];
        }
        sum / count
    })
}
