//! The shape and the sparse matrix of each step.
//!
//! [`matrix`] relies on [`output_shape`] having accepted the step: it indexes freely. With no weights bound
//! every weight counts as 1, which gives the right structure as no step multiplies by a negative number then.

use ndarray::ArrayViewD;

use super::matrix::SparseMatrix;
use super::op::{LinearError, Step};

fn error<T>(step: &'static str, reason: impl Into<String>) -> Result<T, LinearError> {
    Err(LinearError::Step { step, reason: reason.into() })
}

fn weight_shape(weights: &[Vec<usize>], index: usize) -> Result<&[usize], LinearError> {
    weights.get(index).map(Vec::as_slice).ok_or(LinearError::NoWeight { index, count: weights.len() })
}

/// The shape that a step makes of an input.
pub(super) fn output_shape(
    step: &Step,
    input: &[usize],
    weights: &[Vec<usize>],
) -> Result<Vec<usize>, LinearError> {
    match step {
        Step::MatMul { weight, weight_first, transposed } => {
            let matmul = MatMul::new(input, weight_shape(weights, *weight)?, *weight_first, *transposed)?;
            Ok(matmul.output)
        }
        Step::Conv { weight, strides, pads, dilations, groups } => {
            let w = weight_shape(weights, *weight)?;
            if input.len() < 3 || w.len() != input.len() {
                return error(
                    "conv",
                    format!("input {input:?} and weight {w:?} need the same rank, at least 3"),
                );
            }
            if *groups == 0 || input[1] != w[1] * groups || w[0] % groups != 0 {
                return error(
                    "conv",
                    format!("{} channels do not suit weight {w:?} in {groups} groups", input[1]),
                );
            }
            let spatial = window_sizes("conv", &input[2..], &w[2..], strides, pads, dilations, false)?;
            Ok([&[input[0], w[0]], &spatial[..]].concat())
        }
        Step::AveragePool { kernel, strides, pads, dilations, ceil_mode, .. } => {
            if input.len() < 3 {
                return error("average_pool", format!("input {input:?} has no spatial dimension"));
            }
            if kernel.iter().zip(pads.iter()).any(|(k, p)| p >= k && *p > 0)
                || kernel.iter().zip(pads.iter().skip(kernel.len())).any(|(k, p)| p >= k && *p > 0)
            {
                return error("average_pool", format!("padding {pads:?} is not below the kernel {kernel:?}"));
            }
            let spatial =
                window_sizes("average_pool", &input[2..], kernel, strides, pads, dilations, *ceil_mode)?;
            Ok([&input[..2], &spatial[..]].concat())
        }
        Step::Reduce { axes, keep_dims, .. } => {
            let mut shape = Vec::new();
            if let Some(axis) = axes.iter().find(|a| **a >= input.len()) {
                return error("reduce", format!("axis {axis} of an input of rank {}", input.len()));
            }
            for (dim, &size) in input.iter().enumerate() {
                match (axes.contains(&dim), keep_dims) {
                    (false, _) => shape.push(size),
                    (true, true) => shape.push(1),
                    (true, false) => {}
                }
            }
            Ok(shape)
        }
        Step::Reshape { shape } => {
            let count = |s: &[usize]| s.iter().fold(1usize, |p, n| p.saturating_mul(*n));
            if count(shape) != count(input) {
                return error(
                    "reshape",
                    format!("{input:?} and {shape:?} have different numbers of elements"),
                );
            }
            Ok(shape.clone())
        }
        Step::Transpose { permutation } => {
            let mut seen = permutation.clone();
            seen.sort_unstable();
            if seen != (0..input.len()).collect::<Vec<_>>() {
                return error("transpose", format!("{permutation:?} does not permute {} axes", input.len()));
            }
            Ok(permutation.iter().map(|&p| input[p]).collect())
        }
        Step::Slice { starts, steps, shape } => {
            if [starts.len(), steps.len(), shape.len()] != [input.len(); 3] {
                return error("slice", format!("starts, steps and shape need {} numbers each", input.len()));
            }
            for dim in 0..input.len() {
                let last = starts[dim] as i128 + (shape[dim] as i128 - 1) * i128::from(steps[dim]);
                if starts[dim] >= input[dim] || last < 0 || last >= input[dim] as i128 {
                    return error("slice", format!("dimension {dim} reaches outside the input {input:?}"));
                }
            }
            Ok(shape.clone())
        }
        Step::Pad { before, after } => {
            if before.len() != input.len() || after.len() != input.len() {
                return error("pad", format!("before and after need {} numbers each", input.len()));
            }
            let size = |d: usize| input[d].saturating_add(before[d]).saturating_add(after[d]);
            Ok((0..input.len()).map(size).collect())
        }
        Step::Expand { shape } => {
            if !broadcasts(input, shape) {
                return error("expand", format!("{input:?} does not broadcast to {shape:?}"));
            }
            Ok(shape.clone())
        }
        Step::Scale { weight } => {
            let w = weight_shape(weights, *weight)?;
            if !broadcasts(w, input) {
                return error("scale", format!("weight {w:?} does not broadcast to the input {input:?}"));
            }
            Ok(input.to_vec())
        }
        Step::Factor { factor } => {
            if !factor.is_finite() {
                return error("factor", "the factor is not finite");
            }
            Ok(input.to_vec())
        }
    }
}

