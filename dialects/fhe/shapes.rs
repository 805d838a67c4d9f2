//! The shape of an op's result, from the shapes of its operands and its attributes.
//!
//! Shapes are row-major extents; what an error says follows `'fhe.op' op `. The functions work on plain numbers; the
//! type inference hooks at the end apply them.

use super::access::{self, Attributes, shape_of};
use crate::{
    bridge::{generated::fhe::EncryptedTensorType, hooks::*},
    infer_types,
};

/// NumPy's broadcast of two shapes.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let extent = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (extent(a, i), extent(b, i)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(format!("has shapes {} and {} that do not broadcast", show(a), show(b))),
        })
        .collect()
}

/// `4x8`, or `scalar`.
pub fn show(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".into();
    }
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// The shape of a matrix product; the last two dimensions of either factor may be exchanged first.
pub fn matmul(a: &[usize], b: &[usize], transpose_a: bool, transpose_b: bool) -> Result<Vec<usize>, String> {
    let swapped = |s: &[usize], swap: bool, side: &str| -> Result<Vec<usize>, String> {
        let mut s = s.to_vec();
        if swap {
            let rank = s.len();
            if rank < 2 {
                return Err(format!("transposes its {side} operand, which has rank {rank}"));
            }
            s.swap(rank - 1, rank - 2);
        }
        Ok(s)
    };
    let (mut a, mut b) = (swapped(a, transpose_a, "left")?, swapped(b, transpose_b, "right")?);
    if a.is_empty() || b.is_empty() {
        return Err("needs operands of rank 1 or more".into());
    }
    let (row, column) = (a.len() == 1, b.len() == 1);
    if row {
        a.insert(0, 1);
    }
    if column {
        b.push(1);
    }
    let (m, k, k2, n) = (a[a.len() - 2], a[a.len() - 1], b[b.len() - 2], b[b.len() - 1]);
    if k != k2 {
        return Err(format!("multiplies rows of {k} elements by columns of {k2}"));
    }
    let mut shape = broadcast(&a[..a.len() - 2], &b[..b.len() - 2])?;
    if !row {
        shape.push(m);
    }
    if !column {
        shape.push(n);
    }
    Ok(shape)
}

/// The number of places of a window in one dimension.
fn windows(
    size: usize,
    pads: [usize; 2],
    window: usize,
    stride: usize,
    dilation: usize,
) -> Result<usize, String> {
    let reach = dilation * (window - 1) + 1;
    let padded = size + pads[0] + pads[1];
    if padded < reach {
        return Err(format!("has a window of {reach} on {padded} elements"));
    }
    Ok((padded - reach) / stride + 1)
}

/// Attributes of a window, checked: numbers of the expected count that are at least `least`.
fn numbers(
    values: Option<Vec<i64>>,
    default: &[usize],
    least: i64,
    name: &str,
) -> Result<Vec<usize>, String> {
    let Some(values) = values else { return Ok(default.to_vec()) };
    if values.len() != default.len() {
        return Err(format!("has {} numbers in '{name}' instead of {}", values.len(), default.len()));
    }
    if let Some(bad) = values.iter().find(|v| **v < least || **v > i64::from(u32::MAX)) {
        return Err(format!("has {bad} in '{name}'"));
    }
    Ok(values.iter().map(|&v| v as usize).collect())
}

/// A two-dimensional window that moves over an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Step in each dimension.
    pub strides: Vec<usize>,
    /// Zeros at top, left, bottom and right.
    pub pads: Vec<usize>,
    /// Distance between neighbouring taps.
    pub dilations: Vec<usize>,
}

impl Window {
    /// Reads `strides`, `pads` and `dilations`.
    pub fn read<'c>(attributes: &impl Attributes<'c>) -> Result<Self, String> {
        Ok(Self {
            strides: numbers(attributes.i64s("strides"), &[1, 1], 1, "strides")?,
            pads: numbers(attributes.i64s("pads"), &[0; 4], 0, "pads")?,
            dilations: numbers(attributes.i64s("dilations"), &[1, 1], 1, "dilations")?,
        })
    }

    fn places(&self, image: &[usize], window: &[usize]) -> Result<[usize; 2], String> {
        let place = |i: usize| {
            windows(image[i], [self.pads[i], self.pads[i + 2]], window[i], self.strides[i], self.dilations[i])
        };
        Ok([place(0)?, place(1)?])
    }
}

