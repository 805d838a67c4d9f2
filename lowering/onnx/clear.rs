//! The clear model: a graph evaluated on real numbers.
//!
//! Every operator is computed by its definition in `f64`, so that the result is the exact network's to within
//! rounding far below any encrypted precision. `ceria check` compares with it, and constants are folded with it.
//! It shares no code with the linear operators that the compiler makes.

use super::{
    error::OnnxError,
    graph::{Graph, Operator, Post, Windows},
};
use indexmap::IndexMap;
use ndarray::{ArrayD, ArrayViewD, Axis, Dimension, Ix2, IxDyn, Zip, concatenate};

/// Evaluates a network on one sample.
///
/// `inputs` has an array for each input by name. The result has an array for each output by name, after
/// post-processing.
///
/// # Errors
/// An input is missing, unknown, of the wrong shape, or has elements that are not finite.
pub fn evaluate(
    graph: &Graph,
    inputs: &IndexMap<String, ArrayD<f64>>,
) -> Result<IndexMap<String, ArrayD<f64>>, OnnxError> {
    let values = evaluate_all(graph, inputs)?;
    let mut results = IndexMap::new();
    for output in &graph.outputs {
        let mut result = values[output.value.index()].clone().unwrap_or_default();
        if let Some((post, shape)) = &output.post {
            result = apply(&Operator::Post(post.clone()), &[result.view()], shape);
        }
        results.insert(output.name.clone(), result);
    }
    Ok(results)
}

/// Like [`evaluate`], but gives every value of the graph, without post-processing.
pub fn evaluate_all(
    graph: &Graph,
    inputs: &IndexMap<String, ArrayD<f64>>,
) -> Result<Vec<Option<ArrayD<f64>>>, OnnxError> {
    let error = |name: &str, reason: String| OnnxError::Input { name: name.to_owned(), reason };
    if let Some(name) =
        inputs.keys().find(|name| graph.inputs.iter().all(|&id| &graph.value(id).name != *name))
    {
        return Err(error(name, "the model has no such input".to_owned()));
    }
    let mut values: Vec<Option<ArrayD<f64>>> = graph
        .values
        .iter()
        .map(|value| value.constant.as_ref().map(super::graph::Constant::to_f64))
        .collect();
    for &id in &graph.inputs {
        let value = graph.value(id);
        let given = inputs.get(&value.name).ok_or_else(|| error(&value.name, "it is missing".to_owned()))?;
        if given.shape() != value.shape {
            let reason = format!("its shape is {:?}, the model takes {:?}", given.shape(), value.shape);
            return Err(error(&value.name, reason));
        }
        if given.iter().any(|element| !element.is_finite()) {
            return Err(error(&value.name, "it has elements that are not finite".to_owned()));
        }
        values[id.index()] = Some(given.clone());
    }
    for node in &graph.nodes {
        // Operands come before their uses, so all are there.
        let operands: Vec<_> =
            node.inputs.iter().filter_map(|id| values[id.index()].as_ref()).map(|x| x.view()).collect();
        let result = apply(&node.operator, &operands, &graph.value(node.output).shape);
        values[node.output.index()] = Some(result);
    }
    Ok(values)
}

