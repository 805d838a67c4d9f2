//! Real ciphertexts through the lowered program, against the slots that the interpreter of `ckks` computes.

use super::run;
use crate::interpret::client::{Client, ClientMaterial, from_words};
use ceria_dialects::bridge::pass::OptionValues;
use ceria_dialects::ckks::Placement;
use ceria_dialects::ckks::interpret::{Ckks, Slots};
use ceria_dialects::ckks::types::ct;
use ceria_dialects::context;
use ceria_dialects::interpret::{Datum, Interpreter, symbol};
use ceria_dialects::poly::Form;
use ceria_dialects::poly::interpret::{PolyEvaluator, RandomMaterial};
use ceria_dialects::poly::ring::{Ring, RnsPoly, inv_mod, mul_mod};
use ceria_passes::poly::merge_mod_down;
use ceria_runtime::client::{Ciphertext, Context, PublicKey, SecretKey};
use ceria_runtime::format::bootstrap::BootstrapOptions;
use ceria_runtime::format::params::Params;
use ceria_runtime::format::scale::Scale;
use ceria_runtime::format::search::SearchOptions;
use melior::ir::operation::OperationLike;
use melior::ir::{BlockLike, Module, OperationRef, RegionLike};

fn no_weights(name: &str) -> Result<ndarray::ArrayD<f32>, String> {
    Err(format!("there are no weights @{name}"))
}

/// Where the results of `main` are.
fn placements(module: OperationRef<'_, '_>) -> Vec<Placement> {
    let main = symbol(module, "main").unwrap();
    let block = main.region(0).unwrap().first_block().unwrap();
    let end = block.terminator().unwrap();
    end.operands().map(|value| ct(value).unwrap().placement().unwrap()).collect()
}

/// Encrypts the inputs at level 2, runs `main` both ways and compares all slots.
fn check(params: &Params, text: &str, merge: bool) {
    let mlir = context();
    let text = format!("module attributes {{ckks.params = #ckks.params<{params}>}} {{\n{text}\n}}");
    let module = Module::parse(&mlir, &text).unwrap_or_else(|| panic!("cannot parse {text}"));
    let op: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(module.as_operation().to_raw()) };
    let slots = params.slots();
    let value = |i: usize, k: usize| ((i * 37 + k * 11 + 5) % 64) as f64 / 32.0 - 1.0;
    let inputs: Vec<Vec<f64>> = (0..2).map(|k| (0..slots).map(|i| value(i, k)).collect()).collect();
    let arguments = inputs.iter().map(|x| Datum::object(Slots::real(x))).collect();
    let expected = Interpreter::new(op).with(Ckks::exact(&no_weights)).call("main", arguments).unwrap();

    let placements = placements(op);
    let client = Client::new(params).unwrap();
    run(op, &OptionValues::default()).unwrap();
    assert!(op.verify(), "{op}");
    if merge {
        merge_mod_down::run(op, &OptionValues::default()).unwrap();
        assert!(op.verify(), "{op}");
    }
    let mut arguments = Vec::new();
    for input in &inputs {
        for words in client.encrypt(&Slots::real(input), &Placement::canonical(2)).unwrap() {
            let poly = from_words(params.level_basis(2), Form::Eval, &words, params.n());
            arguments.push(Datum::object(poly));
        }
    }
    let material = ClientMaterial { client: &client, module: op, weights: &no_weights };
    let evaluator = PolyEvaluator::new(params, material).unwrap();
    let results = Interpreter::new(op).with(evaluator).call("main", arguments).unwrap();
    assert_eq!(results.len(), 2 * expected.len());
    for ((result, expected), at) in results.chunks_exact(2).zip(&expected).zip(placements) {
        let words: Vec<_> = result.iter().map(|part| part.get::<RnsPoly>().unwrap().limbs.concat()).collect();
        let decoded = client.decrypt(&words, &at).unwrap();
        for (slot, (got, want)) in decoded.0.iter().zip(&expected.get::<Slots>().unwrap().0).enumerate() {
            assert!((got - want).norm() < 1e-4, "slot {slot}: {got} instead of {want}\n{op}");
        }
    }
}

