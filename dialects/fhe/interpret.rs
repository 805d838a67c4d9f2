//! Programs of the dialect on real numbers.
//!
//! Elementwise ops, matrix products, batch norm and concatenation follow their definitions here; the other linear ops
//! are applied step by step by the runtime's naive `LinearOp::apply`. Layouts change nothing.

use super::{
    access::{self, Attributes, name_of, value_shape},
    functions, linear,
    shapes::broadcast,
    weights::Weights,
};
use crate::{
    bridge::hooks::*,
    interpret::{Datum, Evaluator, Frame},
};
use ceria_runtime::format::linear::LinearOp;
use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Zip};

/// The meaning of `fhe` ops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fhe;

impl Evaluator for Fhe {
    fn dialect(&self) -> &'static str {
        "fhe"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        if name_of(&op) == "fhe.weights" {
            return Ok(Vec::new());
        }
        let values = operands.iter().map(array).collect::<Result<Vec<_>, _>>()?;
        let weights = Weights::of(frame.interpreter().module());
        Ok(vec![datum(evaluate(op, &values, &weights)?)])
    }
}

/// A tensor as an array.
pub fn array(datum: &Datum) -> Result<ArrayD<f64>, String> {
    let tensor = datum.as_tensor()?;
    ArrayD::from_shape_vec(IxDyn(&tensor.shape), tensor.data.clone()).map_err(|e| e.to_string())
}

/// An array as a tensor.
pub fn datum(array: ArrayD<f64>) -> Datum {
    let shape = array.shape().to_vec();
    Datum::tensor(shape, array.iter().copied().collect())
}

/// The result of an op on arrays.
pub fn evaluate(
    op: OperationRef<'_, '_>,
    operands: &[ArrayD<f64>],
    weights: &Weights<'_, '_>,
) -> Result<ArrayD<f64>, String> {
    let shape = value_shape(op.result(0).map_err(|e| e.to_string())?.into())?;
    let name = name_of(&op);
    let operand = |i: usize| operands.get(i).ok_or_else(|| format!("has no operand {i}"));
    let number = |name: &str| op.f64(name).ok_or_else(|| format!("requires attribute '{name}'"));
    match name.as_str() {
        "fhe.get_weights" => {
            let values = weights.get(op.symbol("weights").unwrap_or_default()).map_err(|e| e.to_string())?;
            Ok(values.mapv(f64::from))
        }
        "fhe.add" => elementwise(operand(0)?, operand(1)?, |a, b| a + b),
        "fhe.sub" => elementwise(operand(0)?, operand(1)?, |a, b| a - b),
        "fhe.mul" => elementwise(operand(0)?, operand(1)?, |a, b| a * b),
        "fhe.neg" => Ok(operand(0)?.mapv(|x| -x)),
        "fhe.square" => Ok(operand(0)?.mapv(|x| x * x)),
        "fhe.scale" => Ok(operand(0)? * number("factor")?),
        "fhe.pow" => {
            let exponent = op.i64("exponent").unwrap_or(1) as i32;
            Ok(operand(0)?.mapv(|x| x.powi(exponent)))
        }
        "fhe.activation" => {
            let (function, parameters) =
                (access::function_of(op)?, op.f64s("parameters").unwrap_or_default());
            Ok(operand(0)?.mapv(|x| functions::evaluate(function, &parameters, x)))
        }
        "fhe.eval_poly" => {
            let coefficients = op.f64s("coefficients").unwrap_or_default();
            let [lower, upper] = *op.f64s("domain").unwrap_or_default() else {
                return Err("requires two numbers in 'domain'".into());
            };
            let power = access::in_power_basis(op);
            Ok(operand(0)?.mapv(|x| functions::polynomial(power, &coefficients, [lower, upper], x)))
        }
        "fhe.matmul" => {
            let swapped = |value: &ArrayD<f64>, swap: bool| {
                let mut value = value.clone();
                if swap {
                    value.swap_axes(value.ndim() - 1, value.ndim() - 2);
                }
                value
            };
            let lhs = swapped(operand(0)?, op.has("transpose_lhs"));
            let rhs = swapped(operand(1)?, op.has("transpose_rhs"));
            Ok(matmul(&lhs, &rhs, &shape))
        }
        "fhe.batch_norm" => {
            let epsilon = op.f64("epsilon").unwrap_or(1e-5);
            let [input, scale, shift, mean, variance] = operands else {
                return Err("needs five operands".into());
            };
            let mut result = input.clone();
            for (channel, mut lane) in result.axis_iter_mut(Axis(1)).enumerate() {
                let factor = scale[channel] / (variance[channel] + epsilon).sqrt();
                lane.mapv_inplace(|x| (x - mean[channel]) * factor + shift[channel]);
            }
            Ok(result)
        }
        "fhe.concat" => {
            let views: Vec<_> = operands.iter().map(|v| v.view()).collect();
            ndarray::concatenate(Axis(op.i64("dim").unwrap_or(0) as usize), &views).map_err(|e| e.to_string())
        }
        "fhe.pad" => {
            let value = op.f64("value").unwrap_or(0.0);
            let low = op.i64s("low").unwrap_or_default();
            let mut result = ArrayD::from_elem(IxDyn(&shape), value);
            for (index, x) in operand(0)?.indexed_iter() {
                let at: Vec<usize> = low.iter().enumerate().map(|(i, l)| index[i] + *l as usize).collect();
                result[IxDyn(&at)] = *x;
            }
            Ok(result)
        }
        _ => {
            let form = linear::form_of(op)?.ok_or("cannot be interpreted")?;
            let mut result = apply(&form, operands, weights)?;
            if let Some(bias) = op.symbol("bias") {
                result += &weights.get(bias).map_err(|e| e.to_string())?.mapv(f64::from);
            }
            Ok(result)
        }
    }
}

