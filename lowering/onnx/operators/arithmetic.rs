//! Elementwise operators, matrix products, and what the client computes at the end.

use super::{Call, Resolved};
use crate::onnx::{
    error::OnnxError,
    graph::{MAX_EXPONENT, Operator, Post, broadcast_shapes},
    proto::data_type,
};

/// Two operands that broadcast.
pub(super) fn elementwise(call: &Call<'_>, operator: Operator) -> Result<Resolved, OnnxError> {
    call.expect_inputs(2, 2)?;
    let (left, right) = (call.shape(0)?, call.shape(1)?);
    let shape = broadcast_shapes(left, right)
        .ok_or_else(|| call.invalid(format!("operands {left:?} and {right:?} do not broadcast")))?;
    Ok(Resolved { operator, inputs: vec![call.input(0)?, call.input(1)?], shape })
}

/// A quotient by a constant.
pub(super) fn div(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    let resolved = elementwise(call, Operator::Div)?;
    match call.optional_constant(1, "divisor")? {
        Some(divisor) if divisor.to_f64().iter().any(|&value| value == 0.0) => {
            Err(call.invalid("it divides by zero"))
        }
        _ => Ok(resolved),
    }
}

/// One operand, same shape.
pub(super) fn unary(call: &Call<'_>, operator: Operator) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 1)?;
    Ok(Resolved { operator, inputs: vec![call.input(0)?], shape: call.shape(0)?.to_vec() })
}

/// Bounds are attributes before version 11, operands after.
pub(super) fn clip(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 3)?;
    let (low, high) = match call.opset {
        ..11 => (call.float("min")?, call.float("max")?),
        _ => (call.number(1, "lower bound")?, call.number(2, "upper bound")?),
    };
    // The largest floats are the defaults of old versions and mean no bound.
    let open =
        |bound: f64| if bound.abs() >= f64::from(f32::MAX) { bound.signum() * f64::INFINITY } else { bound };
    let low = low.map_or(f64::NEG_INFINITY, open);
    let high = high.map_or(f64::INFINITY, open);
    if low.is_nan() || high.is_nan() {
        return Err(call.invalid("a bound is not a number"));
    }
    let operator = Operator::Clip { low, high };
    Ok(Resolved { operator, inputs: vec![call.input(0)?], shape: call.shape(0)?.to_vec() })
}

/// One exponent for all elements, a small positive integer.
pub(super) fn pow(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(2, 2)?;
    let (base, exponents) = (call.shape(0)?, call.shape(1)?);
    let shape = broadcast_shapes(base, exponents)
        .ok_or_else(|| call.invalid(format!("operands {base:?} and {exponents:?} do not broadcast")))?;
    if shape != base {
        return Err(call.unsupported("the exponents have a larger shape than the base"));
    }
    let Some(constant) = call.optional_constant(1, "exponent")? else {
        return Err(call.invalid("operand 1 is missing"));
    };
    let values = constant.to_f64();
    let first = values.iter().next().copied().unwrap_or(f64::NAN);
    if values.iter().any(|&value| value != first) {
        return Err(call.unsupported("its elements have different exponents"));
    }
    if first.fract() != 0.0 || !(1.0..=f64::from(MAX_EXPONENT)).contains(&first) {
        return Err(
            call.unsupported(format!("the exponent is {first}, not an integer from 1 to {MAX_EXPONENT}"))
        );
    }
    Ok(Resolved { operator: Operator::Pow { exponent: first as u32 }, inputs: vec![call.input(0)?], shape })
}

/// A cast between floats changes nothing: encrypted values have no width.
pub(super) fn cast(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    let to = call.int("to")?.ok_or_else(|| call.invalid("attribute `to` is missing"))?;
    let to = i32::try_from(to).unwrap_or_default();
    match to {
        data_type::FLOAT | data_type::DOUBLE | data_type::FLOAT16 | data_type::BFLOAT16 => {
            unary(call, Operator::Identity)
        }
        _ => Err(call.unsupported(format!("a cast of an encrypted value to {}", data_type::name(to)))),
    }
}

/// A matrix product by NumPy's rule.
pub(super) fn matmul(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(2, 2)?;
    let (left, right) = (call.shape(0)?, call.shape(1)?);
    let mismatch = || call.invalid(format!("operands {left:?} and {right:?} do not fit"));
    if left.is_empty() || right.is_empty() {
        return Err(mismatch());
    }
    let (left_batch, left_matrix) = left.split_at(left.len().saturating_sub(2));
    let (right_batch, right_matrix) = right.split_at(right.len().saturating_sub(2));
    if left_matrix[left_matrix.len() - 1] != right_matrix[0] {
        return Err(mismatch());
    }
    let mut shape = broadcast_shapes(left_batch, right_batch).ok_or_else(mismatch)?;
    shape.extend(&left_matrix[..left_matrix.len() - 1]);
    shape.extend(&right_matrix[1..]);
    Ok(Resolved { operator: Operator::MatMul, inputs: vec![call.input(0)?, call.input(1)?], shape })
}

