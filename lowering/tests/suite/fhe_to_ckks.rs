//! Networks on real numbers beside the ciphertext programs they become: the same answers, up to the error of the
//! polynomials.

use ceria_dialects::{
    bridge::pass::run_pipeline,
    ckks::interpret::{Ckks, Slots},
    fhe::{
        access::layout_of,
        interpret::{Fhe, array, datum},
        signature::{self, Side},
        weights::Weights,
    },
    interpret::{Datum, Interpreter},
};
use ceria_lowering::pipelines::compile::{clone, root};
use ceria_runtime::format::layout::Layout;
use melior::{Context, ir::Module};
use ndarray::{ArrayD, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Failure = Box<dyn std::error::Error>;

/// Values in [-1, 1].
fn random(shape: &[usize], random: &mut impl Rng) -> ArrayD<f64> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || f64::from(random.random_range(-1.0..1.0f32)))
}

/// Dense text of random numbers.
fn dense(shape: &[usize], rng: &mut impl Rng) -> String {
    fn nested(values: &ndarray::ArrayViewD<'_, f64>) -> String {
        match values.ndim() {
            0 => format!("{:?}", values.first().copied().unwrap_or(0.0)),
            _ => format!("[{}]", values.outer_iter().map(|v| nested(&v)).collect::<Vec<_>>().join(", ")),
        }
    }
    let shape_text: String = shape.iter().map(|s| format!("{s}x")).collect();
    format!("dense<{}> : tensor<{shape_text}f32>", nested(&random(shape, rng).view()))
}

/// The layouts of one side of a function.
fn layouts(module: &Module<'_>, side: Side) -> Result<Vec<Layout>, Failure> {
    let function = signature::network(root(module))?;
    (0..signature::count(function, side))
        .map(|i| {
            let ty = signature::type_of(function, side, i).ok_or("no type")?;
            Ok(layout_of(ty).ok_or("no layout")?)
        })
        .collect()
}

/// Runs a network of one input and one result both ways and returns the largest difference.
fn differ(context: &Context, text: &str, shape: &[usize], slots: usize, seed: u64) -> Result<f64, Failure> {
    let module = Module::parse(context, text).ok_or_else(|| format!("does not parse: {text}"))?;
    let input = random(shape, &mut ChaCha8Rng::seed_from_u64(seed));
    let expected = Interpreter::new(root(&module)).with(Fhe).call("main", vec![datum(input.clone())])?;
    let expected = array(expected.first().ok_or("no result")?)?;

    let lowered = clone(&module)?;
    let prepare = "canonicalize,fhe-fold-linear,fhe-infer-ranges,\
                   fhe-approximate-activations{precision=12 max-degree=127},fhe-fold-linear,canonicalize,cse";
    run_pipeline(&lowered.as_operation(), prepare)?;
    run_pipeline(&lowered.as_operation(), &format!("fhe-assign-layouts{{slots={slots}}}"))?;
    let (inputs, outputs) = (layouts(&lowered, Side::Arguments)?, layouts(&lowered, Side::Results)?);
    run_pipeline(&lowered.as_operation(), "fhe-to-ckks,canonicalize,cse")?;
    let packed = inputs[0].pack(&input.view())?;
    let arguments: Vec<Datum> = packed.iter().map(|s| Datum::object(Slots::real(s))).collect();
    let weights = Weights::of(root(&lowered));
    let read = |name: &str| weights.get(name).map_err(|e| e.to_string());
    let results = Interpreter::new(root(&lowered)).with(Ckks::exact(&read)).call("main", arguments)?;
    let results =
        results.iter().map(|r| Ok(r.get::<Slots>()?.to_real())).collect::<Result<Vec<_>, String>>()?;
    let found = outputs[0].unpack(expected.shape(), &results)?;
    Ok(expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
}

fn check(text: &str, shape: &[usize], slots: usize, tolerance: f64) -> Result<(), Failure> {
    ceria_lowering::register()?;
    let context = ceria_dialects::context();
    for seed in 0..3 {
        let difference = differ(&context, text, shape, slots, seed)?;
        assert!(difference <= tolerance, "differs by {difference:.3e} in\n{text}");
    }
    Ok(())
}

#[test]
fn dense_layers() -> Result<(), Failure> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let text = format!(
        "fhe.weights @w1 : tensor<12x7xf32> = {}\nfhe.weights @b1 : tensor<7xf32> = {}\n\
         fhe.weights @w2 : tensor<3x7xf32> = {}\n\
         func.func @main(%x: !fhe.tensor<1x12>) -> !fhe.tensor<1x3> {{\n\
           %w1 = fhe.get_weights @w1 : tensor<12x7xf32>\n  %b1 = fhe.get_weights @b1 : tensor<7xf32>\n\
           %w2 = fhe.get_weights @w2 : tensor<3x7xf32>\n\
           %0 = fhe.matmul %x, %w1 : !fhe.tensor<1x12>, tensor<12x7xf32>\n\
           %1 = fhe.add %0, %b1 : !fhe.tensor<1x7>, tensor<7xf32>\n\
           %2 = fhe.square %1 : !fhe.tensor<1x7>\n\
           %3 = fhe.matmul %2, %w2 transpose_rhs : !fhe.tensor<1x7>, tensor<3x7xf32>\n\
           return %3 : !fhe.tensor<1x3>\n}}",
        dense(&[12, 7], &mut rng),
        dense(&[7], &mut rng),
        dense(&[3, 7], &mut rng)
    );
    check(&text, &[1, 12], 64, 1e-4)?;
    // Tensors of several ciphertexts.
    check(&text, &[1, 12], 4, 1e-4)
}

