//! Kernels compute the residues that the interpreter of `poly` computes, bit for bit.

use super::run;
use crate::ckks_to_poly;
use crate::interpret::{
    self, Request,
    inputs::{Arrays, Inputs},
    native::Machine,
};
use crate::kernel_to_nvvm::{emulator::Mode, schedule::Schedule};
use crate::pipelines::compile::clone;
use ceria_dialects::bridge::pass::{OptionValues, run_pipeline};
use ceria_dialects::context;
use ceria_dialects::interpret::{Datum, Interpreter, symbol};
use ceria_dialects::kernel::interpret::{KernelEvaluator, View};
use ceria_dialects::poly::interpret::{PolyEvaluator, RandomMaterial};
use ceria_dialects::poly::random::{Shape, program};
use ceria_dialects::poly::ring::{Ring, RnsPoly};
use ceria_dialects::poly::{RnsType, infer};
use ceria_passes::poly::{expand_keyswitch, merge_mod_down};
use ceria_runtime::format::params::Params;
use melior::Context;
use melior::ir::block::BlockLike;
use melior::ir::operation::OperationLike;
use melior::ir::{Module, OperationRef, RegionLike};

/// A module with parameters around some text.
fn parse<'c>(context: &'c Context, params: &Params, text: &str) -> Module<'c> {
    let module = format!("module attributes {{ckks.params = #ckks.params<{params}>}} {{\n{text}\n}}");
    Module::parse(context, &module).unwrap_or_else(|| panic!("cannot parse {module}"))
}

/// The types of a function's arguments.
fn arguments<'c>(module: OperationRef<'c, 'c>, function: &str) -> Vec<RnsType<'c>> {
    let function = symbol(module, function).unwrap();
    let block = function.region(0).unwrap().first_block().unwrap();
    (0..block.argument_count()).map(|i| infer::rns_of(block.argument(i).unwrap().into()).unwrap()).collect()
}

fn random_inputs(ring: &Ring, types: &[RnsType<'_>]) -> Vec<RnsPoly> {
    let random = |(seed, ty): (usize, &RnsType<'_>)| {
        let mut poly = RandomMaterial::residues(ring, &ty.basis(), ring.n(), &[seed as u64]).unwrap();
        poly.form = ty.form();
        poly
    };
    types.iter().enumerate().map(random).collect()
}

fn words(poly: &RnsPoly) -> Vec<u32> {
    poly.limbs.concat()
}

/// Runs a module's `main` as `poly` and, lowered, as `kernel`; the results must agree. Returns the kernel module.
fn check(context: &Context, module: &Module<'_>, params: &Params) -> String {
    let none = OptionValues::default();
    let op: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(module.as_operation().to_raw()) };
    let ring = Ring::new(params).unwrap();
    let inputs = random_inputs(&ring, &arguments(op, "main"));
    let run_poly = |op| -> Vec<Vec<u32>> {
        let evaluator = PolyEvaluator::new(params, RandomMaterial).unwrap();
        let arguments = inputs.iter().cloned().map(Datum::object).collect();
        let results = Interpreter::new(op).with(evaluator).call("main", arguments).unwrap();
        results.iter().map(|r| words(r.get::<RnsPoly>().unwrap())).collect()
    };
    let expected = run_poly(op);
    expand_keyswitch::run(op, &none).unwrap();
    assert!(op.verify());
    assert_eq!(run_poly(op), expected, "expanding key switching changed residues");
    run(op, &none).unwrap();
    assert!(op.verify(), "{op}");
    let evaluator = KernelEvaluator::new(params, RandomMaterial);
    let mut arguments: Vec<Datum> = Vec::new();
    for input in &inputs {
        let view = View::new(vec![input.limbs.len(), params.n()], words(input)).unwrap();
        arguments.push(Datum::object(view));
    }
    let outputs: Vec<View> =
        expected.iter().map(|e| View::undefined(vec![e.len() / params.n(), params.n()])).collect();
    arguments.extend(outputs.iter().cloned().map(Datum::object));
    let text = op.to_string();
    if let Err(error) = Interpreter::new(op).with(evaluator).call("main", arguments) {
        panic!("{error}\n{text}");
    }
    for (index, (output, expected)) in outputs.iter().zip(&expected).enumerate() {
        assert!(output.words() == *expected, "result {index} differs\n{text}");
    }
    let _ = context;
    text
}