/// One operator on operands whose shapes were checked when it was resolved; `shape` is the result's.
pub(super) fn apply(operator: &Operator, operands: &[ArrayViewD<'_, f64>], shape: &[usize]) -> ArrayD<f64> {
    let x = &operands[0];
    match operator {
        Operator::Add => elementwise(operands, shape, |l, r| l + r),
        Operator::Sub => elementwise(operands, shape, |l, r| l - r),
        Operator::Mul => elementwise(operands, shape, |l, r| l * r),
        Operator::Div => elementwise(operands, shape, |l, r| l / r),
        Operator::Neg => x.mapv(|v| -v),
        Operator::Relu => x.mapv(|v| v.max(0.0)),
        Operator::Sigmoid => x.mapv(|v| 1.0 / (1.0 + (-v).exp())),
        Operator::Tanh => x.mapv(f64::tanh),
        // Not `clamp`: bounds in the wrong order give the upper one.
        Operator::Clip { low, high } => x.mapv(|v| v.max(*low).min(*high)),
        Operator::Pow { exponent } => x.mapv(|v| v.powi(*exponent as i32)),
        Operator::Identity => x.to_owned(),
        Operator::MatMul => matmul(x, &operands[1], shape),
        Operator::Gemm { alpha, beta, transpose_a, transpose_b } => {
            let swapped = |m: &ArrayViewD<'_, f64>, swap: bool| {
                if swap { m.clone().reversed_axes().to_owned() } else { m.to_owned() }
            };
            let (a, b) = (swapped(x, *transpose_a), swapped(&operands[1], *transpose_b));
            let mut y = matmul(&a.view(), &b.view(), shape) * *alpha;
            if let Some(bias) = operands.get(2) {
                y = y + broadcast(bias, shape) * *beta;
            }
            y
        }
        Operator::Conv { windows, groups } => conv(operands, windows, *groups, shape),
        Operator::AveragePool { windows, count_pads } => average_pool(x, windows, *count_pads, shape),
        Operator::GlobalAveragePool => {
            let axes: Vec<usize> = (2..x.ndim()).collect();
            reduce(x, &axes, true, true)
        }
        Operator::BatchNormalization { epsilon } => {
            let mut y = x.to_owned();
            for (channel, mut part) in y.axis_iter_mut(Axis(1)).enumerate() {
                let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|operand| operands[operand][[channel]]);
                part.mapv_inplace(|v| scale * (v - mean) / (variance + epsilon).sqrt() + shift);
            }
            y
        }
        Operator::ReduceSum { axes, keep_dims } => reduce(x, axes, *keep_dims, false),
        Operator::ReduceMean { axes, keep_dims } => reduce(x, axes, *keep_dims, true),
        Operator::Reshape => reshape(x, shape),
        Operator::Transpose { permutation } => x.view().permuted_axes(permutation.as_slice()).to_owned(),
        Operator::Slice { starts, steps } => ArrayD::from_shape_fn(shape, |at| {
            let from: Vec<usize> =
                (0..shape.len()).map(|d| (starts[d] as i64 + at[d] as i64 * steps[d]) as usize).collect();
            x[IxDyn(&from)]
        }),
        // Shapes were checked, so the parts fit.
        Operator::Concat { axis } => concatenate(Axis(*axis), operands).unwrap_or_default(),
        Operator::Pad { low, high: _, value } => ArrayD::from_shape_fn(shape, |at| {
            let from: Vec<usize> = (0..shape.len())
                .map(|d| usize::try_from(at[d] as i64 - low[d]).unwrap_or(usize::MAX))
                .collect();
            x.get(IxDyn(&from)).copied().unwrap_or(*value)
        }),
        Operator::Expand => broadcast(x, shape),
        Operator::Post(post) => apply_post(post, x, shape),
    }
}

fn apply_post(post: &Post, x: &ArrayViewD<'_, f64>, shape: &[usize]) -> ArrayD<f64> {
    match *post {
        Post::Softmax { axis } => log_softmax(x, axis).mapv(f64::exp),
        Post::LogSoftmax { axis } => log_softmax(x, axis),
        Post::ArgMax { axis, last, .. } => {
            let best = x.map_axis(Axis(axis), |lane| {
                let better = |l: f64, r: f64| if last { l >= r } else { l > r };
                let mut at = 0;
                for (index, &value) in lane.iter().enumerate().skip(1) {
                    if better(value, lane[at]) {
                        at = index;
                    }
                }
                at as f64
            });
            reshape(&best.view(), shape)
        }
    }
}

fn log_softmax(x: &ArrayViewD<'_, f64>, axis: usize) -> ArrayD<f64> {
    let mut y = x.to_owned();
    for mut lane in y.lanes_mut(Axis(axis)) {
        let largest = lane.fold(f64::NEG_INFINITY, |l, &r| l.max(r));
        let sum: f64 = lane.iter().map(|v| (v - largest).exp()).sum();
        lane.mapv_inplace(|v| v - largest - sum.ln());
    }
    y
}

fn broadcast(x: &ArrayViewD<'_, f64>, shape: &[usize]) -> ArrayD<f64> {
    x.broadcast(shape).map_or_else(|| x.to_owned(), |view| view.to_owned())
}

fn reshape(x: &ArrayViewD<'_, f64>, shape: &[usize]) -> ArrayD<f64> {
    let mut elements = x.iter();
    ArrayD::from_shape_simple_fn(shape, || elements.next().copied().unwrap_or_default())
}

