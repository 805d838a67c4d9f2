//! Linear operators against their definition, and slot matrices against the operators.

use ndarray::{ArrayD, ArrayViewD, IxDyn};
use proptest::prelude::*;

use super::{LinearError, LinearOp, RotationCost, SlotMatrix, Step};
use crate::format::layout::Layout;
use crate::format::layout::tests::random_layout;

/// Small whole numbers, so that sums are exact.
fn numbers(shape: &[usize], seed: u64) -> ArrayD<f64> {
    let mut state = seed | 1;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) % 17) as f64 - 8.0
    })
}

fn weights_of(op: &LinearOp, seed: u64) -> Vec<ArrayD<f32>> {
    op.weights().iter().zip(seed..).map(|(shape, s)| numbers(shape, s * 7 + 3).mapv(|v| v as f32)).collect()
}

fn views(weights: &[ArrayD<f32>]) -> Vec<ArrayViewD<'_, f32>> {
    weights.iter().map(|w| w.view()).collect()
}

fn assert_close(a: &ArrayD<f64>, b: &ArrayD<f64>) {
    assert_eq!(a.shape(), b.shape());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= 1e-9 * (1.0 + x.abs()), "{x} and {y}");
    }
}

/// The sparse matrix agrees with the definition.
fn check_matrix(op: &LinearOp, seed: u64) {
    let weights = weights_of(op, seed);
    let x = numbers(op.input_shape(), seed);
    let expected = op.apply(&x, &views(&weights)).unwrap();
    let matrix = op.matrix(&views(&weights)).unwrap();
    let structure = op.structure().unwrap();
    let flat: Vec<f64> = x.iter().copied().collect();
    let y = ArrayD::from_shape_vec(IxDyn(op.output_shape()), matrix.apply(&flat)).unwrap();
    assert_close(&y, &expected);
    assert_eq!((matrix.rows(), matrix.entries()), (structure.rows(), structure.entries()));
    for row in 0..matrix.rows() {
        assert_eq!(matrix.row(row).0, structure.row(row).0);
        assert!(structure.row(row).1.iter().all(|v| *v > 0.0));
    }
    assert_eq!(LinearOp::from_json(&op.to_json().unwrap()).unwrap(), *op);
}

/// The slot matrix agrees with the definition, in every copy, and leaves zeros elsewhere.
fn check_slots(op: &LinearOp, input: &Layout, output: &Layout, seed: u64) -> SlotMatrix {
    let weights = weights_of(op, seed);
    let x = numbers(op.input_shape(), seed);
    let expected = op.apply(&x, &views(&weights)).unwrap();
    let matrix = SlotMatrix::new(op, input, output, &RotationCost::default()).unwrap();
    let values = matrix.values(op, &views(&weights), input, output).unwrap();
    assert!(values.iter().all(|d| d.values.len() == matrix.period));
    let y = matrix.apply(&values, &input.pack(&x.view()).unwrap());
    let wanted = output.pack(&expected.view()).unwrap();
    for (have, want) in y.iter().zip(&wanted) {
        for (s, (a, b)) in have.iter().zip(want).enumerate() {
            assert!((a - b).abs() <= 1e-9 * (1.0 + b.abs()), "slot {s}: {a} and {b}");
        }
    }
    assert_eq!(y.len(), wanted.len());
    matrix
}

fn op(input: &[usize], weights: &[&[usize]], steps: Vec<Step>) -> LinearOp {
    let mut op = LinearOp::identity(input).unwrap();
    for weight in weights {
        op.add_weight(weight).unwrap();
    }
    for step in steps {
        op.push(step).unwrap();
    }
    op
}

fn matmul(weight: usize) -> Step {
    Step::MatMul { weight, weight_first: false, transposed: false }
}

fn conv(strides: &[usize], pads: &[usize], dilations: &[usize], groups: usize) -> Step {
    Step::Conv { weight: 0, strides: strides.into(), pads: pads.into(), dilations: dilations.into(), groups }
}

fn pool(kernel: &[usize], strides: &[usize], pads: &[usize], ceil_mode: bool, include: bool) -> Step {
    Step::AveragePool {
        kernel: kernel.into(),
        strides: strides.into(),
        pads: pads.into(),
        dilations: vec![1; kernel.len()],
        ceil_mode,
        count_include_pad: include,
    }
}