const Q: &str = "!poly.rns<q[0:4], eval>";
const QP: &str = "!poly.rns<q[0:4]+p[0:2], eval>";

#[test]
fn sums_and_products() {
    let context = context();
    let params = Params::toy(5, 2, 2);
    let text = format!(
        "func.func @main(%a: {Q}, %b: {Q}, %c: {Q}) -> ({Q}, {Q}, {Q}) {{
          %0 = poly.add %a, %b : {Q}, {Q}
          %1 = poly.mul %0, %c : {Q}, {Q}
          %2 = poly.sub %1, %a : {Q}, {Q}
          %3 = poly.neg %2 : {Q}
          %4 = poly.mac %3, %a, %b : {Q}, {Q}, {Q}
          %5 = poly.mul_const %4 [3, 5, 7, 9] : {Q}
          %6 = poly.add_const %5 [1, 0, 2, 3] : {Q}
          %7 = poly.mul %1, %1 : {Q}, {Q}
          %8 = poly.add %7, %1 : {Q}, {Q}
          return %6, %8, %a : {Q}, {Q}, {Q}
        }}"
    );
    let kernel = check(&context, &parse(&context, &params, &text), &params);
    assert_eq!(kernel.matches("kernel.launch").count(), 1);
}

#[test]
fn forms_bases_and_automorphisms() {
    let context = context();
    let params = Params::toy(6, 2, 2);
    let text = format!(
        "func.func @main(%a: {Q}, %b: {QP}) -> ({Q}, {QP}, {QP}, !poly.rns<q[1:3], eval>) {{
          %g = arith.constant 5 : index
          %0 = poly.automorphism %a, %g : {Q}
          %1 = poly.mod_down %b : {QP} -> {Q}
          %2 = poly.add %0, %1 : {Q}, {Q}
          %3 = poly.scale_up %2 : {Q} -> {QP}
          %4 = poly.add %3, %b : {QP}, {QP}
          %5 = poly.extract_limbs %2 : {Q} -> !poly.rns<q[0:2], eval>
          %6 = poly.mod_up %5 : !poly.rns<q[0:2], eval> -> {QP}
          %7 = poly.rescale %b : {QP} -> !poly.rns<q[1:3], eval>
          return %0, %4, %6, %7 : {Q}, {QP}, {QP}, !poly.rns<q[1:3], eval>
        }}"
    );
    check(&context, &parse(&context, &params, &text), &params);
}

