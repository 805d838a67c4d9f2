//! Any linear op of the dialect as the runtime's [`LinearOp`].

use super::{
    access::{Attributes, is_encrypted, name_of, value_shape},
    shapes::{self, Window},
};
use crate::bridge::hooks::*;
use ceria_runtime::format::linear::{LinearOp, Step};

/// Where a weight of a [`Form`] comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source<'c> {
    /// A clear operand of the op.
    Operand(usize),
    /// A symbol that the op names.
    Symbol(&'c str),
}

/// A linear op: what it does to one encrypted operand.
#[derive(Clone, Debug)]
pub struct Form<'c> {
    /// The number of the encrypted operand.
    pub input: usize,
    /// The operator.
    pub op: LinearOp,
    /// Its weights.
    pub weights: Vec<Source<'c>>,
}

/// The operator and the weights of an `fhe.linear`.
pub fn of_linear<'c>(op: OperationRef<'c, '_>) -> Result<(LinearOp, Vec<&'c str>), String> {
    let text = op.text("map").ok_or("requires attribute 'map'")?;
    let form = LinearOp::from_json(text).map_err(|e| e.to_string())?;
    let names = op.symbols("weights").ok_or("needs symbols in 'weights'")?;
    if names.len() != form.weights().len() {
        return Err(format!("names {} weights, but its map has {}", names.len(), form.weights().len()));
    }
    Ok((form, names))
}

/// The linear form of an op with one encrypted operand; none if the op is not linear or has several.
///
/// `pad` counts only with the value 0, and `add`, `sub` and `batch_norm` are affine, not linear.
pub fn form_of<'c>(op: OperationRef<'c, '_>) -> Result<Option<Form<'c>>, String> {
    let values: Vec<_> = op.operands().collect();
    let encrypted: Vec<_> = (0..values.len()).filter(|&i| is_encrypted(values[i].r#type())).collect();
    let &[input] = encrypted.as_slice() else { return Ok(None) };
    let shape = |i: usize| value_shape(values[i]);
    let result = || value_shape(op.result(0).map_err(|e| e.to_string())?.into());
    let dims = |name: &str| op.i64s(name).ok_or_else(|| format!("requires attribute '{name}'"));
    let sizes = |name: &str| Ok::<_, String>(dims(name)?.into_iter().map(|v| v as usize).collect::<Vec<_>>());
    let mut form = LinearOp::identity(&shape(input)?).map_err(|e| e.to_string())?;
    let mut weights = Vec::new();
    let other = 1 - input.min(1);
    let weigh = |form: &mut LinearOp, weights: &mut Vec<_>| -> Result<usize, String> {
        weights.push(Source::Operand(other));
        form.add_weight(&shape(other)?).map_err(|e| e.to_string())
    };
    let name = name_of(&op);
    let steps: Vec<Step> = match name.as_str() {
        "fhe.convert_layout" => Vec::new(),
        "fhe.neg" => vec![Step::Factor { factor: -1.0 }],
        "fhe.scale" => vec![Step::Factor { factor: op.f64("factor").ok_or("requires attribute 'factor'")? }],
        "fhe.mul" => {
            let weight = weigh(&mut form, &mut weights)?;
            let expand = (shape(input)? != result()?).then_some(Step::Expand { shape: result()? });
            expand.into_iter().chain([Step::Scale { weight }]).collect()
        }
        "fhe.matmul" => {
            let (left, right) = (op.has("transpose_lhs"), op.has("transpose_rhs"));
            let (swap, transposed) = if input == 0 { (left, right) } else { (right, left) };
            let rank = shape(input)?.len();
            let mut permutation: Vec<_> = (0..rank).collect();
            if swap {
                permutation.swap(rank - 1, rank - 2);
            }
            let weight = weigh(&mut form, &mut weights)?;
            let transpose = swap.then_some(Step::Transpose { permutation });
            transpose
                .into_iter()
                .chain([Step::MatMul { weight, weight_first: input == 1, transposed }])
                .collect()
        }
        "fhe.conv2d" => {
            let Window { strides, pads, dilations } = Window::read(&op)?;
            let groups = op.i64("groups").unwrap_or(1) as usize;
            let weight = weigh(&mut form, &mut weights)?;
            vec![Step::Conv { weight, strides, pads, dilations, groups }]
        }
        "fhe.avg_pool" => {
            let Window { strides, pads, dilations } = Window::read(&op)?;
            let kernel = shapes::pool_window(&op)?;
            let count_include_pad = op.has("count_pads");
            vec![Step::AveragePool { kernel, strides, pads, dilations, ceil_mode: false, count_include_pad }]
        }
        "fhe.reduce_sum" | "fhe.reduce_mean" => vec![Step::Reduce {
            axes: sizes("dims")?,
            mean: name == "fhe.reduce_mean",
            keep_dims: op.has("keep_dims"),
        }],
        "fhe.reshape" => vec![Step::Reshape { shape: result()? }],
        "fhe.expand" => vec![Step::Expand { shape: result()? }],
        "fhe.transpose" => vec![Step::Transpose { permutation: sizes("permutation")? }],
        "fhe.slice" => {
            vec![Step::Slice { starts: sizes("offsets")?, steps: dims("steps")?, shape: result()? }]
        }
        "fhe.pad" if op.f64("value").unwrap_or(0.0) == 0.0 => {
            vec![Step::Pad { before: sizes("low")?, after: sizes("high")? }]
        }
        "fhe.linear" => {
            let (op, names) = of_linear(op)?;
            let weights = names.into_iter().map(Source::Symbol).collect();
            return Ok(Some(Form { input, op, weights }));
        }
        _ => return Ok(None),
    };
    for step in steps {
        form.push(step).map_err(|e| e.to_string())?;
    }
    Ok(Some(Form { input, op: form, weights }))
}

/// The linear form of each operand of an `fhe.concat`: the operand among zeros. Their sum is the result.
pub fn concat_parts(op: OperationRef<'_, '_>) -> Result<Vec<LinearOp>, String> {
    let whole = value_shape(op.result(0).map_err(|e| e.to_string())?.into())?;
    let dim = op.i64("dim").unwrap_or(0) as usize;
    let mut at = 0;
    op.operands()
        .map(|value| {
            let shape = value_shape(value)?;
            let extent = *shape.get(dim).ok_or("has a dimension out of range")?;
            let mut before = vec![0; shape.len()];
            let mut after = vec![0; shape.len()];
            (before[dim], after[dim]) = (at, whole[dim] - at - extent);
            at += extent;
            let part = LinearOp::identity(&shape).and_then(|op| op.with(Step::Pad { before, after }));
            part.map_err(|e| e.to_string())
        })
        .collect()
}
