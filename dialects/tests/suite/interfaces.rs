//! Op interfaces: who implements them, what the ops answer, and that a panic behind one comes back as a panic.

use ceria_dialects::{
    bridge::{
        hooks::{call_interface, run_interface},
        rewrite::find_ops,
    },
    ckks::{
        LevelEffect, NoiseTransfer, UsesKeys,
        effects::{Effect, Key},
        noise::{Addition, Operands, Transfer},
    },
    context,
    interpret::name_of,
};
use melior::ir::{Module, OperationRef};
use std::{collections::BTreeSet, ffi::c_void, panic::catch_unwind};

const PROGRAM: &str = r#"
  ckks.matrix @m {slots = 8, inputs = 1, outputs = 1, period = 1, split = array<i64: 2, 0>,
    diagonals = [array<i64: 0, 1, 3>],
    values = [array<f64: 1.0>, array<f64: 1.0>, array<f64: 1.0>]}
  ckks.vector @v {parts = 1, values = [array<f64: 1.0, 2.0>]}
  func.func @main(%x: !ckks.ct<3, S(3)>, %s: !fhe.tensor<4>) -> !ckks.ct<1, S(2)> {
    %c = arith.constant 1 : i64
    %e = fhe.neg %s : !fhe.tensor<4>
    "other.op"(%x) : (!ckks.ct<3, S(3)>) -> ()
    %p = ckks.encode @v[0] : !ckks.pt<3, S(3)>
    %0 = ckks.square %x : !ckks.ct<3, S(3)>
    %1 = ckks.relinearize %0 : !ckks.ct<3, S(2)*D(3), 3>
    %2 = ckks.rescale %1 {by = 1} : !ckks.ct<3, S(2)*D(3)>
    %3 = ckks.rotate %2 {step = -1} : !ckks.ct<2, S(2)>
    %4 = ckks.sub %3, %2 : !ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>
    %5 = ckks.linear_transform @m(%4) at <S(2)> : (!ckks.ct<2, S(2)>) -> !ckks.ct<2, S(1)*D(2)>
    %6 = ckks.mul_plain %x, %p : !ckks.ct<3, S(3)>, !ckks.pt<3, S(3)>
    %7 = ckks.level_reduce %2 : !ckks.ct<2, S(2)>
    return %7 : !ckks.ct<1, S(2)>
  }
"#;

/// What `ask` says of the op with this name.
fn of<T>(name: &str, ask: impl Fn(OperationRef<'_, '_>) -> T) -> T {
    let context = context();
    context.set_allow_unregistered_dialects(true);
    let module = Module::parse(&context, PROGRAM).unwrap();
    let found = find_ops(&module.as_operation(), &[name]);
    assert_eq!(found.len(), 1, "{name}");
    ask(found[0])
}

#[test]
fn only_ops_that_declare_an_interface_implement_it() {
    for name in ["other.op", "fhe.neg", "arith.constant", "func.return", "ckks.matrix"] {
        let implements = of(name, |op| {
            LevelEffect::of(op).is_some() || UsesKeys::of(op).is_some() || NoiseTransfer::of(op).is_some()
        });
        assert!(!implements, "{name}");
    }
    assert!(of("ckks.encode", |op| LevelEffect::of(op).is_none() && NoiseTransfer::of(op).is_some()));
    assert!(of("ckks.square", |op| LevelEffect::of(op).is_some() && UsesKeys::of(op).is_none()));
}

#[test]
fn level_effects() {
    let effect = |name| of(name, |op| LevelEffect::of(op).map(LevelEffect::effect));
    assert_eq!(effect("ckks.sub"), Some(Effect::Sum));
    assert_eq!(effect("ckks.relinearize"), Some(Effect::Keep));
    assert_eq!(effect("ckks.square"), Some(Effect::Product));
    assert_eq!(effect("ckks.mul_plain"), Some(Effect::FreeProduct));
    assert_eq!(effect("ckks.rescale"), Some(Effect::Rescale { by: 1 }));
    assert_eq!(effect("ckks.level_reduce"), Some(Effect::Stated));
    let two = |name| of(name, |op| LevelEffect::of(op).unwrap().needs_two_components());
    assert!(two("ckks.rotate") && two("ckks.square") && two("ckks.linear_transform"));
    assert!(!two("ckks.relinearize") && !two("ckks.mul_plain"));
}

#[test]
fn keys_with_their_level() {
    let uses = |name| {
        of(name, |op| {
            let uses = UsesKeys::of(op).unwrap();
            (uses.keys(&8).unwrap(), uses.level())
        })
    };
    assert_eq!(uses("ckks.relinearize"), (BTreeSet::from([Key::Relinearization]), Some(3)));
    assert_eq!(uses("ckks.rotate"), (BTreeSet::from([Key::Rotation(7)]), Some(2)));
    let (keys, level) = uses("ckks.linear_transform");
    // Diagonal 3 is a baby step by 1 and a giant one by 2.
    assert_eq!(keys, BTreeSet::from([Key::Rotation(1), Key::Rotation(2)]));
    assert_eq!(level, Some(2));
}

#[test]
fn noise_passes_through_and_is_added() {
    let transfer = |name| of(name, |op| NoiseTransfer::of(op).unwrap().transfer(&0).unwrap());
    assert_eq!(transfer("ckks.encode"), Transfer::Fresh);
    assert_eq!(transfer("ckks.sub"), Transfer::Linear(vec![1.0, -1.0]));
    assert_eq!(transfer("ckks.mul_plain"), Transfer::Product);
    assert_eq!(transfer("ckks.rotate"), Transfer::Rotated(-1));
    assert_eq!(transfer("ckks.linear_transform"), Transfer::Matrix);
    let additions = |name| {
        let operands = Operands { mean_squares: vec![0.25, 1.0], ..Operands::default() };
        of(name, |op| NoiseTransfer::of(op).unwrap().additions(&operands).unwrap())
    };
    assert_eq!(additions("ckks.sub"), []);
    // It follows a relinearisation, whose division by the special primes it takes along.
    assert!(matches!(additions("ckks.rescale")[..], [Addition::Rounding { from: 3, special: true, .. }]));
    assert!(matches!(additions("ckks.rotate")[..], [Addition::KeySwitch { divided: true, .. }]));
    assert!(matches!(additions("ckks.level_reduce")[..], [Addition::Reduction { message: 0.25, .. }]));
}

#[test]
fn panics_do_not_cross_cpp() {
    extern "C" fn method(op: mlir_sys::MlirOperation, argument: *const c_void, result: *mut c_void) {
        unsafe { run_interface::<u32, u32>(op, argument, result, |op, _| panic!("at {}", name_of(op))) }
    }
    let message = of("ckks.square", |op| {
        let op = op.to_raw();
        let call = || unsafe { call_interface::<u32, u32>(method, OperationRef::from_raw(op), &1) };
        *catch_unwind(call).unwrap_err().downcast::<String>().unwrap()
    });
    assert_eq!(message, "at ckks.square");
}