#[test]
fn loops_over_tables() {
    let context = context();
    let params = Params::toy(5, 2, 2);
    let text = format!(
        "poly.table galois @steps [5, 25, 61] : index
        poly.table index @order [2, 0, 1] : index
        poly.table galois_key @keys [5, 25, 61] : tensor<2x2x{QP}>
        func.func @main(%a: {Q}, %b: {Q}) -> ({Q}, {Q}, {Q}) {{
          %c0 = arith.constant 0 : index
          %c1 = arith.constant 1 : index
          %c3 = arith.constant 3 : index
          %d:2 = poly.decompose %b : {Q} -> !poly.rns<q[0:2], eval>, !poly.rns<q[2:4], eval>
          %u0 = poly.mod_up %d#0 : !poly.rns<q[0:2], eval> -> {QP}
          %u1 = poly.mod_up %d#1 : !poly.rns<q[2:4], eval> -> {QP}
          %u = tensor.from_elements %u0, %u1 : tensor<2x{QP}>
          %z = poly.zero : {Q}
          %r:3 = scf.for %i = %c0 to %c3 step %c1 iter_args(%s = %z, %t = %z, %w = %a) -> ({Q}, {Q}, {Q}) {{
            %k = poly.at @order[%i] : index
            %g = poly.at @steps[%k] : index
            %key = poly.at @keys[%k] : tensor<2x2x{QP}>
            %v = poly.automorphism %u, %g : tensor<2x{QP}>
            %x:2 = poly.inner_product %v, %key : tensor<2x{QP}>, tensor<2x2x{QP}>
            %y0 = poly.mod_down %x#0 : {QP} -> {Q}
            %y1 = poly.mod_down %x#1 : {QP} -> {Q}
            %w0 = poly.automorphism %w, %g : {Q}
            %n0 = poly.add %s, %y0 : {Q}, {Q}
            %n1 = poly.add %t, %y1 : {Q}, {Q}
            %n2 = poly.add %w0, %n0 : {Q}, {Q}
            scf.yield %n1, %n0, %n2 : {Q}, {Q}, {Q}
          }}
          %last = poly.sub %r#2, %r#0 : {Q}, {Q}
          return %r#0, %r#1, %last : {Q}, {Q}, {Q}
        }}"
    );
    check(&context, &parse(&context, &params, &text), &params);
}

#[test]
fn calls_write_their_results_in_place() {
    let context = context();
    let params = Params::toy(5, 2, 2);
    let text = format!(
        "func.func @twice(%a: {Q}) -> ({Q}, {Q}) {{
          %0 = poly.add %a, %a : {Q}, {Q}
          return %0, %a : {Q}, {Q}
        }}
        func.func @main(%a: {QP}) -> ({Q}, {Q}) {{
          %0 = poly.extract_limbs %a : {QP} -> {Q}
          %1:2 = func.call @twice(%0) : ({Q}) -> ({Q}, {Q})
          %2:2 = func.call @twice(%1#0) : ({Q}) -> ({Q}, {Q})
          %3 = poly.add %2#1, %1#1 : {Q}, {Q}
          return %2#0, %3 : {Q}, {Q}
        }}"
    );
    check(&context, &parse(&context, &params, &text), &params);
}

/// `ckks` lowered all the way, with tables of random entries.
fn check_ckks(params: &Params, text: &str, merge: bool) -> String {
    let context = context();
    let module = parse(&context, params, text);
    let op: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(module.as_operation().to_raw()) };
    assert!(op.verify());
    let none = OptionValues::default();
    ckks_to_poly::run(op, &none).unwrap();
    assert!(op.verify(), "{op}");
    if merge {
        merge_mod_down::run(op, &none).unwrap();
        assert!(op.verify(), "{op}");
    }
    check(&context, &module, params)
}

#[test]
fn products_rotations_and_rescales_of_ciphertexts() {
    let text = "func.func @main(%x: !ckks.ct<2, S(2)>, %y: !ckks.ct<2, S(2)>) -> (!ckks.ct<1, S(1)>, !ckks.ct<2, S(2)>) {
      %0 = ckks.mul %x, %y : !ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>
      %1 = ckks.relinearize %0 : !ckks.ct<2, S(1)*D(2), 3>
      %2 = ckks.rescale %1 : !ckks.ct<2, S(1)*D(2)>
      %3 = ckks.rotate %x {step = 1} : !ckks.ct<2, S(2)>
      %4 = ckks.rotate %x {step = 3} : !ckks.ct<2, S(2)>
      %5 = ckks.add %3, %4 : !ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>
      %6 = ckks.conjugate %5 : !ckks.ct<2, S(2)>
      return %2, %6 : !ckks.ct<1, S(1)>, !ckks.ct<2, S(2)>
    }";
    for digit in [1, 2, 3] {
        for merge in [false, true] {
            check_ckks(&Params::toy(5, 2, digit), text, merge);
        }
    }
}