/// A set whose rescales drop some primes and restore others.
fn restoring() -> Params {
    let options =
        SearchOptions { min_log_n: 6, max_log_n: 6, test_only_insecure: true, ..SearchOptions::default() };
    let params = Params::search(2, 40, 45, &options).unwrap();
    let (_, restored) = params.rescale_primes(2).unwrap();
    assert!(!restored.is_empty(), "{params}");
    params
}

#[test]
fn many_levels_that_restore_primes_are_gone_down_at_once() {
    // From level 7 to 2: the quotient of the moduli has 200 bits.
    let options =
        SearchOptions { min_log_n: 6, max_log_n: 6, test_only_insecure: true, ..SearchOptions::default() };
    let params = Params::search(7, 40, 45, &options).unwrap();
    assert!(!params.level_basis(2).is_subset(params.level_basis(7)), "{params}");
    let text = format!(
        "module attributes {{ckks.params = #ckks.params<{params}>}} {{
           func.func @main(%x: !ckks.ct<7, S(7)>) -> !ckks.ct<2, S(7)> {{
             %0 = ckks.level_reduce %x {{by = 5}} : !ckks.ct<7, S(7)>
             return %0 : !ckks.ct<2, S(7)>
           }}
         }}"
    );
    let mlir = context();
    let module = Module::parse(&mlir, &text).unwrap();
    let op: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(module.as_operation().to_raw()) };
    let client = Context::new(params.clone()).unwrap();
    let secret = SecretKey::generate(&client).unwrap();
    let public = PublicKey::generate(&client, &secret).unwrap();
    let values: Vec<f64> = (0..params.slots()).map(|i| i as f64 / 32.0 - 0.5).collect();
    let ct = public.encrypt_slots(&client, &values[..], &Scale::level(7), 7).unwrap();
    let basis = params.level_basis(7);
    run(op, &OptionValues::default()).unwrap();
    assert!(op.verify(), "{op}");
    let n = params.n();
    let parts = ct.words.chunks_exact(basis.len() * n);
    let arguments = parts.map(|words| Datum::object(from_words(basis, Form::Eval, words, n))).collect();
    let evaluator = PolyEvaluator::new(&params, RandomMaterial).unwrap();
    let results = Interpreter::new(op).with(evaluator).call("main", arguments).unwrap();
    let words = results.iter().flat_map(|part| part.get::<RnsPoly>().unwrap().limbs.concat()).collect();
    let reduced = Ciphertext { level: 2, scale: Scale::level(7), size: 2, words };
    let plain = secret.decrypt(&client, &reduced).unwrap();
    let decoded = client.decode(&plain, Scale::level(7).value(&params)).unwrap();
    for (got, want) in decoded.iter().zip(values) {
        assert!((got - want).norm() < 1e-4, "{got} instead of {want}");
    }
}

#[test]
fn levels_that_restore_primes_are_reached_at_the_same_scale() {
    let text = "func.func @main(%x: !ckks.ct<2, S(2)>, %y: !ckks.ct<2, S(2)>) -> !ckks.ct<1, S(2)> {
      %0 = ckks.level_reduce %x : !ckks.ct<2, S(2)>
      %1 = ckks.level_reduce %y : !ckks.ct<2, S(2)>
      %2 = ckks.rotate %1 {step = 5} : !ckks.ct<1, S(2)>
      %3 = ckks.add %0, %2 : !ckks.ct<1, S(2)>, !ckks.ct<1, S(2)>
      return %3 : !ckks.ct<1, S(2)>
    }";
    check(&restoring(), text, false);
}

