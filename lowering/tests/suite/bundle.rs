//! A bundle made from hand-written modules, and run between a client and a server.

use super::support::{Client, lowered, mlir, write_bundle};
use ceria_lowering::bundle::CpuLevel;
use ceria_runtime::{
    client::{Context, files::Ciphertexts},
    device::{Bundle, DeviceError, LoadOptions, Program},
    format::{layout::Layout, params::Params},
};
use std::path::Path;

/// y = x + x + bias, at one level.
fn ckks_module(params: &Params) -> String {
    let layout = Layout::row_major(&[4], params.slots()).unwrap();
    format!(
        r#"
module attributes {{ckks.params = #ckks.params<{params}>}} {{
ckks.vector @bias {{parts = 1, values = [array<f64: 0.5, -1.5>]}}
func.func @main(%x: !ckks.ct<1, S(1)> {{ckks.name = "x", ckks.shape = array<i64: 4>, ckks.layout = #ckks.layout<{layout}>}})
    -> (!ckks.ct<1, S(1)> {{ckks.name = "y", ckks.shape = array<i64: 4>, ckks.layout = #ckks.layout<{layout}>}}) {{
  %0 = ckks.add %x, %x : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  return %0 : !ckks.ct<1, S(1)>
}}
}}"#
    )
}

/// The same as kernels.
fn kernel_module(params: &Params) -> String {
    let n = params.n();
    let basis = params.level_basis(1);
    let limbs = basis.len();
    let poly = format!("!kernel.buf<{limbs}x{n}>");
    let bias = format!("!kernel.buf<1x{limbs}x4>");
    let one = format!("!kernel.buf<{limbs}x4>");
    let ones = vec!["1"; limbs].join(", ");
    format!(
        r#"
module attributes {{ckks.params = #ckks.params<{params}>}} {{
kernel.table plaintext @bias [0] moduli<{basis}> from(@bias) scale "S(1)" : {bias}
kernel.func @double moduli<{basis}> (%a: {poly}, %c: {poly}) {{
  %x = kernel.load %a : {poly}
  %y = kernel.addm %x, %x
  kernel.store %y, %c : {poly}
}}
kernel.func @add_bias moduli<{basis}> (%a: {poly}, %b: {one}, %c: {poly}) {{
  %x = kernel.load %a : {poly}
  %m = kernel.load_periodic %b : {one}
  %one = kernel.splat [{ones}]
  %p = kernel.mulm %m, %one
  %y = kernel.addm %x, %p
  kernel.store %y, %c : {poly}
}}
func.func @main(%x0: {poly}, %x1: {poly}, %y0: {poly} {{kernel.output}}, %y1: {poly} {{kernel.output}}) {{
  %zero = arith.constant 0 : index
  %t = kernel.alloc : {poly}
  kernel.launch @double(%x0, %t) : {poly}, {poly}
  kernel.launch @double(%x1, %y1) : {poly}, {poly}
  %table = kernel.get_table @bias : {bias}
  %bias = kernel.subview %table[%zero] : {bias} -> {one}
  kernel.launch @add_bias(%t, %bias, %y0) : {poly}, {one}, {poly}
  kernel.free %t : {poly}
  return
}}
}}"#
    )
}

fn make(path: &Path, params: &Params) -> Bundle {
    let mlir = mlir();
    let (ckks, kernel) =
        (lowered(&mlir, &ckks_module(params), ""), lowered(&mlir, &kernel_module(params), ""));
    write_bundle(path, &ckks, &kernel, &CpuLevel::DEFAULT)
}

#[test]
fn a_bundle_runs() {
    let params = Params::toy(6, 2, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("double.ceria");
    make(&path, &params);
    // Again, in place of the first.
    let bundle = make(&path, &params);
    assert!(bundle.expect_hash("00").is_err());
    let client = Client::new(&bundle, folder.path());
    let values: Vec<f64> = (0..params.slots()).map(|i| 0.01 * (i % 8) as f64).collect();
    let inputs = client.encrypt(&values[..]);

    for threads in [1, 2] {
        let mut program = client.program(threads);
        let (outputs, report) = program.run(&inputs).unwrap();
        assert_eq!(report.profile.spans.len(), 3);
        for (i, slot) in client.decrypt(&outputs.get("y").unwrap()[0]).iter().enumerate() {
            let expected = 2.0 * values[i] + [0.5, -1.5][i % 2];
            assert!((slot.re - expected).abs() < 1e-2, "slot {i}: {} instead of {expected}", slot.re);
        }
        let unnamed = Ciphertexts { key_pair: inputs.key_pair, tensors: Vec::new() };
        assert!(matches!(program.run(&unnamed), Err(DeviceError::Input(_))));
    }

    // Any damage is noticed before code runs.
    let code = path.join("host-x86_64-v2.so");
    let mut bytes = std::fs::read(&code).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&code, bytes).unwrap();
    let server = Context::new(params).unwrap();
    let damaged = Program::load(&bundle, server, client.keys(), &LoadOptions::default(), |_, _| {});
    assert!(damaged.err().is_some_and(|e| e.to_string().contains("host-x86_64-v2.so is damaged")));
}
