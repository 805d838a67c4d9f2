//! Functions on given arrays: what stands in tables, and what is refused.

use ceria_dialects::context;
use ceria_lowering::{
    interpret::{
        Request,
        inputs::{Arrays, Inputs},
        native::Machine,
        run,
    },
    kernel_to_nvvm::{emulator::Mode, schedule::Schedule},
};
use ceria_runtime::format::{arrays::NumericArray, params::Params, primes::mul_mod};
use melior::ir::Module;
use ndarray::{ArrayD, IxDyn};

fn words(shape: &[usize], f: impl Fn(usize) -> u32) -> NumericArray {
    let count = shape.iter().product();
    NumericArray::Words(ArrayD::from_shape_vec(IxDyn(shape), (0..count).map(f).collect()).unwrap())
}

/// The first result of `main`.
fn first(text: &str, arrays: &Arrays, machine: Option<Machine>) -> Result<NumericArray, String> {
    ceria_lowering::register().unwrap();
    let context = context();
    let params = Params::toy(4, 1, 1);
    let text = format!("module attributes {{ckks.params = #ckks.params<{params}>}} {{\n{text}\n}}");
    let module = Module::parse(&context, &text).unwrap_or_else(|| panic!("does not parse: {text}"));
    let inputs = Inputs { arrays, random: None };
    let request = Request { module: &module, entry: "main", inputs, noise: None, machine, client: None };
    let results = run(&request).map_err(|e| e.to_string())?;
    results.into_values().next().ok_or_else(|| "no result".into())
}

const MASKED: &str = r#"
  poly.table plaintext @mask [0, 1] from @v scale "S(1)" : !poly.rns<q[0:2], eval, period = 4>
  func.func @main(%a: !poly.rns<q[0:2], eval>) -> !poly.rns<q[0:2], eval> {
    %one = arith.constant 1 : index
    %m = poly.at @mask[%one] : !poly.rns<q[0:2], eval, period = 4>
    %0 = poly.mul %a, %m : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval, period = 4>
    return %0 : !poly.rns<q[0:2], eval>
  }"#;

/// The same on buffers; the table is Montgomery, and so is what `mulm` divides by.
const MASKED_KERNEL: &str = r#"
  kernel.table plaintext @mask [0, 1] moduli<q[0:2]> from(@v) scale "S(1)" : !kernel.buf<2x2x4>
  kernel.func @mask_kernel moduli<q[0:2]> (%a: !kernel.buf<2x16>, %m: !kernel.buf<2x4>, %r: !kernel.buf<2x16>) {
    %0 = kernel.load %a : !kernel.buf<2x16>
    %1 = kernel.load_periodic %m : !kernel.buf<2x4>
    %2 = kernel.mulm %0, %1
    kernel.store %2, %r : !kernel.buf<2x16>
  }
  func.func @main(%a: !kernel.buf<2x16>, %r: !kernel.buf<2x16> {kernel.output}) {
    %one = arith.constant 1 : index
    %t = kernel.get_table @mask : !kernel.buf<2x2x4>
    %m = kernel.subview %t[%one] : !kernel.buf<2x2x4> -> !kernel.buf<2x4>
    kernel.launch @mask_kernel(%a, %m, %r) : !kernel.buf<2x16>, !kernel.buf<2x4>, !kernel.buf<2x16>
    return
  }"#;

fn masked() -> Arrays {
    let a = words(&[2, 16], |i| i as u32 * 1_000_003 % 1_000_000_007);
    let mask = words(&[2, 2, 4], |i| i as u32 * 77_777_777 % 999_999_937);
    Arrays::from([("arg0".into(), a), ("@mask".into(), mask)])
}

#[test]
fn tables_are_given_as_plain_residues_at_each_level() {
    let params = Params::toy(4, 1, 1);
    let arrays = masked();
    let at = |name: &str, place: &[usize]| arrays[name].to_integers().unwrap()[IxDyn(place)] as u32;
    let expected = words(&[2, 16], |i| {
        let (limb, word) = (i / 16, i % 16);
        mul_mod(at("arg0", &[limb, word]), at("@mask", &[1, limb, word / 4]), params.q[limb])
    });
    for text in [MASKED, MASKED_KERNEL] {
        let emulated = Machine::Emulated(Mode::Checked, Schedule::default());
        for machine in [None, Some(Machine::Cpu), Some(emulated)] {
            let found = first(text, &arrays, machine.clone());
            assert_eq!(found.as_ref(), Ok(&expected), "{machine:?}\n{text}");
        }
    }
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let with = |name: &str, array: NumericArray| {
        let mut arrays = masked();
        arrays.insert(name.into(), array);
        first(MASKED, &arrays, None).unwrap_err()
    };
    assert_eq!(with("arg0", words(&[2, 8], |_| 0)), "'arg0' has shape [2, 8], the function takes [2, 16]");
    let q = Params::toy(4, 1, 1).q[0];
    assert!(
        with("arg0", words(&[2, 16], |_| q))
            .contains(&format!("has {q} at place 0, where words are below {q}"))
    );
    let floats = NumericArray::F64(ArrayD::zeros(IxDyn(&[2, 16])));
    assert!(with("arg0", floats).contains("holds floats"));
    let negative = NumericArray::Int(ArrayD::from_elem(IxDyn(&[2, 16]), -1));
    assert!(with("arg0", negative).contains("has -1 at place 0"));
    assert!(
        with("@mask", words(&[2, 4], |_| 0))
            .contains("'@mask' has shape [2, 4], the function takes [2, 2, 4]")
    );
    assert!(with("@mask", words(&[2, 2, 4], |_| u32::MAX)).contains("'@mask' has 4294967295 at place"));
}

#[test]
fn functions_that_cannot_be_run_say_why() {
    let none = Arrays::new();
    let kernel = "kernel.func @main moduli<q[0:1]> (%a: !kernel.buf<1x16>) {\n}";
    assert!(first(kernel, &none, None).unwrap_err().contains("@main is a kernel"));
    let number = "func.func @main(%a: index) -> !poly.rns<q[0:1], eval> {
      %0 = poly.zero : !poly.rns<q[0:1], eval>
      return %0 : !poly.rns<q[0:1], eval>
    }";
    let three = Arrays::from([("arg0".into(), NumericArray::Int(ArrayD::from_elem(IxDyn(&[]), 3)))]);
    assert!(first(number, &three, None).is_ok());
    assert!(
        first(number, &three, Some(Machine::Cpu))
            .unwrap_err()
            .contains("takes a number, which compiled functions cannot")
    );
}