#[test]
fn keys_serve_levels_that_lack_the_first_digits() {
    let options = SearchOptions {
        min_log_n: 8,
        max_log_n: 8,
        digit: Some(2),
        test_only_insecure: true,
        ..SearchOptions::default()
    };
    let params = Params::search(3, 34, 46, &options).unwrap();
    let first = &params.digits(&params.key_span(2))[0];
    assert!(params.level_basis(2).is_disjoint(first), "{params}");
    let text = "func.func @main(%x: !ckks.ct<2, S(2)>, %y: !ckks.ct<2, S(2)>) -> (!ckks.ct<2, S(2)>, !ckks.ct<1, S(2)>, !ckks.ct<1, S(1)>) {
      %0 = ckks.rotate %x {step = 1} : !ckks.ct<2, S(2)>
      %1 = ckks.level_reduce %y : !ckks.ct<2, S(2)>
      %2 = ckks.rotate %1 {step = 1} : !ckks.ct<1, S(2)>
      %3 = ckks.mul %x, %y : !ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>
      %4 = ckks.relinearize %3 : !ckks.ct<2, S(1)*D(2), 3>
      %5 = ckks.rescale %4 : !ckks.ct<2, S(1)*D(2)>
      return %0, %2, %5 : !ckks.ct<2, S(2)>, !ckks.ct<1, S(2)>, !ckks.ct<1, S(1)>
    }";
    check(&params, text, false);
}

#[test]
fn products_and_rotations_decrypt_to_their_slots() {
    let text = "ckks.vector @v {parts = 1, values = [array<f64: 0.5, -1.0, 0.25, 2.0>]}
    func.func @main(%x: !ckks.ct<2, S(2)>, %y: !ckks.ct<2, S(2)>) -> (!ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>) {
      %0 = ckks.mul %x, %y : !ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>
      %1 = ckks.square %x : !ckks.ct<2, S(2)>
      %2 = ckks.sub %0, %1 : !ckks.ct<2, S(1)*D(2), 3>, !ckks.ct<2, S(1)*D(2), 3>
      %3 = ckks.relinearize %2 : !ckks.ct<2, S(1)*D(2), 3>
      %p = ckks.encode @v[0] : !ckks.pt<2, S(2)>
      %4 = ckks.rotate %y {step = 3} : !ckks.ct<2, S(2)>
      %5 = ckks.conjugate %4 : !ckks.ct<2, S(2)>
      %6 = ckks.mul_plain %5, %p : !ckks.ct<2, S(2)>, !ckks.pt<2, S(2)>
      %7 = ckks.add %3, %6 : !ckks.ct<2, S(1)*D(2)>, !ckks.ct<2, S(1)*D(2)>
      %8 = ckks.rescale %7 : !ckks.ct<2, S(1)*D(2)>
      %9 = ckks.add_const %y, 0.75 : !ckks.ct<2, S(2)>
      %10 = ckks.mul_const %9, -1.5 at <S(2)> : !ckks.ct<2, S(2)>
      %11 = ckks.mul_int %10, 3 : !ckks.ct<2, S(1)*D(2)>
      %12 = ckks.rescale %11 : !ckks.ct<2, S(1)*D(2)>
      return %8, %12 : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
    }";
    for digit in [1, 2, 3] {
        for merge in [false, true] {
            check(&Params::toy(6, 2, digit), text, merge);
        }
    }
    for merge in [false, true] {
        check(&restoring(), text, merge);
    }
}