/// A product of two matrices, and a third operand that broadcasts to it.
pub(super) fn gemm(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(2, 3)?;
    let (a, b) = (call.shape(0)?, call.shape(1)?);
    let (transpose_a, transpose_b) = (call.flag("transA", false)?, call.flag("transB", false)?);
    let (&[a0, a1], &[b0, b1]) = (a, b) else {
        return Err(call.invalid(format!("operands {a:?} and {b:?} are not matrices")));
    };
    let (rows, inner) = if transpose_a { (a1, a0) } else { (a0, a1) };
    let (depth, columns) = if transpose_b { (b1, b0) } else { (b0, b1) };
    if inner != depth {
        return Err(call.invalid(format!("operands {a:?} and {b:?} do not fit")));
    }
    let shape = vec![rows, columns];
    let mut inputs = vec![call.input(0)?, call.input(1)?];
    if let Some(bias) = call.optional_input(2) {
        let bias_shape = call.shape(2)?;
        if broadcast_shapes(bias_shape, &shape).as_ref() != Some(&shape) {
            return Err(call.invalid(format!("operand {bias_shape:?} does not broadcast to {shape:?}")));
        }
        inputs.push(bias);
    }
    let alpha = call.float("alpha")?.unwrap_or(1.0);
    let beta = call.float("beta")?.unwrap_or(1.0);
    Ok(Resolved { operator: Operator::Gemm { alpha, beta, transpose_a, transpose_b }, inputs, shape })
}

/// Normalisation with fixed statistics.
pub(super) fn batch_normalization(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(5, 5)?;
    let shape = call.shape(0)?.to_vec();
    if call.flag("training_mode", false)? || (call.opset < 7 && !call.flag("is_test", false)?) {
        return Err(call.unsupported("it is in training mode"));
    }
    if !call.flag("spatial", true)? {
        return Err(call.unsupported("it has statistics for each element"));
    }
    let Some(&channels) = shape.get(1) else {
        return Err(call.invalid(format!("operand {shape:?} has no channels")));
    };
    let mut inputs = vec![call.input(0)?];
    for (index, what) in [(1, "scale"), (2, "shift"), (3, "mean"), (4, "variance")] {
        if call.shape(index)? != [channels] {
            return Err(call.invalid(format!("its {what} does not have one element a channel")));
        }
        call.optional_constant(index, what)?;
        inputs.push(call.input(index)?);
    }
    // The default is the decimal number, not the float next to it.
    let epsilon = call.float("epsilon")?.unwrap_or(1e-5);
    if let Some(variance) = call.constant(4)
        && variance.to_f64().iter().any(|&value| value + epsilon <= 0.0)
    {
        return Err(call.invalid("a variance is not positive"));
    }
    Ok(Resolved { operator: Operator::BatchNormalization { epsilon }, inputs, shape })
}

/// Softmax and its logarithm. Before version 13 it went over all axes from `axis` on.
pub(super) fn softmax(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 1)?;
    let shape = call.shape(0)?.to_vec();
    let default = if call.opset < 13 { 1 } else { -1 };
    let mut axis = call.axis(call.int("axis")?.unwrap_or(default), shape.len())?;
    if call.opset < 13 {
        let mut wide = (axis..shape.len()).filter(|&axis| shape[axis] > 1);
        let first = wide.next();
        if wide.next().is_some() {
            return Err(call.unsupported("it goes over more than one axis"));
        }
        axis = first.unwrap_or(axis);
    }
    let post =
        if call.node.op_type == "Softmax" { Post::Softmax { axis } } else { Post::LogSoftmax { axis } };
    Ok(Resolved { operator: Operator::Post(post), inputs: vec![call.input(0)?], shape })
}

/// The index of the largest element.
pub(super) fn arg_max(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 1)?;
    let mut shape = call.shape(0)?.to_vec();
    let axis = call.axis(call.int("axis")?.unwrap_or(0), shape.len())?;
    let keep_dims = call.flag("keepdims", true)?;
    let last = call.flag("select_last_index", false)?;
    if keep_dims {
        shape[axis] = 1;
    } else {
        shape.remove(axis);
    }
    let operator = Operator::Post(Post::ArgMax { axis, keep_dims, last });
    Ok(Resolved { operator, inputs: vec![call.input(0)?], shape })
}
