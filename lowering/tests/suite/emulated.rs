//! Whole programs, compiled for a GPU and run on the emulator, compute what they compute on the CPU, bit for bit.

use super::{
    bootstrap,
    end_to_end::program,
    support::{KERNELS, POLYNOMIALS, lowered, mlir},
};
use ceria_dialects::poly::interpret::RandomMaterial;
use ceria_lowering::{
    interpret::native::{Machine, Native},
    kernel_to_nvvm::{emulator::Mode, schedule::Schedule},
    pipelines::compile::root,
};
use ceria_runtime::format::{bootstrap::BootstrapOptions, params::Params};

/// Compiles the function `main` of a program of polynomials for both, and runs it on random words, with random tables.
fn compare(params: &Params, text: &str, pipeline: &str, mode: Mode) {
    let mlir = mlir();
    let module = lowered(&mlir, text, pipeline);
    let mut native = Native::compile(&Machine::Cpu, root(&module), "main", &RandomMaterial)
        .unwrap_or_else(|e| panic!("{e}"));
    let machine = Machine::Emulated(mode, Schedule::default());
    let mut emulated =
        Native::compile(&machine, root(&module), "main", &RandomMaterial).unwrap_or_else(|e| panic!("{e}"));
    // Any word below all primes is canonical.
    let least = params.q.iter().chain(&params.p).copied().min().unwrap();
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % least
    };
    for _ in 0..2 {
        let inputs: Vec<Vec<u32>> =
            native.inputs().iter().map(|&words| (0..words).map(|_| draw()).collect()).collect();
        let expected = native.run(&inputs).unwrap_or_else(|e| panic!("{e}"));
        let found = emulated.run(&inputs).unwrap_or_else(|e| panic!("{e}"));
        assert!(found == expected, "the emulated GPU has other results");
        assert!(expected.concat().iter().any(|&word| word != 0), "nothing was computed");
    }
}

/// Multiplication, rotation, conjugation and a linear transform.
#[test]
fn a_ciphertext_program_computes_the_same() {
    for (digit, mode) in [(1, Mode::Checked), (2, Mode::Fast)] {
        let params = Params::toy(8, 2, digit);
        compare(&params, &program(&params), &format!("{POLYNOMIALS},{KERNELS}"), mode);
    }
}

#[test]
fn a_bootstrap_computes_the_same() {
    let params = Params::bootstrapping(&BootstrapOptions::new(6, 1).insecure()).unwrap();
    let pipeline = format!("{},{POLYNOMIALS},{KERNELS}", bootstrap::EXPAND);
    compare(&params, &bootstrap::text(&params), &pipeline, Mode::Fast);
}