#[test]
fn linear_transforms() {
    let matrix = |chain: &str, diagonals: &str, values: usize| {
        let values = vec!["array<f64: 1.0, 2.0, 3.0, 4.0>"; values].join(", ");
        format!(
            "ckks.matrix @m {{slots = 16, inputs = 2, outputs = 2, period = 4, split = array<i64: 4, 0>, chain = \"{chain}\",
               diagonals = [{diagonals}], values = [{values}]}}
            func.func @main(%x: !ckks.ct<2, S(2)>, %y: !ckks.ct<2, S(2)>) -> (!ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>) {{
              %0:2 = ckks.linear_transform @m(%x, %y) at <S(2)>
                : (!ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>) -> (!ckks.ct<2, S(1)*D(2)>, !ckks.ct<2, S(1)*D(2)>)
              %1 = ckks.rescale %0#0 : !ckks.ct<2, S(1)*D(2)>
              %2 = ckks.rescale %0#1 : !ckks.ct<2, S(1)*D(2)>
              return %1, %2 : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
            }}"
        )
    };
    let sparse = "array<i64: 0, 3, 5, 6>, array<i64: 1>, array<i64: -8, -3, 7>, array<i64: 2>";
    for chain in ["none", "giants", "all"] {
        for merge in [false, true] {
            check_ckks(&Params::toy(5, 2, 2), &matrix(chain, sparse, 9), merge);
        }
    }
}

/// Interprets a module's `main` as `poly`, as `kernel`, compiled, and on an emulated GPU, on drawn residues and tables.
fn check_native(context: &Context, params: &Params, text: &str) {
    let module = parse(context, params, text);
    assert!(module.as_operation().verify(), "{text}");
    let arrays = Arrays::new();
    let results = |module: &Module<'_>, machine| {
        let inputs = Inputs { arrays: &arrays, random: Some(1) };
        let request = Request { module, entry: "main", inputs, noise: None, machine, client: None };
        interpret::run(&request).unwrap_or_else(|e| panic!("{e}\n{text}\n{}", module.as_operation()))
    };
    let expected = results(&module, None);
    let lowered = clone(&module).unwrap();
    let pipeline = "poly-expand-keyswitch,canonicalize,cse,poly-to-kernel";
    run_pipeline(&lowered.as_operation(), pipeline).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let emulated = Machine::Emulated(Mode::Checked, Schedule::default());
    for (machine, how) in [(None, "kernels"), (Some(Machine::Cpu), "code"), (Some(emulated), "device code")] {
        let found = results(&lowered, machine);
        for (name, array) in &expected {
            assert!(
                found.get(name) == Some(array),
                "{how}: {name} differs\n{text}\n{}",
                lowered.as_operation()
            );
        }
    }
}

#[test]
fn random_programs_give_the_same_residues_at_each_level() {
    crate::register().unwrap();
    let context = context();
    for seed in 0..16 {
        let shape = Shape { n: 32, ops: 16, loops: seed as usize % 3 };
        check_native(&context, &Params::toy(5, 2, 2), &program(seed, shape));
    }
}

#[test]
fn random_programs_are_legal_and_varied() {
    let context = context();
    let params = Params::toy(5, 2, 2);
    let mut all = String::new();
    for seed in 100..160 {
        let text = program(seed, Shape { n: 32, ops: 24, loops: 1 });
        assert!(parse(&context, &params, &text).as_operation().verify(), "{text}");
        all += &text;
    }
    for op in [
        "add",
        "sub",
        "mul",
        "mac",
        "neg",
        "mul_const",
        "add_const",
        "ntt",
        "intt",
        "automorphism",
        "extract_limbs",
        "concat_limbs",
        "bconv",
        "scale_up",
        "mod_up",
        "mod_down",
        "rescale",
        "decompose",
        "inner_product",
        "weighted_sum",
        "at",
        "zero",
    ] {
        assert!(all.contains(&format!("poly.{op} ")), "no program has a poly.{op}");
    }
}
