//! Random kernels, compiled and run on this machine, agree word for word with the interpreter.

use super::{
    arithmetic::Range,
    conversion,
    kernels::{Machine, calls, generate},
};
use crate::{
    bundle::shared_library,
    random_kernels::{Case, Random, case, interpreted, primes, twiddle_table},
};
use ceria_dialects::{
    bridge::emit::{Form, Target, emit, lower_to_llvm},
    context,
    kernel::model::{ArgumentKind, Kernel},
};
use ceria_runtime::{device::LoadedCode, format::abi::KernelFn};
use melior::ir::Module;

/// A word that is no residue, beyond the scratch memory that a kernel asked for.
const GUARD: u32 = 0xdead_beef;

fn compile(cases: &[Case], n: usize, machine: &Machine, target: &Target) -> LoadedCode {
    let mut text = String::from("module {\n");
    for range in Range::ALL {
        let transform = machine.transform(n, range);
        text += &(transform.forward() + &transform.inverse());
    }
    for group in 1..=conversion::LARGEST {
        text += &conversion::function(n, machine.lanes, group);
    }
    for case in cases {
        text += &generate(&case.kernel, &case.kernel.name, machine).text;
    }
    let text = text.replace("llvm.func internal @k", "llvm.func @k") + "}\n";
    let context = context();
    let module = Module::parse(&context, &text).expect("generated code parses");
    lower_to_llvm(module.as_operation()).expect("generated code lowers");
    let object = emit(module.as_operation(), target, Form::Object).expect("generated code is emitted");
    let library = shared_library(&object).expect("generated code links");
    // SAFETY: the library was made from kernels just now and has no initialisers.
    unsafe { LoadedCode::load(&library) }.expect("generated code loads")
}

fn compiled(case: &Case, library: &LoadedCode, scratch_words: usize, twiddles: &[u32]) -> Vec<Vec<u32>> {
    let mut operands = case.operands.clone();
    let Kernel { name, arguments, .. } = &case.kernel;
    let mut slots: Vec<u64> = operands
        .iter_mut()
        .zip(arguments)
        .map(|(words, kind)| match kind {
            ArgumentKind::Buffer(_) => words.as_mut_ptr() as u64,
            ArgumentKind::Index => u64::from(words[0]),
        })
        .collect();
    slots.push(twiddles.as_ptr() as u64);
    let mut scratch = vec![GUARD; scratch_words + 64];
    // SAFETY: the function was generated for these arguments; calls may be made in any order, here backwards.
    unsafe {
        let function = *library.get::<KernelFn>(name).expect("the kernel is exported");
        for call in (0..calls(&case.kernel) as u64).rev() {
            function(slots.as_ptr(), call, scratch.as_mut_ptr());
        }
    }
    assert!(
        scratch[scratch_words..].iter().all(|&word| word == GUARD),
        "{name} writes beyond its scratch memory"
    );
    operands
}

fn check(seed: u64, count: usize, n: usize, lanes: usize, target: &Target) {
    let mut random = Random(seed);
    let cases: Vec<Case> = (0..count).map(|i| case(&format!("k{i}"), n, &mut random)).collect();
    let machine = Machine { lanes, twiddles: primes(&cases) };
    let table = twiddle_table(&machine.twiddles, n);
    let library = compile(&cases, n, &machine, target);
    for case in &cases {
        let scratch = generate(&case.kernel, &case.kernel.name, &machine).scratch_words;
        let found = compiled(case, &library, scratch, &table);
        for (argument, (found, expected)) in found.iter().zip(interpreted(case)).enumerate() {
            let first = found.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(first, None, "argument {argument} of {:?}", case.kernel);
        }
    }
}

fn target(cpu: &str) -> Target {
    Target { level: 1, ..Target::cpu(cpu) }
}

#[test]
fn kernels_agree_with_the_interpreter_in_a_tiny_ring() {
    check(1, 20, 8, 8, &target("x86-64-v2"));
}

#[test]
fn kernels_agree_with_the_interpreter() {
    check(2, 40, 32, 8, &target("x86-64-v2"));
    check(3, 20, 256, 4, &target("x86-64-v2"));
}

#[test]
fn kernels_for_this_machine_agree_with_the_interpreter() {
    check(4, 20, 64, 16, &Target { level: 1, ..Target::host() });
    check(5, 4, 8192, 8, &Target { level: 1, ..Target::host() });
}
