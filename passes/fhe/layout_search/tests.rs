//! Plans compute what the graph says, and are as cheap as known packings.

use ceria_runtime::format::layout::Layout;
use ceria_runtime::format::linear::{LinearOp, SlotMatrix, Step};
use ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::{BeamSearch, Graph, LayoutSearch, Node, Plan, SearchError};

fn numbers(shape: &[usize], seed: u64) -> ArrayD<f64> {
    let mut state = seed | 1;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) % 9) as f64 - 4.0
    })
}

fn weights(op: &LinearOp, seed: u64) -> Vec<ArrayD<f32>> {
    op.weights().iter().zip(seed..).map(|(shape, s)| numbers(shape, s * 7 + 3).mapv(|v| v as f32)).collect()
}

fn matmul(input: &[usize], weight: &[usize]) -> LinearOp {
    let mut op = LinearOp::identity(input).unwrap();
    let weight = op.add_weight(weight).unwrap();
    op.with(Step::MatMul { weight, weight_first: false, transposed: false }).unwrap()
}

fn conv(op: LinearOp, weight: &[usize], stride: usize) -> LinearOp {
    let mut op = op;
    let weight = op.add_weight(weight).unwrap();
    op.with(Step::Conv {
        weight,
        strides: vec![stride; 2],
        pads: vec![1; 4],
        dilations: vec![1; 2],
        groups: 1,
    })
    .unwrap()
}

fn pool(op: LinearOp) -> LinearOp {
    op.with(Step::AveragePool {
        kernel: vec![2, 2],
        strides: vec![2, 2],
        pads: vec![0; 4],
        dilations: vec![1; 2],
        ceil_mode: false,
        count_include_pad: false,
    })
    .unwrap()
}

/// Runs a graph in slots as planned, and on tensors by definition; elementwise nodes add their operands and
/// square the sum. All values have to agree.
fn check(graph: &Graph, plan: &Plan) {
    let count = graph.values().len();
    let mut tensors: Vec<Option<ArrayD<f64>>> = vec![None; count];
    let mut slots: Vec<Option<Vec<Vec<f64>>>> = vec![None; count];
    let computed: Vec<usize> = graph
        .nodes()
        .iter()
        .map(|n| match n {
            Node::Linear { output, .. } | Node::Elementwise { output, .. } => *output,
        })
        .collect();
    for value in (0..count).filter(|v| !computed.contains(v)) {
        let x = numbers(&graph.values()[value].shape, value as u64 + 11);
        slots[value] = Some(plan.layouts[value].pack(&x.view()).unwrap());
        tensors[value] = Some(x);
    }
    for (number, node) in graph.nodes().iter().enumerate() {
        match node {
            Node::Linear { op, input, output } => {
                let w = weights(op, number as u64);
                let views: Vec<ArrayViewD<'_, f32>> = w.iter().map(|w| w.view()).collect();
                let matrix: &SlotMatrix = plan.kernels[number].as_ref().unwrap();
                let (from, to) = (&plan.layouts[*input], &plan.layouts[*output]);
                let values = matrix.values(op, &views, from, to).unwrap();
                let y = matrix.apply(&values, slots[*input].as_ref().unwrap());
                let expected = op.apply(tensors[*input].as_ref().unwrap(), &views).unwrap();
                // Small whole numbers keep later products exact enough to compare.
                let shrink = 1.0 / expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
                slots[*output] = Some(y.iter().map(|c| c.iter().map(|v| v * shrink).collect()).collect());
                tensors[*output] = Some(expected * shrink);
            }
            Node::Elementwise { inputs, output, .. } => {
                let mut y = tensors[inputs[0]].clone().unwrap();
                let mut s = slots[inputs[0]].clone().unwrap();
                for other in &inputs[1..] {
                    y += tensors[*other].as_ref().unwrap();
                    for (a, b) in s.iter_mut().zip(slots[*other].as_ref().unwrap()) {
                        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                    }
                }
                tensors[*output] = Some(y.mapv(|v| v * v));
                slots[*output] = Some(s.iter().map(|c| c.iter().map(|v| v * v).collect()).collect());
            }
        }
    }
    for value in 0..count {
        let expected = plan.layouts[value].pack(&tensors[value].as_ref().unwrap().view()).unwrap();
        for (have, want) in slots[value].as_ref().unwrap().iter().zip(&expected) {
            assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "value {value}");
        }
    }
}

#[test]
fn perceptron_is_packed_in_rolled_copies() {
    let mut graph = Graph::new(4096);
    let x = graph.input(&[1, 784], None).unwrap();
    let h = graph.linear(matmul(&[1, 784], &[784, 128]), x).unwrap();
    let h = graph.elementwise(&[h], 4.0).unwrap();
    graph.linear(matmul(&[1, 128], &[128, 10]), h).unwrap();
    let plan = BeamSearch::default().search(&graph).unwrap();
    check(&graph, &plan);
    let first = plan.kernels[0].as_ref().unwrap();
    assert_eq!((first.diagonals(), first.folds.len()), (32, 5));
    assert!(first.rotations() <= 15, "{}", first.rotations());
    let last = plan.kernels[2].as_ref().unwrap();
    assert!(last.rotations() <= 11, "{}", last.rotations());
}

