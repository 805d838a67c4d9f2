//! Bootstraps written out, interpreted on slots: exact arithmetic, so that what is left is the error of the sine.

use super::{mlir, no_weights, parse};
use ceria_dialects::{
    bridge::pass::run_pipeline,
    ckks::interpret::{Ckks, Slots},
    interpret::{Datum, Interpreter},
};
use ceria_runtime::format::{bootstrap::BootstrapOptions, params::Params};
use melior::ir::{OperationRef, operation::OperationLike};
use num_complex::Complex64;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn params(log_n: u32) -> Params {
    Params::bootstrapping(&BootstrapOptions::new(log_n, 1).insecure()).unwrap()
}

/// The slots after a bootstrap to level 1 that has been written out.
fn bootstrap(params: &Params, attributes: &str, input: &str, slots: Vec<Complex64>) -> Vec<Complex64> {
    let mlir = mlir();
    let text = format!(
        "module attributes {{ckks.params = #ckks.params<{params}>}} {{
           func.func @main(%x: {input}) -> !ckks.ct<1, S(1)> {{
             %y = ckks.bootstrap %x {{target_level = 1 : i64{attributes}}} : {input} to !ckks.ct<1, S(1)>
             return %y : !ckks.ct<1, S(1)>
           }}
         }}"
    );
    let module = parse(&mlir, &text);
    run_pipeline(
        &module.as_operation(),
        "ckks-expand-bootstrap,func.func(ckks-expand-adjust),canonicalize,cse,ckks-annotate-keys,ckks-verify-scale",
    )
    .unwrap_or_else(|e| panic!("{e}\n{}", module.as_operation()));
    let op: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(module.as_operation().to_raw()) };
    assert!(op.verify());
    let results = Interpreter::new(op)
        .with(Ckks::exact(&no_weights))
        .call("main", vec![Datum::object(Slots(slots))])
        .unwrap_or_else(|e| panic!("{e}"));
    results[0].get::<Slots>().unwrap().0.clone()
}

fn worst(a: &[Complex64], b: &[Complex64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).norm()).fold(0.0, f64::max)
}

/// Vectors whose coefficients are small, and ones whose coefficients are as large as their slots.
fn vectors(slots: usize) -> Vec<(&'static str, Vec<Complex64>)> {
    let mut random = ChaCha8Rng::seed_from_u64(slots as u64);
    let mut number = || random.random_range(-1.0..1.0);
    let complex = (0..slots).map(|_| Complex64::new(number(), number()) * 0.7).collect();
    let signs = (0..slots).map(|_| Complex64::new(number().signum(), 0.0)).collect();
    let mut hot = vec![Complex64::default(); slots];
    hot[slots / 3] = Complex64::new(1.0, 0.0);
    vec![
        ("random", complex),
        ("signs", signs),
        ("one-hot", hot),
        ("constant", vec![Complex64::new(0.8, 0.0); slots]),
    ]
}

#[test]
fn real_slots_go_to_coefficients_first() {
    for log_n in [5, 8] {
        let params = params(log_n);
        for (name, slots) in vectors(params.slots()) {
            let real: Vec<_> = slots.iter().map(|z| Complex64::new(z.re, 0.0)).collect();
            // What is not real is dropped.
            let result = bootstrap(&params, ", variant = \"stc-first\"", "!ckks.ct<4, S(4)>", slots);
            let error = worst(&result, &real);
            println!("N = 2^{log_n}, {name}: 2^{:.1}", error.log2());
            // (2 pi)^2 / 6 at a message ratio of 2^15 or more.
            assert!(error < 2f64.powi(-26), "N = 2^{log_n}, {name}: 2^{:.1}", error.log2());
        }
    }
}

#[test]
fn slots_that_repeat_need_less() {
    let params = params(8);
    for period in [2, 16, 64] {
        for (name, part) in vectors(period) {
            let slots: Vec<_> = part.iter().copied().cycle().take(params.slots()).collect();
            let attributes = format!(", slots = {period} : i64");
            let error = worst(&bootstrap(&params, &attributes, "!ckks.ct<0, S(0)>", slots.clone()), &slots);
            assert!(error < 2f64.powi(-16), "{period} slots, {name}: 2^{:.1}", error.log2());
            let real: Vec<_> = slots.iter().map(|z| Complex64::new(z.re, 0.0)).collect();
            let attributes = format!("{attributes}, variant = \"stc-first\"");
            let error = worst(&bootstrap(&params, &attributes, "!ckks.ct<3, S(3)>", slots), &real);
            assert!(error < 2f64.powi(-26), "{period} real slots, {name}: 2^{:.1}", error.log2());
        }
    }
}

#[test]
fn iterations_remove_the_error_of_the_first() {
    let params = params(6);
    for (name, slots) in vectors(params.slots()) {
        let error =
            |attributes| worst(&bootstrap(&params, attributes, "!ckks.ct<0, S(0)>", slots.clone()), &slots);
        let (once, twice) = (error(""), error(", variant = \"iterated\""));
        println!("{name}: 2^{:.1}, then 2^{:.1}", once.log2(), twice.log2());
        assert!(twice < once * 2f64.powi(-8), "{name}: 2^{:.1}, then 2^{:.1}", once.log2(), twice.log2());
    }
}

#[test]
fn two_real_ciphertexts_share_one() {
    let params = params(5);
    let mlir = mlir();
    let attributes = "{target_level = 1 : i64, variant = \"stc-first\"}";
    let types = "!ckks.ct<3, S(3)> to !ckks.ct<1, S(1)>";
    let text = format!(
        "module attributes {{ckks.params = #ckks.params<{params}>}} {{
           func.func @main(%x: !ckks.ct<3, S(3)>, %y: !ckks.ct<3, S(3)>) -> (!ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>) {{
             %0 = ckks.bootstrap %x {attributes} : {types}
             %1 = ckks.bootstrap %y {attributes} : {types}
             return %0, %1 : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
           }}
         }}"
    );
    let module = parse(&mlir, &text);
    run_pipeline(&module.as_operation(), "ckks-expand-bootstrap").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(module.as_operation().to_string().matches("ckks.mod_raise").count(), 1);
    let op: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(module.as_operation().to_raw()) };
    let real = |seed: u64| -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..params.slots()).map(|_| random.random_range(-1.0..1.0)).collect()
    };
    let inputs = [real(1), real(2)];
    let arguments = inputs.iter().map(|x| Datum::object(Slots::real(x))).collect();
    let interpreter = Interpreter::new(op).with(Ckks::exact(&no_weights));
    let results = interpreter.call("main", arguments).unwrap_or_else(|e| panic!("{e}"));
    for (result, input) in results.iter().zip(&inputs) {
        let error = worst(&result.get::<Slots>().unwrap().0, &Slots::real(input).0);
        assert!(error < 2f64.powi(-26), "2^{:.1}", error.log2());
    }
}

#[test]
fn modulus_first_gives_back_complex_slots() {
    for log_n in [5, 6, 8, 10] {
        let params = params(log_n);
        for (name, slots) in vectors(params.slots()) {
            let result = bootstrap(&params, "", "!ckks.ct<0, S(0)>", slots.clone());
            // The cubic term at a message ratio of 2^9 or more, and the fit's error in sums of N coefficients.
            let bound = if name == "constant" { 2f64.powi(-15) } else { 2f64.powi(-16) };
            let error = worst(&result, &slots);
            println!("N = 2^{log_n}, {name}: 2^{:.1}", error.log2());
            assert!(error < bound, "N = 2^{log_n}, {name}: 2^{:.1}", error.log2());
        }
    }
}