/// The shape of a convolution.
pub fn conv2d(
    input: &[usize],
    kernel: &[usize],
    window: &Window,
    groups: usize,
) -> Result<Vec<usize>, String> {
    let ([batch, channels, image @ ..], [outputs, per_group, taps @ ..]) = (input, kernel) else {
        return Err("needs an input and a kernel of rank 4".into());
    };
    if image.len() != 2 || taps.len() != 2 {
        return Err("needs an input and a kernel of rank 4".into());
    }
    if groups == 0 || channels % groups != 0 || outputs % groups != 0 {
        return Err(format!("divides {channels} channels and {outputs} outputs into {groups} groups"));
    }
    if channels / groups != *per_group {
        return Err(format!("has {} channels in a group, but a kernel for {per_group}", channels / groups));
    }
    let [rows, columns] = window.places(image, taps)?;
    Ok(vec![*batch, *outputs, rows, columns])
}

/// The window of a pooling op.
pub fn pool_window<'c>(attributes: &impl Attributes<'c>) -> Result<Vec<usize>, String> {
    numbers(attributes.i64s("window"), &[1, 1], 1, "window")
}

/// The shape after pooling.
pub fn avg_pool(input: &[usize], taps: &[usize], window: &Window) -> Result<Vec<usize>, String> {
    let [batch, channels, image @ ..] = input else { return Err("needs an input of rank 4".into()) };
    if image.len() != 2 {
        return Err("needs an input of rank 4".into());
    }
    if (0..4).any(|i| window.pads[i] >= taps[i % 2]) {
        return Err("has padding as large as its window".into());
    }
    let [rows, columns] = window.places(image, taps)?;
    Ok(vec![*batch, *channels, rows, columns])
}

/// Checks that dimensions are in range and distinct.
pub fn distinct_dims(dims: &[i64], rank: usize, name: &str) -> Result<Vec<usize>, String> {
    let mut seen = vec![false; rank];
    for &dim in dims {
        if dim < 0 || dim as usize >= rank {
            return Err(format!("has dimension {dim} in '{name}', but its operand has rank {rank}"));
        }
        if std::mem::replace(&mut seen[dim as usize], true) {
            return Err(format!("has dimension {dim} twice in '{name}'"));
        }
    }
    Ok(dims.iter().map(|&d| d as usize).collect())
}

/// The shape after a reduction.
pub fn reduce(input: &[usize], dims: &[usize], keep: bool) -> Vec<usize> {
    let kept = |(i, size): (usize, &usize)| match dims.contains(&i) {
        true if keep => Some(1),
        true => None,
        false => Some(*size),
    };
    input.iter().enumerate().filter_map(kept).collect()
}

/// The shape of a transposed tensor.
pub fn transpose(input: &[usize], permutation: &[i64]) -> Result<Vec<usize>, String> {
    let dims = distinct_dims(permutation, input.len(), "permutation")?;
    if dims.len() != input.len() {
        return Err(format!("permutes {} dimensions of {}", dims.len(), input.len()));
    }
    Ok(dims.iter().map(|&d| input[d]).collect())
}

/// The shape of a slice, its bounds checked.
pub fn slice(input: &[usize], offsets: &[i64], sizes: &[i64], steps: &[i64]) -> Result<Vec<usize>, String> {
    if [offsets.len(), sizes.len(), steps.len()] != [input.len(); 3] {
        return Err(format!("needs {} offsets, sizes and steps", input.len()));
    }
    for (dim, &extent) in input.iter().enumerate() {
        let (offset, size, step) = (offsets[dim], sizes[dim], steps[dim]);
        let last = (size - 1).checked_mul(step).and_then(|way| offset.checked_add(way));
        let inside = |at: i64| at >= 0 && (at as u64) < extent as u64;
        if size < 1 || step == 0 || !inside(offset) || !last.is_some_and(inside) {
            return Err(format!(
                "takes {size} elements from {offset} by steps of {step}, but dimension {dim} has {extent}"
            ));
        }
    }
    Ok(sizes.iter().map(|&s| s as usize).collect())
}