/// Operators of every kind, small.
fn samples() -> Vec<LinearOp> {
    let matmul_with = |weight_first, transposed| Step::MatMul { weight: 0, weight_first, transposed };
    vec![
        LinearOp::identity(&[3, 5]).unwrap(),
        op(&[2, 6], &[&[6, 4]], vec![matmul(0)]),
        op(&[6], &[&[6, 4]], vec![matmul(0)]),
        op(&[2, 6], &[&[6]], vec![matmul(0)]),
        op(&[2, 6], &[&[4, 6]], vec![matmul_with(false, true)]),
        op(&[6, 2], &[&[4, 6]], vec![matmul_with(true, false)]),
        op(&[6], &[&[6, 4]], vec![matmul_with(true, true)]),
        op(&[3, 1, 2, 3], &[&[2, 3, 4]], vec![matmul(0)]),
        op(&[2, 3, 4], &[&[3, 1, 5, 3]], vec![matmul_with(true, false)]),
        op(&[1, 2, 5, 6], &[&[3, 2, 3, 2]], vec![conv(&[2, 1], &[1, 0, 1, 1], &[1, 2], 1)]),
        op(&[2, 4, 7], &[&[6, 2, 3]], vec![conv(&[2], &[2, 1], &[1], 2)]),
        op(&[1, 2, 4, 3, 4], &[&[2, 1, 2, 2, 2]], vec![conv(&[1, 1, 2], &[0; 6], &[2, 1, 1], 2)]),
        op(&[1, 2, 5, 5], &[], vec![pool(&[2, 2], &[2, 2], &[0; 4], false, false)]),
        op(&[1, 1, 5, 6], &[], vec![pool(&[3, 3], &[2, 2], &[1, 1, 1, 1], false, false)]),
        op(&[1, 1, 5, 6], &[], vec![pool(&[3, 3], &[2, 2], &[1, 1, 1, 1], false, true)]),
        op(&[1, 1, 6, 6], &[], vec![pool(&[3, 3], &[2, 2], &[0; 4], true, false)]),
        op(&[1, 1, 6, 6], &[], vec![pool(&[3, 3], &[2, 2], &[0, 1, 0, 1], true, true)]),
        op(&[1, 1, 2], &[], vec![pool(&[2], &[3], &[1, 0], true, true)]),
        op(&[2, 3, 4], &[], vec![Step::Reduce { axes: vec![1], mean: false, keep_dims: true }]),
        op(&[2, 3, 4], &[], vec![Step::Reduce { axes: vec![2, 0], mean: true, keep_dims: false }]),
        op(&[2, 6], &[], vec![Step::Reshape { shape: vec![3, 4] }]),
        op(&[2, 3, 4], &[], vec![Step::Transpose { permutation: vec![2, 0, 1] }]),
        op(&[5, 6], &[], vec![Step::Slice { starts: vec![4, 1], steps: vec![-2, 2], shape: vec![3, 2] }]),
        op(&[2, 3], &[], vec![Step::Pad { before: vec![1, 0], after: vec![0, 2] }]),
        op(&[3, 1], &[], vec![Step::Expand { shape: vec![2, 3, 4] }]),
        op(&[2, 3, 4], &[&[3, 1]], vec![Step::Scale { weight: 0 }, Step::Factor { factor: -0.5 }]),
        op(
            &[1, 1, 8, 8],
            &[&[3, 1, 3, 3], &[12, 5]],
            vec![
                pool(&[2, 2], &[2, 2], &[0; 4], false, false),
                conv(&[1, 1], &[0; 4], &[1, 1], 1),
                Step::Reshape { shape: vec![1, 12] },
                matmul(1),
            ],
        ),
    ]
}

#[test]
fn matrices_follow_the_definition() {
    for (seed, op) in samples().iter().enumerate() {
        check_matrix(op, seed as u64);
    }
}

