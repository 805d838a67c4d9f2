//! Ciphertext programs, compiled to a bundle and run on encrypted slots, against the slots computed in the clear.

use super::support::{Client, KERNELS, POLYNOMIALS, lowered, mlir, port, write_bundle};
use ceria_lowering::bundle::CpuLevel;
use ceria_runtime::format::params::Params;

/// t = M x + b; result = rotate(t * t, 3) + conj(t) * 0.5 at level 0, where `M x = x * diag0 + rotate(x, 1) * diag1 + ..`.
pub fn program(params: &Params) -> String {
    let slots = params.slots();
    format!(
        r#"
module attributes {{ckks.params = #ckks.params<{params}>}} {{
ckks.matrix @m {{slots = {slots}, inputs = 1, outputs = 1, period = 4, split = array<i64: 2, 0>,
    diagonals = [array<i64: 0, 1, 3, 5>],
    values = [array<f64: 0.5, -0.25, 1.0, 0.125>, array<f64: 1.0, 0.0, -1.0, 0.5>,
              array<f64: 0.25, 0.25, 0.5, 0.75>, array<f64: -0.5, 0.5, 0.0, 1.0>]}}
ckks.vector @b {{parts = 1, values = [array<f64: 0.125, -0.5>]}}
func.func @main(%x: !ckks.ct<2, S(2)> {})
    -> (!ckks.ct<0, S(0)> {}) {{
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
        port("x", "input", params),
        port("y", "output", params)
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
        let mlir = mlir();
        let text = program(&params);
        let ckks = lowered(&mlir, &text, "");
        let kernel = lowered(&mlir, &text, &format!("{POLYNOMIALS},{KERNELS}"));
        let folder = tempfile::tempdir().unwrap();
        let bundle = write_bundle(&folder.path().join("program.ceria"), &ckks, &kernel, &CpuLevel::DEFAULT);
        let client = Client::new(&bundle, folder.path());
        let values: Vec<f64> = (0..params.slots()).map(|i| ((i * 37 % 101) as f64 - 50.0) / 60.0).collect();
        let (outputs, _) = client.program(2).run(&client.encrypt(&values[..])).unwrap();
        let slots = client.decrypt(&outputs.get("y").unwrap()[0]);
        for (j, (slot, expected)) in slots.iter().zip(expected(&values)).enumerate() {
            assert!(
                (slot.re - expected).abs() < 1e-3 && slot.im.abs() < 1e-3,
                "digit {digit}, slot {j}: {slot} instead of {expected}"
            );
        }
    }
}