fn apply(
    form: &linear::Form<'_>,
    operands: &[ArrayD<f64>],
    weights: &Weights<'_, '_>,
) -> Result<ArrayD<f64>, String> {
    let values = form
        .weights
        .iter()
        .map(|source| match source {
            linear::Source::Operand(i) => Ok(operands[*i].mapv(|x| x as f32)),
            linear::Source::Symbol(name) => weights.get(name).map_err(|e| e.to_string()),
        })
        .collect::<Result<Vec<_>, String>>()?;
    let views: Vec<ArrayViewD<'_, f32>> = values.iter().map(|v| v.view()).collect();
    LinearOp::apply(&form.op, &operands[form.input], &views).map_err(|e| e.to_string())
}

fn elementwise(a: &ArrayD<f64>, b: &ArrayD<f64>, f: impl Fn(f64, f64) -> f64) -> Result<ArrayD<f64>, String> {
    let shape = IxDyn(&broadcast(a.shape(), b.shape())?);
    match (a.broadcast(shape.clone()), b.broadcast(shape)) {
        (Some(a), Some(b)) => Ok(Zip::from(a).and(b).map_collect(|&a, &b| f(a, b))),
        _ => Err("has operands that do not broadcast".into()),
    }
}

/// The product by its definition. The operands' shapes suit `shape`, that of the result.
fn matmul(a: &ArrayD<f64>, b: &ArrayD<f64>, shape: &[usize]) -> ArrayD<f64> {
    let a = if a.ndim() == 1 { a.clone().insert_axis(Axis(0)) } else { a.clone() };
    let b = if b.ndim() == 1 { b.clone().insert_axis(Axis(1)) } else { b.clone() };
    let (row, column) = (a.ndim() - 2, b.ndim() - 2);
    let (m, k, n) = (a.shape()[row], a.shape()[row + 1], b.shape()[column + 1]);
    let stack = shape.iter().product::<usize>() / (m * n);
    // Leading dimensions of an operand, seen from one matrix of the result's stack.
    let leading = broadcast(&a.shape()[..row], &b.shape()[..column]).unwrap_or_default();
    let position = |matrix: usize, own: &[usize]| -> usize {
        let (mut rest, mut at, mut weight) = (matrix, 0, 1);
        for (i, extent) in leading.iter().enumerate().rev() {
            let index = rest % extent;
            rest /= extent;
            if let Some(size) = (i + own.len()).checked_sub(leading.len()).map(|i| own[i]) {
                at += if size == 1 { 0 } else { index } * weight;
                weight *= size;
            }
        }
        at
    };
    let (flat_a, flat_b): (Vec<f64>, Vec<f64>) = (a.iter().copied().collect(), b.iter().copied().collect());
    let mut result = Vec::with_capacity(stack * m * n);
    for matrix in 0..stack {
        let from_a = position(matrix, &a.shape()[..row]) * m * k;
        let from_b = position(matrix, &b.shape()[..column]) * k * n;
        for i in 0..m {
            for j in 0..n {
                result.push((0..k).map(|l| flat_a[from_a + i * k + l] * flat_b[from_b + l * n + j]).sum());
            }
        }
    }
    ArrayD::from_shape_vec(IxDyn(shape), result).unwrap_or_else(|_| ArrayD::zeros(IxDyn(shape)))
}