#[test]
fn average_pool_divides_as_onnx_does() {
    // 1x4 with windows of 3, stride 2, ceil mode, one pad before: windows {p,0,1}, {1,2,3}.
    let x = ArrayD::from_shape_vec(IxDyn(&[1, 1, 4]), vec![1., 2., 3., 4.]).unwrap();
    let with = |include| op(&[1, 1, 4], &[], vec![pool(&[3], &[2], &[1, 0], true, include)]);
    assert_eq!(with(false).apply(&x, &[]).unwrap().as_slice(), Some(&[1.5, 3.0][..]));
    assert_eq!(with(true).apply(&x, &[]).unwrap().as_slice(), Some(&[1.0, 3.0][..]));
    // Without the pad the last window {2,3,beyond} counts two elements even when padding counts.
    let last = op(&[1, 1, 4], &[], vec![pool(&[3], &[2], &[0, 0], true, true)]);
    assert_eq!(last.apply(&x, &[]).unwrap().as_slice(), Some(&[2.0, 3.5][..]));
    check_matrix(&last, 1);
}

#[test]
fn composition_renumbers_weights() {
    let first = op(&[2, 3], &[&[3, 4]], vec![matmul(0)]);
    let second = op(&[2, 4], &[&[4]], vec![Step::Scale { weight: 0 }]);
    let both = first.then(&second).unwrap();
    assert_eq!(both.weights(), [vec![3, 4], vec![4]]);
    check_matrix(&both, 5);
    let x = numbers(&[2, 3], 9);
    let w = weights_of(&both, 2);
    let step_by_step = second.apply(&first.apply(&x, &[w[0].view()]).unwrap(), &[w[1].view()]).unwrap();
    assert_close(&both.apply(&x, &views(&w)).unwrap(), &step_by_step);
    assert!(matches!(second.then(&first), Err(LinearError::InputShape { .. })));
}