/// The shape of a concatenation.
pub fn concat(inputs: &[Vec<usize>], dim: i64) -> Result<Vec<usize>, String> {
    let Some(first) = inputs.first() else { return Err("needs an operand".into()) };
    let dim = distinct_dims(&[dim], first.len(), "dim")?[0];
    let mut shape = first.clone();
    for input in &inputs[1..] {
        let fits = input.len() == shape.len() && (0..shape.len()).all(|i| i == dim || input[i] == first[i]);
        if !fits {
            return Err(format!("joins {} and {} along dimension {dim}", show(first), show(input)));
        }
        shape[dim] += input[dim];
    }
    Ok(shape)
}

/// The shape of a padded tensor.
pub fn pad(input: &[usize], low: &[i64], high: &[i64]) -> Result<Vec<usize>, String> {
    if low.len() != input.len() || high.len() != input.len() {
        return Err(format!("needs {} numbers in 'low' and 'high'", input.len()));
    }
    if low.iter().chain(high).any(|p| *p < 0 || *p > i64::from(u32::MAX)) {
        return Err("has a negative or huge number in 'low' or 'high'".into());
    }
    Ok(input.iter().enumerate().map(|(i, size)| size + low[i] as usize + high[i] as usize).collect())
}

/// The result's shape of any op whose types are inferred.
pub fn result_shape<'c>(
    name: &str,
    operands: &[Vec<usize>],
    attributes: &impl Attributes<'c>,
) -> Result<Vec<usize>, String> {
    let operand = |i: usize| operands.get(i).map(Vec::as_slice).ok_or_else(|| format!("has no operand {i}"));
    let list = |name: &str| attributes.i64s(name).ok_or_else(|| format!("requires attribute '{name}'"));
    match name {
        "fhe.add" | "fhe.sub" | "fhe.mul" => broadcast(operand(0)?, operand(1)?),
        "fhe.matmul" => {
            let (lhs, rhs) = (attributes.has("transpose_lhs"), attributes.has("transpose_rhs"));
            matmul(operand(0)?, operand(1)?, lhs, rhs)
        }
        "fhe.conv2d" => {
            let groups = attributes.i64("groups").unwrap_or(1).try_into().unwrap_or(0);
            conv2d(operand(0)?, operand(1)?, &Window::read(attributes)?, groups)
        }
        "fhe.avg_pool" => avg_pool(operand(0)?, &pool_window(attributes)?, &Window::read(attributes)?),
        "fhe.reduce_sum" | "fhe.reduce_mean" => {
            let dims = distinct_dims(&list("dims")?, operand(0)?.len(), "dims")?;
            Ok(reduce(operand(0)?, &dims, attributes.has("keep_dims")))
        }
        "fhe.transpose" => transpose(operand(0)?, &list("permutation")?),
        "fhe.slice" => slice(operand(0)?, &list("offsets")?, &list("sizes")?, &list("steps")?),
        "fhe.concat" => concat(operands, attributes.i64("dim").ok_or("requires attribute 'dim'")?),
        "fhe.pad" => pad(operand(0)?, &list("low")?, &list("high")?),
        other => Err(format!("has no shape rule for {other}")),
    }
}