fn elementwise(
    operands: &[ArrayViewD<'_, f64>],
    shape: &[usize],
    f: impl Fn(f64, f64) -> f64,
) -> ArrayD<f64> {
    let mut y = broadcast(&operands[0], shape);
    Zip::from(&mut y).and_broadcast(&operands[1]).for_each(|l, &r| *l = f(*l, r));
    y
}

fn reduce(x: &ArrayViewD<'_, f64>, axes: &[usize], keep_dims: bool, mean: bool) -> ArrayD<f64> {
    let mut y = x.to_owned();
    let mut terms = 1;
    for &axis in axes.iter().rev() {
        terms *= y.len_of(Axis(axis));
        y = y.sum_axis(Axis(axis));
        if keep_dims {
            y = y.insert_axis(Axis(axis));
        }
    }
    if mean { y / terms as f64 } else { y }
}

fn matmul(left: &ArrayViewD<'_, f64>, right: &ArrayViewD<'_, f64>, shape: &[usize]) -> ArrayD<f64> {
    let matrix = |x: &ArrayViewD<'_, f64>, vector_axis: usize| {
        if x.ndim() == 1 { x.to_owned().insert_axis(Axis(vector_axis)) } else { x.to_owned() }
    };
    let (left_matrices, right_matrices) = (matrix(left, 0), matrix(right, 1));
    let (rows, inner) = last_two(left_matrices.shape());
    let columns = last_two(right_matrices.shape()).1;
    let batch = &shape[..shape.len() - usize::from(left.ndim() > 1) - usize::from(right.ndim() > 1)];
    let extent = |parts: &[usize]| [batch, parts].concat();
    let left_all = broadcast(&left_matrices.view(), &extent(&[rows, inner]));
    let right_all = broadcast(&right_matrices.view(), &extent(&[inner, columns]));
    let mut y = ArrayD::zeros(extent(&[rows, columns]));
    for at in ndarray::indices(IxDyn(batch)) {
        let index = at.slice();
        let part = |x: &ArrayD<f64>| {
            let mut view = x.view();
            for &i in index {
                view = view.index_axis_move(Axis(0), i);
            }
            view.to_owned().into_dimensionality::<Ix2>().unwrap_or_default()
        };
        let product = part(&left_all).dot(&part(&right_all));
        let mut target = y.view_mut();
        for &i in index {
            target = target.index_axis_move(Axis(0), i);
        }
        target.assign(&product);
    }
    reshape(&y.view(), shape)
}

fn last_two(shape: &[usize]) -> (usize, usize) {
    (shape[shape.len() - 2], shape[shape.len() - 1])
}

/// The places of window `at` that lie in the tensor, as pairs of an index in the window and one in the tensor.
fn window_places(windows: &Windows, at: &[usize], extents: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let taps = ndarray::indices(IxDyn(&windows.kernel));
    taps.into_iter()
        .filter_map(|tap| {
            let from: Option<Vec<usize>> = (0..at.len())
                .map(|d| {
                    let place = at[d] * windows.strides[d] + tap[d] * windows.dilations[d];
                    place.checked_sub(windows.low[d]).filter(|&place| place < extents[d])
                })
                .collect();
            Some((tap.slice().to_vec(), from?))
        })
        .collect()
}

fn conv(operands: &[ArrayViewD<'_, f64>], windows: &Windows, groups: usize, shape: &[usize]) -> ArrayD<f64> {
    let (x, kernel) = (&operands[0], &operands[1]);
    let outputs_per_group = shape[1] / groups;
    let inputs_per_group = kernel.shape()[1];
    let mut y = ArrayD::zeros(shape);
    for at in ndarray::indices(IxDyn(&shape[2..])) {
        let places = window_places(windows, at.slice(), &x.shape()[2..]);
        for batch in 0..shape[0] {
            for output in 0..shape[1] {
                let first = output / outputs_per_group * inputs_per_group;
                let mut sum = operands.get(2).map_or(0.0, |bias| bias[[output]]);
                for (tap, from) in &places {
                    for input in 0..inputs_per_group {
                        let weight = kernel[IxDyn(&[&[output, input], &tap[..]].concat())];
                        sum += weight * x[IxDyn(&[&[batch, first + input], &from[..]].concat())];
                    }
                }
                y[IxDyn(&[&[batch, output], at.slice()].concat())] = sum;
            }
        }
    }
    y
}

fn average_pool(
    x: &ArrayViewD<'_, f64>,
    windows: &Windows,
    count_pads: bool,
    shape: &[usize],
) -> ArrayD<f64> {
    let mut y = ArrayD::zeros(shape);
    for at in ndarray::indices(IxDyn(&shape[2..])) {
        let places = window_places(windows, at.slice(), &x.shape()[2..]);
        let terms =
            if count_pads { padded_places(windows, at.slice(), &x.shape()[2..]) } else { places.len() };
        for batch in 0..shape[0] {
            for channel in 0..shape[1] {
                let sum: f64 =
                    places.iter().map(|(_, from)| x[IxDyn(&[&[batch, channel], &from[..]].concat())]).sum();
                // A window that lies in the padding alone has no elements; its mean is defined as 0.
                y[IxDyn(&[&[batch, channel], at.slice()].concat())] = sum / terms.max(1) as f64;
            }
        }
    }
    y
}

/// The number of places of window `at` that lie in the tensor.
pub(super) fn inner_places(windows: &Windows, at: &[usize], extents: &[usize]) -> usize {
    window_places(windows, at, extents).len()
}

/// The number of places of window `at` that lie in the tensor or its declared padding.
pub(super) fn padded_places(windows: &Windows, at: &[usize], extents: &[usize]) -> usize {
    (0..at.len())
        .map(|d| {
            let end = extents[d] + windows.low[d] + windows.high[d];
            (0..windows.kernel[d])
                .filter(|tap| at[d] * windows.strides[d] + tap * windows.dilations[d] < end)
                .count()
        })
        .product()
}