#[test]
fn steps_that_do_not_fit_are_refused() {
    let refused = |input: &[usize], weights: &[&[usize]], step: Step, part: &str| {
        let mut op = LinearOp::identity(input).unwrap();
        for w in weights {
            op.add_weight(w).unwrap();
        }
        let message = op.push(step).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(&[2, 3], &[&[4, 5]], matmul(0), "different inner sizes");
    refused(&[2, 3], &[], matmul(0), "weight 0, but the operator has 0");
    refused(&[1, 3, 5, 5], &[&[4, 2, 3, 3]], conv(&[1, 1], &[0; 4], &[1, 1], 1), "channels");
    refused(&[1, 3, 2, 5], &[&[4, 3, 3, 3]], conv(&[1, 1], &[0; 4], &[1, 1], 1), "exceeds the padded size");
    refused(&[1, 3, 5, 5], &[&[4, 3, 3, 3]], conv(&[0, 1], &[0; 4], &[1, 1], 1), "positive");
    refused(&[1, 1, 4], &[], pool(&[2], &[1], &[2, 0], false, false), "not below the kernel");
    refused(&[2, 3], &[], Step::Reshape { shape: vec![5] }, "different numbers of elements");
    refused(&[2, 3], &[], Step::Transpose { permutation: vec![0, 0] }, "does not permute");
    refused(
        &[4],
        &[],
        Step::Slice { starts: vec![3], steps: vec![-2], shape: vec![3] },
        "reaches outside the input",
    );
    refused(&[2], &[], Step::Expand { shape: vec![3] }, "does not broadcast");
    refused(&[2], &[&[2, 2]], Step::Scale { weight: 0 }, "does not broadcast");
    refused(&[2], &[], Step::Factor { factor: f64::NAN }, "not finite");
    refused(&[2], &[], Step::Pad { before: vec![1 << 40], after: vec![0] }, "too large");
    assert!(
        LinearOp::from_json(r#"{"input":[2],"weights":[],"steps":[{"step":"expand","shape":[3]}]}"#).is_err()
    );
    assert!(LinearOp::from_json(r#"{"input":[2],"weights":[],"steps":[],"extra":1}"#).is_err());
    let w = ArrayD::<f32>::zeros(IxDyn(&[2]));
    let scale = op(&[3], &[&[3]], vec![Step::Scale { weight: 0 }]);
    assert!(matches!(scale.matrix(&[w.view()]), Err(LinearError::WeightShape { .. })));
    assert!(matches!(scale.matrix(&[]), Err(LinearError::WeightCount { .. })));
}

#[test]
fn squat_product_folds() {
    let op = op(&[1, 784], &[&[784, 128]], vec![matmul(0)]);
    let input = Layout::row_major(&[1, 784], 4096).unwrap();
    let output = Layout::row_major(&[1, 128], 4096).unwrap();
    let matrix = check_slots(&op, &input, &output, 3);
    assert_eq!(matrix.folds, [512, 256, 128]);
    assert_eq!(matrix.diagonals(), 128);
    assert_eq!(matrix.period, 1024);
    assert!(matrix.rotations() <= 25, "{}", matrix.rotations());
    // Rolled copies need a quarter of the diagonals for two more folds.
    let rolled = Layout::parse("[R:4:32, 1:1024:1]").unwrap();
    let matrix = check_slots(&op, &rolled, &output, 4);
    assert_eq!(matrix.diagonals(), 32);
    assert_eq!(matrix.folds, [2048, 1024, 512, 256, 128]);
}

#[test]
fn replicated_image_needs_one_rotation_for_each_tap() {
    let op = op(&[1, 1, 28, 28], &[&[8, 1, 5, 5]], vec![conv(&[1, 1], &[2; 4], &[1, 1], 1)]);
    let input = Layout::row_major(&[1, 1, 28, 28], 16384).unwrap();
    let output = Layout::row_major(&[1, 8, 28, 28], 16384).unwrap();
    let matrix = check_slots(&op, &input, &output, 3);
    assert_eq!(matrix.diagonals(), 25);
    assert_eq!(matrix.period, 8192);
    assert!(matrix.folds.is_empty());
}

#[test]
fn periods_are_minimal() {
    // The same product on every row of a batch: diagonals repeat with the columns.
    let op = op(&[4, 8], &[&[8, 8]], vec![matmul(0)]);
    let layout = Layout::parse("[R:2, 0:4:1, 1:8:1]").unwrap();
    assert_eq!(check_slots(&op, &layout, &layout, 1).period, 8);
    // A product with a number is one word.
    let half = LinearOp::identity(&[4, 8]).unwrap().with(Step::Factor { factor: 0.5 }).unwrap();
    assert_eq!(check_slots(&half, &layout, &layout, 1).period, 1);
}

#[test]
fn batch_of_rows_folds_over_columns() {
    let op = op(&[32, 128], &[&[128, 1]], vec![matmul(0)]);
    let input = Layout::ordered(&[32, 128], &[1, 0], 4096).unwrap();
    let output = Layout::ordered(&[32, 1], &[1, 0], 4096).unwrap();
    let matrix = check_slots(&op, &input, &output, 8);
    assert!(matrix.folds.len() >= 4, "{:?}", matrix.folds);
    // Hoisted rotations in place of some of the seven folds of one product are cheaper.
    let cost = RotationCost::default();
    assert!(matrix.cost(&cost) < 7.0 * (cost.giant + cost.key) + cost.product);
}

#[test]
fn other_layouts_and_missing_diagonals_are_errors() {
    let op = op(&[4], &[&[4, 4]], vec![matmul(0)]);
    let layout = Layout::row_major(&[4], 16).unwrap();
    let mut matrix = SlotMatrix::new(&op, &layout, &layout, &RotationCost::default()).unwrap();
    let weights = weights_of(&op, 1);
    let other = Layout::parse("[0:4:1 | R:16]").unwrap();
    assert!(matrix.values(&op, &views(&weights), &other, &layout).is_err());
    matrix.blocks[0].diagonals.pop();
    let message = matrix.values(&op, &views(&weights), &layout, &layout).unwrap_err().to_string();
    assert!(message.contains("lacks a diagonal"), "{message}");
    let small = Layout::row_major(&[4], 8).unwrap();
    assert!(SlotMatrix::new(&op, &layout, &small, &RotationCost::default()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn slots_follow_the_definition(which in 0..samples().len(), seed in any::<u64>()) {
        let op = &samples()[which];
        let input = random_layout(op.input_shape(), 8, seed);
        let output = random_layout(op.output_shape(), 8, seed ^ 0x5555);
        check_slots(op, &input, &output, seed >> 8);
        let plain = Layout::row_major(op.output_shape(), 256).unwrap();
        check_slots(op, &input, &plain, seed >> 8);
    }
}
