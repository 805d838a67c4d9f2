//! How fast generated transforms are on this machine.

use super::{arithmetic::Range, kernels::inverse_factors, ntt::Transform};
use crate::bundle::{BundleError, shared_library};
use ceria_dialects::{
    bridge::{
        emit::{Form, Target, emit, lower_to_llvm},
        pass::PassError,
    },
    context,
};
use ceria_runtime::{
    device::{DeviceError, LoadedCode},
    format::{
        primes::{inverse_mod_word, ntt_primes_below},
        twiddles,
    },
};
use melior::ir::Module;
use std::time::{Duration, Instant};

/// Nanoseconds of one butterfly, the N/2 * log N of a transform counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformSpeed {
    /// Of the forward transform.
    pub forward: f64,
    /// Of the inverse transform.
    pub inverse: f64,
}

type Forward = unsafe extern "C" fn(*mut u32, *const u32, *const u32, u32, u32);
type Inverse = unsafe extern "C" fn(*mut u32, *const u32, *const u32, u32, u32, u32, u32);

/// Measures the transforms of limbs of 2^log_n words modulo a prime below 2^30, the best of many repetitions.
pub fn transform_speed(log_n: u32) -> Result<TransformSpeed, BundleError> {
    let n = 1usize << log_n;
    let transform = Transform { n, lanes: 8.min(n / 2), range: Range::Lazy };
    let library = compile(&transform)?;
    let loaded = |e: DeviceError| BundleError::Link(e.to_string());
    // SAFETY: the functions have these types, see `Transform`.
    let (forward, inverse) = unsafe {
        let forward = *library.get::<Forward>(&transform.forward_name()).map_err(loaded)?;
        let inverse = *library.get::<Inverse>(&transform.inverse_name()).map_err(loaded)?;
        (forward, inverse)
    };
    let q = ntt_primes_below(Range::Lazy.bound(), log_n).next();
    let q = q.ok_or_else(|| BundleError::Program(format!("there is no prime for N = {n}")))?;
    let mut roots = vec![0; twiddles::words(n)];
    twiddles::fill(q, log_n, &mut roots);
    let mut words: Vec<u32> = (0..n as u32).map(|i| i % q).collect();
    let inverse_word = inverse_mod_word(q);
    let (c0, c1) = inverse_factors(&[q], n, None);
    let (to, from) = (words.as_mut_ptr(), words.as_ptr());
    let butterflies = (n / 2) as f64 * f64::from(log_n);
    let per_butterfly = |time: Duration| time.as_secs_f64() * 1e9 / butterflies;
    Ok(TransformSpeed {
        // SAFETY: `words` and `roots` are as long as the functions expect.
        forward: per_butterfly(best(|| unsafe { forward(to, from, roots.as_ptr(), q, inverse_word) })),
        // SAFETY: as above.
        inverse: per_butterfly(best(|| unsafe {
            inverse(to, from, roots.as_ptr(), q, inverse_word, c0[0], c1[0]);
        })),
    })
}

fn compile(transform: &Transform) -> Result<LoadedCode, BundleError> {
    let text = format!("module {{\n{}{}}}\n", transform.forward(), transform.inverse());
    let context = context();
    let module = Module::parse(&context, &text.replace("llvm.func internal", "llvm.func"))
        .ok_or_else(|| PassError::new("a transform's code does not parse"))?;
    lower_to_llvm(module.as_operation())?;
    let object = emit(module.as_operation(), &Target::x86_64_v3(), Form::Object)?;
    // SAFETY: the library was made just now and has no initialisers.
    unsafe { LoadedCode::load(&shared_library(&object)?) }.map_err(|e| BundleError::Link(e.to_string()))
}

fn best(mut run: impl FnMut()) -> Duration {
    let started = Instant::now();
    let mut best = Duration::MAX;
    while started.elapsed() < Duration::from_millis(300) {
        let from = Instant::now();
        run();
        best = best.min(from.elapsed());
    }
    best
}