/// Whether `from` broadcasts to `to` by numpy's rules.
fn broadcasts(from: &[usize], to: &[usize]) -> bool {
    from.len() <= to.len() && from.iter().rev().zip(to.iter().rev()).all(|(f, t)| f == t || *f == 1)
}

/// The sizes of the output of a sliding window.
fn window_sizes(
    step: &'static str,
    input: &[usize],
    kernel: &[usize],
    strides: &[usize],
    pads: &[usize],
    dilations: &[usize],
    ceil_mode: bool,
) -> Result<Vec<usize>, LinearError> {
    let rank = input.len();
    if [kernel.len(), strides.len(), dilations.len()] != [rank; 3] || pads.len() != 2 * rank {
        return error(step, format!("needs {rank} strides and dilations and {} pads", 2 * rank));
    }
    let limit = 1 << 31;
    if [kernel, strides, dilations].concat().iter().any(|n| *n == 0 || *n > limit)
        || pads.iter().any(|p| *p > limit)
    {
        return error(step, "kernel, strides and dilations are positive, pads not negative, none is huge");
    }
    (0..rank)
        .map(|d| {
            let padded = input[d] + pads[d] + pads[rank + d];
            let reach = (kernel[d] - 1).saturating_mul(dilations[d]) + 1;
            let Some(slack) = padded.checked_sub(reach) else {
                return error(step, format!("the window of {reach} exceeds the padded size {padded}"));
            };
            let mut size = slack / strides[d] + 1;
            if ceil_mode {
                size = slack.div_ceil(strides[d]) + 1;
                // A window must not start in the padding at the end.
                if (size - 1) * strides[d] >= input[d] + pads[d] {
                    size -= 1;
                }
            }
            Ok(size)
        })
        .collect()
}

/// A matrix product brought to one form: `output[batch, row, column] = sum_k left * right`.
struct MatMul {
    /// Leading dimensions of the result.
    batch: Vec<usize>,
    /// Rows, inner size, columns.
    sizes: [usize; 3],
    /// The result's shape, dimensions that vectors lack left out.
    output: Vec<usize>,
    /// Leading dimensions of the input and of the weight.
    input_batch: Vec<usize>,
    weight_batch: Vec<usize>,
}

impl MatMul {
    fn new(
        input: &[usize],
        weight: &[usize],
        weight_first: bool,
        transposed: bool,
    ) -> Result<Self, LinearError> {
        let mut weight = weight.to_vec();
        if transposed {
            match weight.len() {
                0 | 1 => return error("mat_mul", "a vector cannot be transposed"),
                rank => weight.swap(rank - 2, rank - 1),
            }
        }
        if input.is_empty() || weight.is_empty() {
            return error("mat_mul", "an operand has rank 0");
        }
        let (left, right) = if weight_first { (&weight[..], input) } else { (input, &weight[..]) };
        let left_vector = left.len() == 1;
        let right_vector = right.len() == 1;
        let (left_batch, rows, inner) = match left {
            [inner] => (&[][..], 1, *inner),
            [batch @ .., rows, inner] => (batch, *rows, *inner),
            [] => (&[][..], 1, 1),
        };
        let (right_batch, right_inner, columns) = match right {
            [inner] => (&[][..], *inner, 1),
            [batch @ .., inner, columns] => (batch, *inner, *columns),
            [] => (&[][..], 1, 1),
        };
        if inner != right_inner {
            return error("mat_mul", format!("{left:?} and {right:?} have different inner sizes"));
        }
        let rank = left_batch.len().max(right_batch.len());
        let size = |batch: &[usize], d: usize| (d + batch.len()).checked_sub(rank).map_or(1, |i| batch[i]);
        let mut batch = Vec::with_capacity(rank);
        for d in 0..rank {
            let (a, b) = (size(left_batch, d), size(right_batch, d));
            if a != b && a != 1 && b != 1 {
                return error("mat_mul", format!("{left:?} and {right:?} do not broadcast"));
            }
            batch.push(a.max(b));
        }
        let mut output = batch.clone();
        if !left_vector {
            output.push(rows);
        }
        if !right_vector {
            output.push(columns);
        }
        let (input_batch, weight_batch) =
            if weight_first { (right_batch, left_batch) } else { (left_batch, right_batch) };
        Ok(Self {
            sizes: [rows, inner, columns],
            output,
            input_batch: input_batch.to_vec(),
            weight_batch: weight_batch.to_vec(),
            batch,
        })
    }
}