#[test]
fn convolutions_and_pooling() -> Result<(), Failure> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let text = format!(
        "func.func @main(%x: !fhe.tensor<1x2x6x6>) -> !fhe.tensor<1x12> {{\n\
           %k = arith.constant {}\n  %b = arith.constant {}\n  %s = arith.constant {}\n\
           %v = arith.constant dense<0.5> : tensor<3xf32>\n\
           %0 = fhe.conv2d %x, %k {{pads = array<i64: 1, 1, 1, 1>}} : !fhe.tensor<1x2x6x6>, tensor<3x2x3x3xf32>\n\
           %1 = fhe.add %0, %b : !fhe.tensor<1x3x6x6>, tensor<3x1x1xf32>\n\
           %2 = fhe.batch_norm %1, %s, %s, %s, %v : !fhe.tensor<1x3x6x6>, tensor<3xf32>\n\
           %3 = fhe.square %2 : !fhe.tensor<1x3x6x6>\n\
           %4 = fhe.avg_pool %3 {{window = array<i64: 3, 3>, strides = array<i64: 3, 3>}} : !fhe.tensor<1x3x6x6>\n\
           %5 = fhe.reshape %4 : !fhe.tensor<1x3x2x2> -> !fhe.tensor<1x12>\n\
           return %5 : !fhe.tensor<1x12>\n}}",
        dense(&[3, 2, 3, 3], &mut rng),
        dense(&[3, 1, 1], &mut rng),
        dense(&[3], &mut rng)
    );
    check(&text, &[1, 2, 6, 6], 256, 1e-3)
}

#[test]
fn activations() -> Result<(), Failure> {
    for (function, tolerance) in
        [("sigmoid", 1e-3), ("tanh", 1e-3), ("exp", 1e-3), ("silu", 1e-3), ("relu", 2e-2)]
    {
        let text = format!(
            "func.func @main(%x: !fhe.tensor<8> {{fhe.range = array<f64: -1.0, 1.0>}}) -> !fhe.tensor<8> {{\n\
               %0 = fhe.scale %x by 2.0 : !fhe.tensor<8>\n\
               %1 = fhe.activation {function} %0 : !fhe.tensor<8>\n\
               %2 = fhe.neg %1 : !fhe.tensor<8>\n\
               return %2 : !fhe.tensor<8>\n}}"
        );
        check(&text, &[8], 16, tolerance)?;
    }
    Ok(())
}

#[test]
fn shapes_branches_and_sums() -> Result<(), Failure> {
    let text = "func.func @main(%x: !fhe.tensor<2x3x4>) -> !fhe.tensor<3x8> {\n\
           %c = arith.constant dense<[[1.0], [2.0], [-1.0]]> : tensor<3x1xf32>\n\
           %0 = fhe.transpose %x [1, 0, 2] : !fhe.tensor<2x3x4>\n\
           %1 = fhe.reshape %0 : !fhe.tensor<3x2x4> -> !fhe.tensor<3x8>\n\
           %2 = fhe.mul %1, %c : !fhe.tensor<3x8>, tensor<3x1xf32>\n\
           %3 = fhe.reduce_mean %1 over [1] keep_dims : !fhe.tensor<3x8>\n\
           %4 = fhe.sub %2, %3 : !fhe.tensor<3x8>, !fhe.tensor<3x1>\n\
           %5 = fhe.slice %4 {offsets = array<i64: 0, 7>, sizes = array<i64: 3, 3>, steps = array<i64: 1, -2>} : !fhe.tensor<3x8>\n\
           %6 = fhe.pad %5 {low = array<i64: 0, 1>, high = array<i64: 0, 0>, value = 0.25} : !fhe.tensor<3x3>\n\
           %7 = fhe.concat %6, %6 along 1 : !fhe.tensor<3x4>, !fhe.tensor<3x4>\n\
           %8 = fhe.mul %7, %1 : !fhe.tensor<3x8>, !fhe.tensor<3x8>\n\
           %9 = fhe.pow %8 to 3 : !fhe.tensor<3x8>\n\
           return %9 : !fhe.tensor<3x8>\n}";
    check(text, &[2, 3, 4], 32, 1e-4)
}
