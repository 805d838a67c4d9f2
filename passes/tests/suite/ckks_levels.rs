//! Random programs keep their meaning when they are placed, and what is placed verifies; noise is what a noisy
//! run shows.

use super::{mlir, no_weights, parse};
use ceria_dialects::{
    bridge::pass::run_pipeline,
    ckks::{
        interpret::{Ckks, Slots},
        random::{Shape, program},
    },
    interpret::{Datum, Interpreter},
};
use melior::ir::Module;

const PLACE: &str = "func.func(ckks-expand-eval-poly),ckks-lazy-relin,ckks-place-rescale,ckks-infer-levels";

fn run(module: &Module<'_>, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let interpreter = Interpreter::new(module.as_operation()).with(Ckks::exact(&no_weights));
    let inputs = inputs.iter().map(|x| Datum::object(Slots::real(x))).collect();
    let outputs = interpreter.call("main", inputs).unwrap();
    outputs.iter().map(|o| o.get::<Slots>().unwrap().to_real()).collect()
}

fn inputs(count: usize, slots: usize) -> Vec<Vec<f64>> {
    (0..count).map(|i| (0..slots).map(|j| ((i * 7 + j * 5) % 13) as f64 / 13.0 - 0.4).collect()).collect()
}

fn close(a: &[Vec<f64>], b: &[Vec<f64>]) -> bool {
    let mut pairs = a.iter().flatten().zip(b.iter().flatten());
    a.len() == b.len() && pairs.all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + a.abs()))
}

#[test]
fn placed_programs_mean_the_same() {
    let context = mlir();
    for seed in 0..150 {
        let text = program(seed, Shape::default());
        let module = parse(&context, &text);
        let inputs = inputs(2, 8);
        let before = run(&module, &inputs);
        if let Err(error) = run_pipeline(&module.as_operation(), PLACE) {
            panic!("seed {seed}: {error}\n{text}");
        }
        let placed = module.as_operation().to_string();
        assert!(!placed.contains("ct<?"), "seed {seed}\n{placed}");
        assert!(close(&before, &run(&module, &inputs)), "seed {seed}\n{text}\n{placed}");
        run_pipeline(&module.as_operation(), "func.func(ckks-expand-adjust),cse,canonicalize").unwrap();
        let expanded = module.as_operation().to_string();
        assert!(!expanded.contains("ckks.adjust"), "seed {seed}");
        assert!(close(&before, &run(&module, &inputs)), "seed {seed}\n{text}\n{expanded}");
    }
}

#[test]
fn canonical_programs_mean_the_same() {
    let context = mlir();
    for seed in 200..300 {
        let text = program(seed, Shape { ops: 30, ..Shape::default() });
        let module = parse(&context, &text);
        let inputs = inputs(2, 8);
        let before = run(&module, &inputs);
        run_pipeline(&module.as_operation(), "canonicalize,cse").unwrap();
        assert!(close(&before, &run(&module, &inputs)), "seed {seed}\n{text}");
        if let Err(error) = run_pipeline(&module.as_operation(), PLACE) {
            panic!("seed {seed}: {error}\n{}", module.as_operation());
        }
        assert!(close(&before, &run(&module, &inputs)), "seed {seed}\n{text}");
    }
}

#[test]
fn polynomials_mean_the_same_at_least_depth() {
    let context = mlir();
    for degree in 2..40usize {
        let coefficients: Vec<String> =
            (0..=degree).map(|i| format!("{:?}", ((i * 11 + 3) % 17) as f64 / 17.0 - 0.4)).collect();
        let text = format!(
            "func.func @main(%x: !ckks.ct<?>) -> !ckks.ct<?> {{\n  %0 = ckks.eval_poly %x [{}] : !ckks.ct<?>\n  \
             return %0 : !ckks.ct<?>\n}}",
            coefficients.join(", ")
        );
        let module = parse(&context, &text);
        let inputs = inputs(1, 16);
        let before = run(&module, &inputs);
        run_pipeline(&module.as_operation(), PLACE).unwrap();
        assert!(close(&before, &run(&module, &inputs)), "degree {degree}");
        let placed = module.as_operation().to_string();
        let depth = (degree + 1).next_power_of_two().ilog2();
        assert!(placed.contains(&format!("!ckks.ct<{depth}, S({depth})>) -> !ckks.ct<0, S(0)>")), "{placed}");
        assert!(!placed.contains("ckks.adjust"), "degree {degree}\n{placed}");
    }
}