fn infer<'c>(name: &str, args: &InferArgs<'c, '_>) -> Result<Vec<Type<'c>>, String> {
    let types: Vec<Type<'c>> = args.operands.iter().map(|v| v.r#type()).collect();
    let shapes = types
        .iter()
        .map(|t| shape_of(*t).ok_or_else(|| format!("has an operand of type {t}")))
        .collect::<Result<Vec<_>, _>>()?;
    let shape = result_shape(name, &shapes, args).map_err(|e| format!("'{name}' op {e}"))?;
    // Elementwise ops keep the layout; no other inferred op has one.
    let layout = match name {
        "fhe.add" | "fhe.sub" | "fhe.mul" => {
            types.iter().filter_map(|t| EncryptedTensorType::try_from(*t).ok()).map(|t| t.layout()).next()
        }
        _ => None,
    };
    let extents: Vec<i64> = shape.iter().map(|&s| s as i64).collect();
    Ok(vec![access::tensor_type_in(args.context, &extents, layout.unwrap_or_default())?])
}

infer_types!(fhe_add, |args| infer("fhe.add", args));
infer_types!(fhe_sub, |args| infer("fhe.sub", args));
infer_types!(fhe_mul, |args| infer("fhe.mul", args));
infer_types!(fhe_matmul, |args| infer("fhe.matmul", args));
infer_types!(fhe_conv2d, |args| infer("fhe.conv2d", args));
infer_types!(fhe_avg_pool, |args| infer("fhe.avg_pool", args));
infer_types!(fhe_reduce_sum, |args| infer("fhe.reduce_sum", args));
infer_types!(fhe_reduce_mean, |args| infer("fhe.reduce_mean", args));
infer_types!(fhe_transpose, |args| infer("fhe.transpose", args));
infer_types!(fhe_slice, |args| infer("fhe.slice", args));
infer_types!(fhe_concat, |args| infer("fhe.concat", args));
infer_types!(fhe_pad, |args| infer("fhe.pad", args));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast(&[4, 1], &[8]), Ok(vec![4, 8]));
        assert_eq!(broadcast(&[], &[2, 3]), Ok(vec![2, 3]));
        assert!(broadcast(&[4], &[3]).is_err());
    }

    #[test]
    fn products_of_vectors_and_stacks() {
        assert_eq!(matmul(&[3], &[3], false, false), Ok(vec![]));
        assert_eq!(matmul(&[2, 3], &[3], false, false), Ok(vec![2]));
        assert_eq!(matmul(&[5, 2, 3], &[4, 3], false, true), Ok(vec![5, 2, 4]));
        assert!(matmul(&[2, 3], &[2, 3], false, false).is_err());
        assert!(matmul(&[3], &[3], true, false).is_err());
    }

    #[test]
    fn windows_count_like_onnx() {
        let window = Window { strides: vec![2, 2], pads: vec![1, 1, 1, 1], dilations: vec![1, 1] };
        assert_eq!(conv2d(&[1, 2, 7, 5], &[4, 2, 3, 3], &window, 1), Ok(vec![1, 4, 4, 3]));
        assert_eq!(conv2d(&[1, 2, 7, 5], &[4, 1, 3, 3], &window, 2), Ok(vec![1, 4, 4, 3]));
        assert!(conv2d(&[1, 3, 7, 5], &[4, 1, 3, 3], &window, 2).is_err());
        assert!(conv2d(&[1, 2, 0, 5], &[4, 2, 3, 3], &window, 1).is_err());
        assert_eq!(
            avg_pool(&[1, 2, 8, 8], &[2, 2], &Window { pads: vec![0; 4], ..window }),
            Ok(vec![1, 2, 4, 4])
        );
    }

    #[test]
    fn slices_stay_inside() {
        assert_eq!(slice(&[8], &[7], &[4], &[-2]), Ok(vec![4]));
        assert!(slice(&[8], &[7], &[5], &[-2]).is_err());
        assert!(slice(&[8], &[0], &[i64::MAX], &[i64::MAX]).is_err());
        assert!(slice(&[8], &[0], &[0], &[1]).is_err());
    }

    #[test]
    fn concatenation_and_padding() {
        assert_eq!(concat(&[vec![2, 3], vec![2, 5]], 1), Ok(vec![2, 8]));
        assert!(concat(&[vec![2, 3], vec![3, 5]], 1).is_err());
        assert_eq!(pad(&[2, 3], &[0, 1], &[2, 0]), Ok(vec![4, 4]));
        assert!(pad(&[2], &[-1], &[0]).is_err());
    }
}