#[test]
fn square_product_takes_eight_rotations() {
    let mut graph = Graph::new(4096);
    let x = graph.input(&[128], None).unwrap();
    graph.linear(matmul(&[128], &[128, 128]), x).unwrap();
    let plan = BeamSearch::default().search(&graph).unwrap();
    check(&graph, &plan);
    assert_eq!(plan.kernels[0].as_ref().unwrap().rotations(), 8);
}

#[test]
fn batch_of_samples_lies_in_columns() {
    let mut graph = Graph::new(4096);
    let x = graph.input(&[32, 128], None).unwrap();
    graph.linear(matmul(&[32, 128], &[128, 1]), x).unwrap();
    let plan = BeamSearch::default().search(&graph).unwrap();
    check(&graph, &plan);
    assert_eq!(plan.layouts[0].to_string(), "[1:128:1, 0:32:1]");
    assert!(plan.kernels[0].as_ref().unwrap().rotations() <= 8);
}

#[test]
fn network_of_convolutions() {
    let mut graph = Graph::new(1024);
    let x = graph.input(&[1, 1, 12, 12], None).unwrap();
    let a = graph.linear(conv(LinearOp::identity(&[1, 1, 12, 12]).unwrap(), &[3, 1, 3, 3], 1), x).unwrap();
    let a = graph.elementwise(&[a], 5.0).unwrap();
    let op = conv(pool(LinearOp::identity(&[1, 3, 12, 12]).unwrap()), &[4, 3, 3, 3], 1);
    let b = graph.linear(op, a).unwrap();
    let b = graph.elementwise(&[b], 5.0).unwrap();
    let op = LinearOp::identity(&[1, 4, 6, 6]).unwrap().with(Step::Reshape { shape: vec![1, 144] }).unwrap();
    graph.linear(op.then(&matmul(&[1, 144], &[144, 10])).unwrap(), b).unwrap();
    let plan = BeamSearch::default().search(&graph).unwrap();
    check(&graph, &plan);
    assert_eq!(plan.kernels[0].as_ref().unwrap().diagonals(), 9);
}

#[test]
fn residual_sums_share_a_layout() {
    let mut graph = Graph::new(256);
    let x = graph.input(&[1, 2, 8, 8], None).unwrap();
    let y = graph.linear(conv(LinearOp::identity(&[1, 2, 8, 8]).unwrap(), &[2, 2, 3, 3], 1), x).unwrap();
    let z = graph.elementwise(&[x, y], 1.0).unwrap();
    let w = graph.linear(conv(LinearOp::identity(&[1, 2, 8, 8]).unwrap(), &[8, 2, 3, 3], 2), z).unwrap();
    let plan = BeamSearch::default().search(&graph).unwrap();
    check(&graph, &plan);
    assert_eq!(plan.layouts[x], plan.layouts[z]);
    assert_eq!(plan.layouts[y], plan.layouts[z]);
    assert_eq!(plan.layouts[w].ciphertexts(), 1);
}

#[test]
fn large_tensors_span_ciphertexts() {
    let mut graph = Graph::new(64);
    let x = graph.input(&[1, 100], None).unwrap();
    let y = graph.linear(matmul(&[1, 100], &[100, 70]), x).unwrap();
    graph.elementwise(&[y], 1.0).unwrap();
    let plan = BeamSearch::default().search(&graph).unwrap();
    check(&graph, &plan);
    assert_eq!((plan.layouts[x].ciphertexts(), plan.layouts[y].ciphertexts()), (2, 2));
}

#[test]
fn prescribed_layouts_stay() {
    let mut graph = Graph::new(64);
    let fixed = Layout::parse("[1:8:1, G:8]").unwrap();
    let x = graph.input(&[1, 8], Some(fixed.clone())).unwrap();
    let y = graph.linear(matmul(&[1, 8], &[8, 8]), x).unwrap();
    let z = graph.elementwise(&[y], 1.0).unwrap();
    let output = Layout::parse("[G:4, 1:8:1, R:2]").unwrap();
    graph.fix(z, output.clone()).unwrap();
    let plan = BeamSearch::default().search(&graph).unwrap();
    check(&graph, &plan);
    assert_eq!(plan.layouts, [fixed.clone(), output.clone(), output]);
    graph.fix(y, fixed).unwrap();
    assert!(matches!(BeamSearch::default().search(&graph), Err(SearchError::Conflict(..))));
}

#[test]
fn graphs_that_do_not_fit_are_refused() {
    let mut graph = Graph::new(64);
    let x = graph.input(&[2, 8], None).unwrap();
    let y = graph.input(&[8], None).unwrap();
    assert_eq!(graph.elementwise(&[x, y], 1.0), Err(SearchError::Shapes(vec![2, 8], vec![8])));
    assert_eq!(graph.elementwise(&[9], 1.0), Err(SearchError::NoValue(9)));
    assert!(matches!(graph.linear(matmul(&[3, 8], &[8, 8]), x), Err(SearchError::Linear(_))));
    assert!(matches!(graph.fix(x, Layout::parse("[R:64]").unwrap()), Err(SearchError::Layout(_))));
    assert!(matches!(
        graph.fix(y, Layout::parse("[0:8:1]").unwrap()),
        Err(SearchError::Layout(ceria_runtime::format::layout::LayoutError::Slots { .. }))
    ));
}