#[test]
fn linear_transforms_decrypt_to_their_slots() {
    let text = "ckks.matrix @m {slots = 32, inputs = 2, outputs = 2, period = 8, split = array<i64: 4, -2>,
        diagonals = [array<i64: 0, 3, 5, 6>, array<i64: 1>, array<i64: -8, -3, 7>, array<i64>],
        values = [array<f64: 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0>, array<f64: 0.5, 2.0, 0.0, 4.0, 0.0, 6.0, 0.0, 8.0>,
                  array<f64: 1.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0, 8.0>, array<f64: 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0>,
                  array<f64: 0.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0>, array<f64: 1.0, -2.0, 3.0, 4.0, -5.0, 6.0, 7.0, 8.0>,
                  array<f64: 1.0, 2.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0>, array<f64: 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -8.0>]}
    func.func @main(%x: !ckks.ct<2, S(2)>, %y: !ckks.ct<2, S(2)>) -> (!ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>) {
      %0:2 = ckks.linear_transform @m(%x, %y) at <S(2)>
        : (!ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>) -> (!ckks.ct<2, S(1)*D(2)>, !ckks.ct<2, S(1)*D(2)>)
      %1 = ckks.rescale %0#0 : !ckks.ct<2, S(1)*D(2)>
      %2 = ckks.rescale %0#1 : !ckks.ct<2, S(1)*D(2)>
      return %1, %2 : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
    }";
    for chain in ["none", "giants", "all"] {
        let text = text.replace("split =", &format!("chain = \"{chain}\", split ="));
        for merge in [false, true] {
            check(&Params::toy(6, 2, 2), &text, merge);
            check(&restoring(), &text, merge);
        }
    }
}

/// Residues as integers in (-Q/2, Q/2].
fn centred(ring: &Ring, poly: &RnsPoly) -> Vec<num_bigint::BigInt> {
    use num_bigint::BigInt;
    let moduli = ring.moduli(&poly.basis).unwrap();
    let product: BigInt = moduli.iter().map(|&q| BigInt::from(q)).product();
    let coefficients = ring.intt(poly).unwrap();
    (0..ring.n())
        .map(|k| {
            let terms = moduli.iter().zip(&coefficients.limbs).map(|(&q, limb)| {
                let others = &product / q;
                let rest = u64::try_from(&others % q).unwrap();
                others * mul_mod(u64::from(limb[k]), inv_mod(rest, q), q)
            });
            let sum = terms.sum::<BigInt>() % &product;
            if &sum * 2 > product { sum - &product } else { sum }
        })
        .collect()
}

#[test]
fn raising_the_modulus_reads_exact_integers() {
    let params = Params::bootstrapping(&BootstrapOptions::new(5, 1).insecure()).unwrap();
    let top = params.max_level();
    let mlir = context();
    let text = format!(
        "module attributes {{ckks.params = #ckks.params<{params}>}} {{
           func.func @main(%x: !ckks.ct<0, S(0)>) -> (!ckks.ct<{top}, Q0>, !ckks.ct<{top}, Q0>) {{
             %0 = ckks.mod_raise %x : !ckks.ct<0, S(0)> to !ckks.ct<{top}, Q0>
             %1 = ckks.mul_i %0 : !ckks.ct<{top}, Q0>
             return %0, %1 : !ckks.ct<{top}, Q0>, !ckks.ct<{top}, Q0>
           }}
         }}"
    );
    let module = Module::parse(&mlir, &text).unwrap();
    let op: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(module.as_operation().to_raw()) };
    run(op, &OptionValues::default()).unwrap();
    assert!(op.verify(), "{op}");
    let ring = Ring::new(&params).unwrap();
    let inputs: Vec<RnsPoly> = (0..2)
        .map(|seed| RandomMaterial::residues(&ring, params.level_basis(0), ring.n(), &[seed]).unwrap())
        .collect();
    let evaluator = PolyEvaluator::new(&params, RandomMaterial).unwrap();
    let arguments = inputs.iter().cloned().map(Datum::object).collect();
    let results = Interpreter::new(op).with(evaluator).call("main", arguments).unwrap();
    let n = ring.n();
    for (part, input) in inputs.iter().enumerate() {
        let expected = centred(&ring, input);
        assert_eq!(centred(&ring, results[part].get().unwrap()), expected);
        // X^(N/2) turns the coefficients.
        let turned: Vec<_> = (0..n)
            .map(|k| if k < n / 2 { -expected[k + n / 2].clone() } else { expected[k - n / 2].clone() })
            .collect();
        assert_eq!(centred(&ring, results[2 + part].get().unwrap()), turned);
    }
}