/// The number of an element of a tensor that is broadcast, from the coordinates in the larger shape.
fn broadcast_index(shape: &[usize], coordinates: &[usize]) -> usize {
    let skip = coordinates.len() - shape.len();
    shape.iter().zip(&coordinates[skip..]).fold(0, |n, (&size, &c)| n * size + if size == 1 { 0 } else { c })
}

fn coordinates_of(shape: &[usize], mut number: usize) -> Vec<usize> {
    let mut coordinates = vec![0; shape.len()];
    for d in (0..shape.len()).rev() {
        coordinates[d] = number % shape[d];
        number /= shape[d];
    }
    coordinates
}

fn number_of(shape: &[usize], coordinates: &[usize]) -> usize {
    shape.iter().zip(coordinates).fold(0, |n, (&size, &c)| n * size + c)
}

/// The bound values of a weight in row-major order; 1 for every one when none are bound.
struct Values<'a>(Option<std::borrow::Cow<'a, [f32]>>);

impl<'a> Values<'a> {
    fn new(weights: Option<&'a [ArrayViewD<'_, f32>]>, index: usize) -> Self {
        Self(weights.and_then(|w| w.get(index)).map(|view| match view.as_slice() {
            Some(slice) => std::borrow::Cow::Borrowed(slice),
            None => std::borrow::Cow::Owned(view.iter().copied().collect()),
        }))
    }

    fn at(&self, index: usize) -> f64 {
        self.0.as_ref().map_or(1.0, |values| f64::from(values[index]))
    }
}

