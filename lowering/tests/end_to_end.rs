//! Ciphertext programs, compiled to a bundle and run on encrypted slots, against the slots computed in the clear.

use ceria_dialects::{bridge::pass::run_pipeline, context};
use ceria_lowering::bundle::{BundleInput, CpuLevel, write};
use ceria_runtime::{
    client::{
        Context, KeyKind, KeySpec, PublicKey, SecretKey,
        files::{Ciphertexts, Model, read_eval_keys, write_eval_keys},
    },
    device::{Bundle, LoadOptions, Program},
    format::{layout::Layout, manifest::Prediction, params::Params},
};
use melior::ir::Module;
use std::collections::BTreeMap;

const PIPELINE: &str = "ckks-to-poly,canonicalize,cse,poly-merge-mod-down,poly-expand-keyswitch,canonicalize,cse,\
    poly-to-kernel,canonicalize,cse";

/// t = M x + b; result = rotate(t * t, 3) + conj(t) * 0.5 at level 0, where `M x = x * diag0 + rotate(x, 1) * diag1 + ..`.
fn program(params: &Params) -> String {
    let slots = params.slots();
    let layout = Layout::row_major(&[slots], slots).unwrap();
    let port = |name: &str| {
        format!(
            "ckks.name = \"{name}\", ckks.shape = array<i64: {slots}>, ckks.layout = #ckks.layout<{layout}>, \
             ckks.part = 0 : i64"
        )
    };
    format!(
        r#"
module attributes {{ckks.params = #ckks.params<{params}>}} {{
ckks.matrix @m {{slots = {slots}, inputs = 1, outputs = 1, period = 4, split = array<i64: 2, 0>,
    diagonals = [array<i64: 0, 1, 3, 5>],
    values = [array<f64: 0.5, -0.25, 1.0, 0.125>, array<f64: 1.0, 0.0, -1.0, 0.5>,
              array<f64: 0.25, 0.25, 0.5, 0.75>, array<f64: -0.5, 0.5, 0.0, 1.0>]}}
ckks.vector @b {{parts = 1, values = [array<f64: 0.125, -0.5>]}}
func.func @main(%x: !ckks.ct<2, S(2)> {{{}, ckks.input = 0 : i64}})
    -> (!ckks.ct<0, S(0)> {{{}, ckks.output = 0 : i64}}) {{
  %0 = ckks.linear_transform @m(%x) at <S(2)> : (!ckks.ct<2, S(2)>) -> !ckks.ct<2, S(1)*D(2)>
  %1 = ckks.rescale %0 : !ckks.ct<2, S(1)*D(2)>
  %b = ckks.encode @b[0] : !ckks.pt<1, S(1)>
  %t = ckks.add_plain %1, %b : !ckks.ct<1, S(1)>, !ckks.pt<1, S(1)>
  %2 = ckks.mul %t, %t : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  %3 = ckks.relinearize %2 : !ckks.ct<1, S(0)*D(1), 3>
  %4 = ckks.rescale %3 : !ckks.ct<1, S(0)*D(1)>
  %5 = ckks.rotate %4 {{step = 3}} : !ckks.ct<0, S(0)>
  %6 = ckks.conjugate %t : !ckks.ct<1, S(1)>
  %7 = ckks.mul_const %6, 0.5 at <S(1)> : !ckks.ct<1, S(1)>
  %8 = ckks.rescale %7 : !ckks.ct<1, S(0)*D(1)>
  %9 = ckks.add %5, %8 : !ckks.ct<0, S(0)>, !ckks.ct<0, S(0)>
  return %9 : !ckks.ct<0, S(0)>
}}
}}"#,
        port("x"),
        port("y")
    )
}

/// What the program computes.
fn expected(x: &[f64]) -> Vec<f64> {
    let n = x.len();
    let diagonals = [
        (0, [0.5, -0.25, 1.0, 0.125]),
        (1, [1.0, 0.0, -1.0, 0.5]),
        (3, [0.25, 0.25, 0.5, 0.75]),
        (5, [-0.5, 0.5, 0.0, 1.0]),
    ];
    let t: Vec<f64> = (0..n)
        .map(|j| {
            let product: f64 = diagonals.iter().map(|(d, values)| values[j % 4] * x[(j + d) % n]).sum();
            product + [0.125, -0.5][j % 2]
        })
        .collect();
    (0..n).map(|j| t[(j + 3) % n].powi(2) + 0.5 * t[j]).collect()
}

#[test]
fn a_ciphertext_program_runs() {
    for digit in [1, 2] {
        let params = Params::toy(8, 2, digit);
        let mlir = context();
        ceria_lowering::register().unwrap();
        let text = program(&params);
        let ckks = Module::parse(&mlir, &text).expect("the program parses");
        let kernel = Module::parse(&mlir, &text).expect("the program parses");
        run_pipeline(&kernel.as_operation(), PIPELINE).unwrap_or_else(|e| panic!("{e}"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program.ceria");
        let input = BundleInput {
            name: "program",
            ckks: ckks.as_operation(),
            kernel: kernel.as_operation(),
            levels: &CpuLevel::DEFAULT,
            weights: &BTreeMap::new(),
            ir: &[("ir/kernel.mlir".into(), kernel.as_operation().to_string())],
            prediction: Prediction::default(),
            op_counts: BTreeMap::new(),
        };
        write(&path, &input).unwrap_or_else(|e| panic!("{e}"));

        let bundle = Bundle::open(&path).unwrap();
        let client = Context::new(bundle.manifest.params.clone()).unwrap();
        let model = Model::new(&client, bundle.hash);
        let secret = SecretKey::generate(&client).unwrap();
        let public = PublicKey::generate(&client, &secret).unwrap();
        let keys = &bundle.manifest.keys;
        let relin = keys.relin.map(|level| KeySpec { kind: KeyKind::Relinearize, level });
        let galois = keys.galois.iter().map(|k| KeySpec { kind: KeyKind::Galois(k.element), level: k.level });
        let specs: Vec<KeySpec> = relin.into_iter().chain(galois).collect();
        let file = folder.path().join("eval.keys");
        write_eval_keys(&file, model, &secret, &specs, &mut |_| {}).unwrap();
        let values: Vec<f64> = (0..params.slots()).map(|i| ((i * 37 % 101) as f64 - 50.0) / 60.0).collect();
        let port = &bundle.manifest.inputs[0];
        let encrypted = public.encrypt_slots(&client, &values[..], &port.scale, port.level).unwrap();
        let inputs = Ciphertexts { key_pair: secret.id(), tensors: vec![("x".into(), vec![encrypted])] };

        let server = Context::new(bundle.manifest.params.clone()).unwrap();
        let keys = read_eval_keys(&file, Model::new(&server, bundle.hash), None).unwrap();
        let mut program = Program::load(&bundle, server, keys, LoadOptions { threads: Some(2) }, |_, _| {})
            .unwrap_or_else(|e| panic!("{e}"));
        let (outputs, _) = program.run(&inputs).unwrap();
        let result = &outputs.get("y").unwrap()[0];
        let plain = secret.decrypt(&client, result).unwrap();
        let slots = client.decode(&plain, result.scale.value(&params)).unwrap();
        for (j, (slot, expected)) in slots.iter().zip(expected(&values)).enumerate() {
            assert!(
                (slot.re - expected).abs() < 1e-3 && slot.im.abs() < 1e-3,
                "digit {digit}, slot {j}: {slot} instead of {expected}"
            );
        }
    }
}