/// The matrix of a step that [`output_shape`] accepted; `None` for the identity.
pub(super) fn matrix(
    step: &Step,
    input: &[usize],
    output: &[usize],
    weight_shapes: &[Vec<usize>],
    weights: Option<&[ArrayViewD<'_, f32>]>,
) -> Option<SparseMatrix> {
    let rows = output.iter().product();
    let columns = input.iter().product();
    match step {
        Step::Reshape { .. } => None,
        Step::MatMul { weight, weight_first, transposed } => {
            let matmul = MatMul::new(input, &weight_shapes[*weight], *weight_first, *transposed).ok()?;
            Some(matmul_matrix(&matmul, &Values::new(weights, *weight), *weight_first, *transposed))
        }
        Step::Conv { weight, strides, pads, dilations, groups } => {
            let kernel = &weight_shapes[*weight];
            let values = Values::new(weights, *weight);
            let window = Window { kernel: &kernel[2..], strides, pads, dilations };
            let (per_group_in, per_group_out) = (kernel[1], kernel[0] / groups);
            let taps: usize = kernel[2..].iter().product();
            let plane: usize = input[2..].iter().product();
            Some(SparseMatrix::from_rows(rows, columns, |row, entries| {
                let at = coordinates_of(output, row);
                let first = at[0] * input[1] + at[1] / per_group_out * per_group_in;
                for channel in 0..per_group_in {
                    window.taps(&input[2..], &at[2..], |tap, position| {
                        let value = values.at((at[1] * per_group_in + channel) * taps + tap);
                        entries.push((((first + channel) * plane + position) as u32, value));
                    });
                }
            }))
        }
        Step::AveragePool { kernel, strides, pads, dilations, count_include_pad, .. } => {
            let window = Window { kernel, strides, pads, dilations };
            let plane: usize = input[2..].iter().product();
            Some(SparseMatrix::from_rows(rows, columns, |row, entries| {
                let at = coordinates_of(output, row);
                let channel = at[0] * input[1] + at[1];
                window.taps(&input[2..], &at[2..], |_, position| {
                    entries.push(((channel * plane + position) as u32, 1.0));
                });
                let count = if *count_include_pad {
                    window.padded_taps(&input[2..], &at[2..])
                } else {
                    entries.len()
                };
                for entry in entries {
                    entry.1 = 1.0 / count as f64;
                }
            }))
        }
        Step::Reduce { axes, mean, .. } => {
            let kept: Vec<usize> =
                input.iter().enumerate().map(|(d, &n)| if axes.contains(&d) { 1 } else { n }).collect();
            let reduced: Vec<usize> =
                input.iter().enumerate().map(|(d, &n)| if axes.contains(&d) { n } else { 1 }).collect();
            let terms: usize = reduced.iter().product();
            let value = if *mean { 1.0 / terms as f64 } else { 1.0 };
            Some(SparseMatrix::from_rows(rows, columns, |row, entries| {
                let base = coordinates_of(&kept, row);
                for term in 0..terms {
                    let mut at = coordinates_of(&reduced, term);
                    at.iter_mut().zip(&base).for_each(|(a, b)| *a += b);
                    entries.push((number_of(input, &at) as u32, value));
                }
            }))
        }
        Step::Transpose { permutation } => Some(SparseMatrix::from_rows(rows, columns, |row, entries| {
            let at = coordinates_of(output, row);
            let mut from = vec![0; at.len()];
            permutation.iter().zip(at).for_each(|(&p, c)| from[p] = c);
            entries.push((number_of(input, &from) as u32, 1.0));
        })),
        Step::Slice { starts, steps, .. } => Some(SparseMatrix::from_rows(rows, columns, |row, entries| {
            let mut at = coordinates_of(output, row);
            for (c, (&start, &step)) in at.iter_mut().zip(starts.iter().zip(steps)) {
                *c = (start as i64 + *c as i64 * step) as usize;
            }
            entries.push((number_of(input, &at) as u32, 1.0));
        })),
        Step::Pad { before, .. } => Some(SparseMatrix::from_rows(rows, columns, |row, entries| {
            let mut at = coordinates_of(output, row);
            for (d, c) in at.iter_mut().enumerate() {
                match c.checked_sub(before[d]) {
                    Some(inside) if inside < input[d] => *c = inside,
                    _ => return,
                }
            }
            entries.push((number_of(input, &at) as u32, 1.0));
        })),
        Step::Expand { .. } => Some(SparseMatrix::from_rows(rows, columns, |row, entries| {
            entries.push((broadcast_index(input, &coordinates_of(output, row)) as u32, 1.0));
        })),
        Step::Scale { weight } => {
            let values = Values::new(weights, *weight);
            let shape = &weight_shapes[*weight];
            Some(SparseMatrix::from_rows(rows, columns, |row, entries| {
                entries.push((row as u32, values.at(broadcast_index(shape, &coordinates_of(output, row)))));
            }))
        }
        Step::Factor { factor } => {
            let value = if weights.is_some() { *factor } else { 1.0 };
            Some(SparseMatrix::from_rows(rows, columns, |row, entries| entries.push((row as u32, value))))
        }
    }
}

fn matmul_matrix(matmul: &MatMul, values: &Values<'_>, weight_first: bool, transposed: bool) -> SparseMatrix {
    let [rows, inner, columns] = matmul.sizes;
    let batches: usize = matmul.batch.iter().product();
    let input_batches: usize = matmul.input_batch.iter().product();
    let input_size = if weight_first { inner * columns } else { rows * inner };
    let weight_size = if weight_first { rows * inner } else { inner * columns };
    let out = batches * rows * columns;
    SparseMatrix::from_rows(out, input_batches * input_size, |element, entries| {
        let (column, row) = (element % columns, element / columns % rows);
        let batch = coordinates_of(&matmul.batch, element / columns / rows);
        let input_base = broadcast_index(&matmul.input_batch, &batch) * input_size;
        let weight_base = broadcast_index(&matmul.weight_batch, &batch) * weight_size;
        for k in 0..inner {
            // The element of the weight as used, and where a transposed one is stored.
            let (i, j, height, width) =
                if weight_first { (row, k, rows, inner) } else { (k, column, inner, columns) };
            let stored = if transposed { j * height + i } else { i * width + j };
            let index = if weight_first { k * columns + column } else { row * inner + k };
            entries.push(((input_base + index) as u32, values.at(weight_base + stored)));
        }
    })
}

/// A sliding window over spatial dimensions.
struct Window<'a> {
    kernel: &'a [usize],
    strides: &'a [usize],
    pads: &'a [usize],
    dilations: &'a [usize],
}

impl Window<'_> {
    /// Calls a function with the number of each tap that lies inside the input, and the input position.
    fn taps(&self, input: &[usize], at: &[usize], mut tap: impl FnMut(usize, usize)) {
        let count: usize = self.kernel.iter().product();
        'taps: for number in 0..count {
            let mut position = 0;
            for (d, k) in coordinates_of(self.kernel, number).into_iter().enumerate() {
                let padded = at[d] * self.strides[d] + k * self.dilations[d];
                match padded.checked_sub(self.pads[d]) {
                    Some(inside) if inside < input[d] => position = position * input[d] + inside,
                    _ => continue 'taps,
                }
            }
            tap(number, position);
        }
    }

    /// The number of taps that lie inside the padded input.
    fn padded_taps(&self, input: &[usize], at: &[usize]) -> usize {
        let rank = input.len();
        (0..rank)
            .map(|d| {
                let end = self.pads[d] + input[d] + self.pads[rank + d];
                (0..self.kernel[d]).filter(|k| at[d] * self.strides[d] + k * self.dilations[d] < end).count()
            })
            .product()
    }
}
